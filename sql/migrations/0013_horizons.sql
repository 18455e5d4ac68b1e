-- Claims that pass by what ended while another session holds an old snapshot: its dead rows cannot be removed.

create table zmesh.horizon (
    only_row      boolean primary key default true,
    ready_since   timestamptz not null default '-infinity',
    running_since timestamptz not null default '-infinity',
    looked_at     timestamptz not null default '-infinity',
    constraint horizon_is_one_row check (only_row)
);
comment on table zmesh.horizon is
    'Where claims begin to look, so that dead rows cost them nothing; only who holds the row lock of zmesh.settings writes it.';
comment on column zmesh.horizon.ready_since is 'No run_at of what is ready is before this, as of looked_at.';
comment on column zmesh.horizon.running_since is 'No started_at of what runs is before this.';
comment on column zmesh.horizon.looked_at is 'When all was last looked at, from the beginning.';
insert into zmesh.horizon default values;

drop index zmesh.queue_delayed;
create index queue_by_time on zmesh.queue (due, run_at) where status = 'queued';
drop index zmesh.queue_running;
create index queue_running on zmesh.queue (listener_id, started_at) where status = 'running';

drop function if exists zmesh.ready_projects(boolean, integer), zmesh.ready_lanes(boolean, uuid, integer),
    zmesh.next_of(boolean, integer, timestamptz), zmesh.start_next(uuid, integer, timestamptz),
    zmesh.lenders(), zmesh.nothing_to_claim(uuid), zmesh.nothing_to_claim(uuid, integer);
