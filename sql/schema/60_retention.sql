-- Retention of history and logs, and the state of maintenance.

create table zmesh.periods (
    starts_at timestamptz primary key,
    ends_at   timestamptz not null unique,
    constraint periods_end_after_their_start check (ends_at > starts_at)
);
comment on table zmesh.periods is 'Periods for which zmesh.history and zmesh.logs have a partition each.';

create table zmesh.upkeep (
    only_row       boolean     primary key default true,
    last_run_at    timestamptz,
    horizon_at     timestamptz,
    horizon        xid8,
    former_horizon xid8,
    constraint upkeep_is_one_row check (only_row)
);
comment on table zmesh.upkeep is
    'When zmesh.maintain() last ran; its row lock allows one at a time. horizon is the oldest transaction that was running '
    'at horizon_at; former_horizon, the one an hour before.';
insert into zmesh.upkeep default values;

create table zmesh.ended_sessions (
    role_name  name        not null,
    pid        integer     not null,
    started_at timestamptz not null,
    ended_at   timestamptz not null,
    why        text        not null,
    is_offence boolean     not null,
    primary key (pid, started_at)
);
create index ended_sessions_by_time on zmesh.ended_sessions (ended_at);
comment on table zmesh.ended_sessions is
    'Database sessions of the project that the platform ended within the last day, at most 1,000.';
comment on column zmesh.ended_sessions.role_name is 'The project''s role.';
comment on column zmesh.ended_sessions.pid is 'The process id of the session, as pg_backend_pid() returns it.';
comment on column zmesh.ended_sessions.started_at is 'When the session began.';
comment on column zmesh.ended_sessions.ended_at is 'When it was ended.';
comment on column zmesh.ended_sessions.why is 'What it had done.';
comment on column zmesh.ended_sessions.is_offence is
    'Whether it kept the platform waiting: if such sessions are ended in five different seconds of half a minute, the role cannot sign in for a while.';

grant select on zmesh.ended_sessions to zmesh_project;

alter table zmesh.ended_sessions enable row level security;
create policy own_project on zmesh.ended_sessions to zmesh_project using (role_name = current_user);

create unlogged table zmesh.index_cleanups (
    pid      integer     not null,
    table_id oid         not null,
    since    timestamptz not null,
    primary key (pid, table_id)
);
comment on table zmesh.index_cleanups is
    'Since when backends that vacuum a table have been cleaning up its indexes, which may run the owner''s code.';
