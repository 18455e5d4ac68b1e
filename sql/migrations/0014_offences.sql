-- Projects can read which of their sessions were ended, and why; a role that keeps blocking the platform is closed.

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
