-- Listeners, and where their claims start to search.

create table zmesh.listeners (
    id               uuid        primary key default gen_random_uuid(),
    started_at       timestamptz not null,
    lease_expires_at timestamptz not null,
    name             text        not null,
    slots            integer     not null,
    waiting          boolean     not null    default true,
    loop_held_ms     integer     not null    default 0,
    isolation        text,
    gaps             text[]      not null    default '{}',
    constraint listeners_slots_is_positive           check (slots > 0),
    constraint listeners_loop_held_ms_is_a_duration  check (loop_held_ms >= 0),
    constraint listeners_isolation_is_known          check (isolation in ('full', 'reduced'))
);
comment on table zmesh.listeners is
    'Live listeners. Each renews one lease for all of its runs; when the lease expires, others take over its invocations.';
comment on column zmesh.listeners.waiting is
    'Whether the listener has free slots and found nothing to claim, so that an insert must notify it.';
comment on column zmesh.listeners.loop_held_ms is
    'Longest time within the last minute for which the listener''s event loop was blocked; 0 if 50 ms or less.';

comment on column zmesh.listeners.isolation is 'How well its runs are isolated; null: it has not said.';
comment on column zmesh.listeners.gaps is 'What isolation lacks there, in sentences.';

-- While another session holds an old snapshot, dead rows cannot be removed: claims skip rows that ended meanwhile.
create table zmesh.horizon (
    only_row      boolean     primary key default true,
    ready_since   timestamptz not null    default '-infinity',
    running_since timestamptz not null    default '-infinity',
    looked_at     timestamptz not null    default '-infinity',
    constraint horizon_is_one_row check (only_row)
);
comment on table zmesh.horizon is
    'Where claims start to look, so that they do not read dead rows. Written under the row lock of zmesh.settings only.';
comment on column zmesh.horizon.ready_since is 'No ready invocation has a run_at before this, as of looked_at.';
comment on column zmesh.horizon.running_since is 'No running invocation has a started_at before this.';
comment on column zmesh.horizon.looked_at is 'When the whole queue was last read from its beginning.';
insert into zmesh.horizon default values;

create table zmesh.fork_refusals (
    function_id uuid        not null references zmesh.functions on delete cascade,
    listener_id uuid        not null,
    hash        text        not null,
    since       timestamptz not null,
    reason      text        not null,
    primary key (function_id, listener_id),
    constraint fork_refusals_reason_is_short check (length(reason) <= 1000)
);
comment on table zmesh.fork_refusals is
    'Functions whose runs a listener cannot fork from a process that has imported their packages, or executed their code: '
    'they do so themselves.';
comment on column zmesh.fork_refusals.hash is 'The layer with the packages; empty: it has none, and runs execute the code.';
comment on column zmesh.fork_refusals.listener_id is 'The listener, as long as there is one with this id; its row may be gone.';

grant select on zmesh.listeners to zmesh_api;
