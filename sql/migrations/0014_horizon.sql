-- The oldest transaction of an hour ago, to detect snapshots that transactions pass on to one another.

alter table zmesh.upkeep
    add column horizon_at     timestamptz,
    add column horizon        xid8,
    add column former_horizon xid8;
comment on table zmesh.upkeep is
    'When zmesh.maintain() last ran; its row lock allows one at a time. horizon is the oldest transaction that was running '
    'at horizon_at; former_horizon, the one an hour before.';
