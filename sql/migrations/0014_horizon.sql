-- The oldest transaction of an hour ago, to detect snapshots that transactions pass on to one another.

alter table zmesh.upkeep
    add column horizon_at     timestamptz,
    add column horizon        xid8,
    add column former_horizon xid8;
comment on table zmesh.upkeep is
    'When zmesh.maintain() last ran; its row lock allows one at a time. horizon is the oldest transaction that was running '
    'at horizon_at; former_horizon, the one an hour before.';

create unlogged table zmesh.index_cleanups (
    pid      integer     not null,
    table_id oid         not null,
    since    timestamptz not null,
    primary key (pid, table_id)
);
comment on table zmesh.index_cleanups is
    'Since when backends that vacuum a table have been cleaning up its indexes, which may run the owner''s code.';

drop function if exists zmesh.must_not_wait(name, oid);   -- now has a third argument
