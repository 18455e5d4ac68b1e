-- Listeners, and where their claims begin to look.

create table zmesh.listeners (
    id               uuid        primary key default gen_random_uuid(),
    started_at       timestamptz not null,
    lease_expires_at timestamptz not null,
    name             text        not null,
    slots            integer     not null,
    waiting          boolean     not null    default true,
    loop_held_ms     integer     not null    default 0,
    constraint listeners_slots_is_positive           check (slots > 0),
    constraint listeners_loop_held_ms_is_a_duration  check (loop_held_ms >= 0)
);
comment on table zmesh.listeners is
    'Living listeners. A listener renews one lease for all its runs; when it runs out, its runs are taken from it.';
comment on column zmesh.listeners.waiting is 'It found less than it could run, so an insert wakes it. No insert notifies while nobody waits.';
comment on column zmesh.listeners.loop_held_ms is
    'For how long something held the listener''s event loop at most within the last minute; 0 where that was 50 ms or less.';

-- Claims pass by what ended while another session holds an old snapshot: its dead rows cannot be removed.
create table zmesh.horizon (
    only_row      boolean     primary key default true,
    ready_since   timestamptz not null    default '-infinity',
    running_since timestamptz not null    default '-infinity',
    looked_at     timestamptz not null    default '-infinity',
    constraint horizon_is_one_row check (only_row)
);
comment on table zmesh.horizon is
    'Where claims begin to look, so that dead rows cost them nothing; only who holds the row lock of zmesh.settings writes it.';
comment on column zmesh.horizon.ready_since is 'No run_at of what is ready is before this, as of looked_at.';
comment on column zmesh.horizon.running_since is 'No started_at of what runs is before this.';
comment on column zmesh.horizon.looked_at is 'When all was last looked at, from the beginning.';
insert into zmesh.horizon default values;

grant select on zmesh.listeners to zmesh_api;
