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

create table zmesh.offences (
    role_name name        not null,
    at        timestamptz not null,
    primary key (role_name, at)
);
comment on table zmesh.offences is
    'When sessions of a project''s role were ended because they blocked the platform; kept for ten minutes, for '
    'zmesh.close_offenders().';

create unlogged table zmesh.index_cleanups (
    pid      integer     not null,
    table_id oid         not null,
    since    timestamptz not null,
    primary key (pid, table_id)
);
comment on table zmesh.index_cleanups is
    'Since when backends that vacuum a table have been cleaning up its indexes, which may run the owner''s code.';
