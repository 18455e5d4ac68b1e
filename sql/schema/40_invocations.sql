-- Invocations: queued and running ones in zmesh.queue, ended ones in zmesh.history.

-- Columns are ordered by alignment, widest first: queue rows are read and rewritten often.
create table zmesh.invocations (
    id                uuid        not null default zmesh.new_id(),
    project_id        uuid        not null default zmesh.project_of(current_user),
    function_id       uuid        not null,
    listener_id       uuid,
    parent_id         uuid                 default nullif(current_setting('zmesh.invocation_id', true), '')::uuid,
    schedule_id       uuid,
    lane              bigint      not null,
    created_at        timestamptz not null,
    run_at            timestamptz not null,
    expires_at        timestamptz,
    started_at        timestamptz,
    finished_at       timestamptz,
    version           integer,
    duration_ms       integer,
    cpu_ms            integer,
    peak_memory_mb    integer,
    retry_base_ms     integer,
    retry_max_ms      integer,
    generation        integer     not null default 0,
    priority          smallint    not null default 0,
    max_attempts      smallint    not null,
    attempt           smallint    not null default 0,
    depth             smallint    not null default 0,
    due               boolean     not null,
    waited            boolean     not null default false,
    pinned            boolean     not null default false,
    cancel_requested  boolean     not null default false,
    status            text        not null default 'queued',
    source            text        not null default 'sql',
    function          text        not null,
    alias             text,
    payload           jsonb       not null default '{}',
    request           json,
    reply_channel     text,
    idempotency_key   text,
    idempotency_scope text,
    concurrency_key   text,
    traceparent       text,
    callback_url      text,
    result            json,
    response          json,
    error             jsonb,
    earlier_attempts  jsonb,
    constraint invocations_final_ones_have_an_end      check ((status in ('queued', 'running')) = (finished_at is null)),
    constraint invocations_running_ones_have_started   check (status <> 'running' or started_at is not null),
    constraint invocations_running_ones_have_an_owner  check ((status = 'running') = (listener_id is not null)),
    constraint invocations_attempt_is_within_max       check (attempt between 0 and max_attempts),
    constraint invocations_traceparent_is_of_the_w3c   check (traceparent ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'),
    constraint invocations_callback_url_is_plain_http
        check (callback_url ~ '^https?://[^\s/?#@\\]+([/?#]\S*)?$' and length(callback_url) <= 2000)
) partition by list (status);
comment on table zmesh.invocations is
    'Every invocation, queued, running or finished. To enqueue one: insert into zmesh.invocations (function, payload) values (…).';
comment on column zmesh.invocations.id is 'Sorts by time of creation (version 7).';
comment on column zmesh.invocations.project_id is 'The project of the function.';
comment on column zmesh.invocations.function_id is 'The function, whatever its name becomes.';
comment on column zmesh.invocations.listener_id is 'The listener that claimed it.';
comment on column zmesh.invocations.schedule_id is 'The schedule that fired it.';
comment on column zmesh.invocations.created_at is 'When it was inserted.';
comment on column zmesh.invocations.started_at is 'When the latest attempt started.';
comment on column zmesh.invocations.finished_at is 'When it ended; null before that.';
comment on column zmesh.invocations.duration_ms is 'Wall-clock time of the last attempt.';
comment on column zmesh.invocations.cpu_ms is 'CPU time of the last attempt.';
comment on column zmesh.invocations.peak_memory_mb is 'The most memory that the last attempt used.';
comment on column zmesh.invocations.retry_base_ms is 'Wait after the first failed attempt; doubles with each one. By default, as the function says.';
comment on column zmesh.invocations.retry_max_ms is 'The longest wait between two attempts. By default, as the function says.';
comment on column zmesh.invocations.priority is 'From -100 to 100; higher goes first within the project.';
comment on column zmesh.invocations.max_attempts is 'How many attempts there may be. By default, as the function says.';
comment on column zmesh.invocations.attempt is 'How many attempts have started.';
comment on column zmesh.invocations.cancel_requested is 'Whether somebody asked for the end of a running invocation.';
comment on column zmesh.invocations.status is 'queued, running, success, error, timeout or cancelled.';
comment on column zmesh.invocations.source is 'What inserted it: api, sql, schedule, webhook, change or function. SQL clients may set change instead of sql.';
comment on column zmesh.invocations.payload is 'What the handler is called with; any JSON value.';
comment on column zmesh.invocations.request is 'The HTTP request, for invocations by the public route or a webhook.';
comment on column zmesh.invocations.result is 'What the handler returned.';
comment on column zmesh.invocations.response is 'What zmesh.response() made: status, headers and body.';
comment on column zmesh.invocations.error is 'Type, message and stack of the last attempt''s error.';
comment on column zmesh.invocations.function is 'Slug of the function to invoke.';
comment on column zmesh.invocations.version is
    'Version of the code: on insert, the one to run instead of the current one; afterwards, the one that ran.';
comment on column zmesh.invocations.alias is 'The alias that chose the version.';
comment on column zmesh.invocations.pinned is
    'Whether every attempt runs this version, whatever is deployed in the meantime.';
comment on column zmesh.invocations.run_at is 'Earliest start.';
comment on column zmesh.invocations.expires_at is
    'Latest start: after this time the invocation fails with an error of type expired.';
comment on column zmesh.invocations.due is 'Whether run_at had passed when a claim last looked at the row.';
comment on column zmesh.invocations.waited is
    'Whether a caller waits for the result; such invocations go before background work.';
comment on column zmesh.invocations.lane is
    'Hash of the function and the concurrency_key: the unit to which concurrency limits apply.';
comment on column zmesh.invocations.concurrency_key is
    'At most max_concurrency_per_key (by default one) of a function''s invocations with the same key run at once.';
comment on column zmesh.invocations.idempotency_key is 'A second insert with the same key for the same function is refused.';
comment on column zmesh.invocations.idempotency_scope is
    'Set on insert by the API only: the credential to which idempotency_key belongs; kept in zmesh.idempotency_keys.';
comment on column zmesh.invocations.reply_channel is
    'On insert: the random channel on which the caller waits for the outcome. It moves to zmesh.waiters and cannot be read back.';
comment on column zmesh.invocations.callback_url is
    'Where a signed callback with the outcome goes; see zmesh.callbacks.';
comment on column zmesh.invocations.parent_id is 'The invocation whose run inserted this one.';
comment on column zmesh.invocations.depth is
    'How many invocations wait above this one, each for the one that it called.';
comment on column zmesh.invocations.generation is
    'How many invocations in a row enqueued the next one without a delay before this one.';
comment on column zmesh.invocations.traceparent is 'W3C trace context of the call, including the caller''s span.';
comment on column zmesh.invocations.earlier_attempts is 'Outcomes of all attempts before the last one, oldest first.';

create table zmesh.queue partition of zmesh.invocations (
    constraint queue_id_is_unique                       primary key (id),
    constraint invocations_source_is_known              check (source in ('api', 'sql', 'schedule', 'webhook', 'change', 'function')),
    constraint invocations_priority_is_small            check (priority between -100 and 100),
    constraint invocations_max_attempts_is_1_to_100     check (max_attempts between 1 and 100),
    constraint invocations_concurrency_key_is_short     check (length(concurrency_key) between 1 and 255),
    constraint invocations_retry_base_is_1_ms_to_1_day  check (retry_base_ms between 1 and 86400000),
    constraint invocations_retry_max_is_1_ms_to_7_days  check (retry_max_ms between 1 and 604800000),
    constraint invocations_pinned_ones_have_a_version   check (not pinned or version is not null)
) for values in ('queued', 'running')
  with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index queue_ready on zmesh.queue (waited, project_id, lane, priority desc, run_at) where status = 'queued' and due;
create index queue_by_time on zmesh.queue (due, run_at) where status = 'queued';
create index queue_expiring on zmesh.queue (expires_at) where status = 'queued' and expires_at is not null;
create index queue_running on zmesh.queue (listener_id, started_at) where status = 'running';
create index queue_called on zmesh.queue (parent_id) where waited and parent_id is not null;
create index queue_by_function on zmesh.queue (function_id, id desc);
create index queue_by_schedule on zmesh.queue (schedule_id) where schedule_id is not null;
comment on table zmesh.queue is
    'Queued and running invocations. A row moves to zmesh.history when the invocation finishes.';

create table zmesh.history partition of zmesh.invocations (
    constraint history_id_is_unique primary key (id)
) for values in ('success', 'error', 'timeout', 'cancelled') partition by range (id);
create index history_by_function on zmesh.history (function_id, id desc);
create index history_by_project on zmesh.history (project_id, id desc);
create index history_dead on zmesh.history (project_id, id desc) where status in ('error', 'timeout');
create index history_timeouts on zmesh.history (project_id, id desc) where status = 'timeout';
create index history_cancelled on zmesh.history (project_id, id desc) where status = 'cancelled';
create index history_unsuccessful on zmesh.history (function_id, status, id desc) where status <> 'success';
create table zmesh.history_rest partition of zmesh.history default;
comment on table zmesh.history is
    'Finished invocations. Ids grow with time, so a partition by id is a partition by time.';
comment on table zmesh.history_rest is 'Finished invocations whose id belongs to a time without a partition.';

create table zmesh.idempotency_keys (
    function_id   uuid        not null,
    invocation_id uuid        not null,
    created_at    timestamptz not null,
    scope         text        not null default '',
    key           text        not null,
    constraint invocations_idempotency_key_is_unique primary key (function_id, scope, key),
    constraint invocations_idempotency_key_is_short  check (length(key) between 1 and 255)
);
create index idempotency_keys_by_age on zmesh.idempotency_keys using brin (created_at);
comment on table zmesh.idempotency_keys is
    'The invocation for each idempotency key of a function; kept as long as history is.';
comment on column zmesh.idempotency_keys.scope is
    'The credential to which the key belongs: key:<id>, user:<id> or anonymous; empty for SQL.';

-- Unlogged: after a server crash there are no connections that could wait.
create unlogged table zmesh.waiters (
    invocation_id uuid not null,
    channel       text not null,
    primary key (invocation_id, channel),
    constraint invocations_reply_channel_is_random check (channel ~ '^zmesh_[ris]_[0-9a-f]{32}$')
);
comment on table zmesh.waiters is
    'Channels of callers that wait for an outcome. Only the platform can read them: whoever knows a channel can listen on it.';

create type zmesh.outcome as (
    id             uuid,
    attempt        smallint,
    status         text,
    result         json,
    response       json,
    error          jsonb,
    logs           json,
    duration_ms    integer,
    cpu_ms         integer,
    peak_memory_mb integer
);
comment on type zmesh.outcome is 'How one attempt of an invocation ended.';

grant select,
      insert (function, payload, source, version, alias, run_at, expires_at, priority, max_attempts, retry_base_ms, retry_max_ms,
              reply_channel, parent_id, idempotency_key, concurrency_key, traceparent, callback_url)
      on zmesh.invocations to zmesh_project;
grant select,
      insert (id, project_id, function, payload, request, source, version, alias, run_at, expires_at, priority,
              max_attempts, retry_base_ms, retry_max_ms, reply_channel, idempotency_key, idempotency_scope,
              concurrency_key, traceparent, callback_url)
      on zmesh.invocations to zmesh_api;
grant select on zmesh.queue, zmesh.history, zmesh.idempotency_keys to zmesh_api;
grant usage on type zmesh.outcome to zmesh_listener;

alter table zmesh.invocations enable row level security;
create policy platform on zmesh.invocations to zmesh_api using (true) with check (true);
create policy own_project on zmesh.invocations to zmesh_project   -- a subquery: once for a statement, not for each row
    using      (project_id = (select zmesh.project_of(current_user)))
    with check (project_id = (select zmesh.project_of(current_user)) and source in ('sql', 'change', 'function'));
