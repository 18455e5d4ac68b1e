-- The horizon of an hour ago, by which snapshots are noticed that are handed from one transaction to the next.

alter table zmesh.upkeep
    add column horizon_at     timestamptz,
    add column horizon        xid8,
    add column former_horizon xid8;
comment on table zmesh.upkeep is
    'When zmesh.maintain() last ran; its row lock allows one at a time. The oldest transaction that ran at horizon_at, '
    'and an hour before.';
