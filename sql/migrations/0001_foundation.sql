-- Tables of the platform. Everything that may be replaced (functions, triggers, policies, grants)
-- lives in sql/routines/ and is applied again whenever its text changes.
--
-- The life of an invocation. An insert into zmesh.invocations, by whomever, lands in its partition zmesh.queue,
-- which holds what is queued or running and stays small. A listener holds a lease (zmesh.listeners); it claims rows
-- of the queue, runs them, and hands in how they ended. The end moves a row from the queue to zmesh.history, which
-- is partitioned by time, is only ever added to, and goes partition by partition when it has been kept long enough.
-- Who waits for an end is in zmesh.waiters, what runs printed in zmesh.logs.

create table zmesh.settings (
    only_row       boolean primary key default true,
    max_running    integer not null default 256,
    retention_days integer not null default 30,
    constraint settings_is_one_row check (only_row),
    constraint settings_max_running_is_positive check (max_running > 0),
    constraint settings_retention_is_1_day_to_10_years check (retention_days between 1 and 3650)
);
comment on table zmesh.settings is 'One row of platform-wide limits. Its row lock serialises claims, which makes the semaphores exact.';
comment on column zmesh.settings.max_running is 'How many invocations may run at once on the whole platform.';
comment on column zmesh.settings.retention_days is 'How long ended invocations are kept, with payloads, results and logs.';
insert into zmesh.settings default values;

create table zmesh.clock (
    only_row     boolean primary key default true,
    source       text not null default 'listener',
    last_tick_at timestamptz,
    constraint clock_is_one_row check (only_row),
    constraint clock_source_is_known check (source in ('pg_cron', 'listener'))
);
comment on table zmesh.clock is 'Who calls zmesh.tick(), and when it was last called.';
insert into zmesh.clock default values;

create table zmesh.projects (
    id          uuid primary key default gen_random_uuid(),
    name        text not null,
    slug        text not null unique,
    role_name   name not null unique,
    schema_name name not null unique,
    max_running integer not null default 64,
    created_at  timestamptz not null default now(),
    constraint projects_name_is_short check (length(name) between 1 and 100),
    constraint projects_slug_is_plain check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(slug) <= 63),
    constraint projects_max_running_is_positive check (max_running > 0)
);
comment on table zmesh.projects is 'A tenant: owns functions, keys, schedules, webhooks, a login role and a schema.';
comment on column zmesh.projects.max_running is 'How many invocations of this project may run at once, over all listeners.';

create table zmesh.project_databases (
    project_id      uuid primary key references zmesh.projects on delete cascade,
    sealed_password bytea not null
);
comment on table zmesh.project_databases is
    'Password of the project''s role, sealed with ZMESH_SECRET_KEY: a dump of the database does not reveal it.';

create table zmesh.users (
    id            uuid primary key default gen_random_uuid(),
    email         text not null,
    password_hash text not null,
    created_at    timestamptz not null default now(),
    constraint users_email_looks_like_one check (email ~ '^[^@\s]+@[^@\s]+$' and length(email) <= 254)
);
create unique index users_email_is_unique on zmesh.users (lower(email));
comment on table zmesh.users is 'People who sign in to the dashboard; argon2 password hashes.';

create table zmesh.memberships (
    user_id    uuid not null references zmesh.users on delete cascade,
    project_id uuid not null references zmesh.projects on delete cascade,
    role       text not null,
    primary key (user_id, project_id),
    constraint memberships_role_is_known check (role in ('owner', 'developer', 'viewer'))
);
comment on table zmesh.memberships is 'What a user may do in a project.';

create table zmesh.api_keys (
    id           uuid primary key default gen_random_uuid(),
    project_id   uuid not null references zmesh.projects on delete cascade,
    name         text not null default 'default',
    prefix       text not null,
    hash         bytea not null unique,
    created_at   timestamptz not null default now(),
    last_used_at timestamptz,
    revoked_at   timestamptz,
    constraint api_keys_hash_is_sha256 check (octet_length(hash) = 32),
    constraint api_keys_name_is_short check (length(name) between 1 and 100)
);
create index api_keys_by_project on zmesh.api_keys (project_id);
comment on table zmesh.api_keys is 'Keys of the public endpoint: SHA-256 and a visible prefix; the key itself is shown once and never stored.';

create table zmesh.functions (
    id          uuid primary key default gen_random_uuid(),
    project_id  uuid not null references zmesh.projects on delete cascade,
    name        text not null,
    slug        text not null,
    language    text not null,
    entry_point text not null default 'handler',
    code        text not null,
    timeout_ms  integer not null default 10000,
    memory_mb   integer not null default 256,
    env_vars    jsonb not null default '{}',
    version     integer not null default 1,
    enabled     boolean not null default true,
    max_attempts            smallint not null default 3,
    retry_base_ms           integer not null default 1000,
    retry_max_ms            integer not null default 300000,
    max_concurrency         integer,
    max_concurrency_per_key integer not null default 1,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    constraint functions_name_is_unique unique (project_id, name),
    constraint functions_slug_is_unique unique (project_id, slug),
    constraint functions_name_is_short check (length(name) between 1 and 100),
    constraint functions_slug_is_plain check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(slug) <= 100),
    constraint functions_language_is_known check (language in ('javascript', 'python', 'typescript')),
    constraint functions_entry_point_is_an_identifier check (entry_point ~ '^[A-Za-z_$][A-Za-z0-9_$]{0,99}$'),
    constraint functions_code_is_at_most_1_mib check (octet_length(code) <= 1048576),
    constraint functions_timeout_is_1_ms_to_15_minutes check (timeout_ms between 1 and 900000),
    constraint functions_memory_is_64_mb_to_8_gb check (memory_mb between 64 and 8192),
    constraint functions_env_vars_is_an_object check (jsonb_typeof(env_vars) = 'object'),
    constraint functions_version_is_positive check (version > 0),
    constraint functions_max_attempts_is_1_to_100 check (max_attempts between 1 and 100),
    constraint functions_retry_base_is_1_ms_to_1_day check (retry_base_ms between 1 and 86400000),
    constraint functions_retry_max_is_1_ms_to_7_days check (retry_max_ms between 1 and 604800000),
    constraint functions_max_concurrency_is_positive check (max_concurrency > 0),
    constraint functions_max_concurrency_per_key_is_positive check (max_concurrency_per_key > 0)
);
comment on table zmesh.functions is 'A function and its current code. Earlier code: function_versions.';
comment on column zmesh.functions.max_attempts is 'How often an invocation that nobody waits for is tried, unless it says otherwise itself.';
comment on column zmesh.functions.retry_base_ms is 'Wait after the first failed attempt; it doubles with each one, up to retry_max_ms.';
comment on column zmesh.functions.max_concurrency is 'How many invocations of this function may run at once; null: as many as the project may.';
comment on column zmesh.functions.max_concurrency_per_key is 'How many invocations with the same concurrency_key may run at once.';
comment on column zmesh.functions.version is 'Grows by one with every change of code, entry point or language, rollback included; set by trigger.';

create table zmesh.function_versions (
    function_id uuid not null references zmesh.functions on delete cascade,
    version     integer not null,
    language    text not null,
    entry_point text not null,
    code        text not null,
    created_at  timestamptz not null default now(),
    primary key (function_id, version)
);
comment on table zmesh.function_versions is 'What a function was before each change of its code; written by a trigger only.';

create table zmesh.listeners (
    id               uuid primary key default gen_random_uuid(),
    name             text not null,
    slots            integer not null,
    waiting          boolean not null default true,
    started_at       timestamptz not null,
    lease_expires_at timestamptz not null,
    constraint listeners_slots_is_positive check (slots > 0)
);
comment on table zmesh.listeners is
    'Living listeners. A listener renews one lease for all its runs; when it runs out, its runs are taken from it.';
comment on column zmesh.listeners.waiting is 'It found less than it could run, so an insert wakes it. No insert notifies while nobody waits.';

-- Columns in the order of their alignment, widest first: a row of the queue is read and rewritten often.
create table zmesh.invocations (
    id               uuid not null,
    project_id       uuid not null,
    function_id      uuid not null,
    listener_id      uuid,
    parent_id        uuid,
    schedule_id      uuid,
    lane             bigint not null,
    created_at       timestamptz not null,
    run_at           timestamptz not null,
    expires_at       timestamptz,
    started_at       timestamptz,
    finished_at      timestamptz,
    version          integer,
    duration_ms      integer,
    cpu_ms           integer,
    peak_memory_mb   integer,
    retry_base_ms    integer,
    retry_max_ms     integer,
    priority         smallint not null default 0,
    max_attempts     smallint not null,
    attempt          smallint not null default 0,
    due              boolean not null,
    waited           boolean not null default false,
    cancel_requested boolean not null default false,
    status           text not null default 'queued',
    source           text not null default 'sql',
    function         text not null,
    payload          jsonb not null default '{}',
    request          json,
    reply_channel    text,
    idempotency_key  text,
    concurrency_key  text,
    result           json,
    response         json,
    error            jsonb,
    constraint invocations_final_ones_have_an_end
        check ((status in ('queued', 'running')) = (finished_at is null)),
    constraint invocations_running_ones_have_started check (status <> 'running' or started_at is not null),
    constraint invocations_running_ones_have_an_owner check ((status = 'running') = (listener_id is not null)),
    constraint invocations_attempt_is_within_max check (attempt between 0 and max_attempts)
) partition by list (status);
comment on table zmesh.invocations is
    'Every invocation that was ever asked for. To enqueue one: insert into zmesh.invocations (function, payload) values (…).';
comment on column zmesh.invocations.function is 'Slug of the function to invoke.';
comment on column zmesh.invocations.lane is 'What may be limited together: a hash of the function and the concurrency_key.';
comment on column zmesh.invocations.run_at is 'Not before this time.';
comment on column zmesh.invocations.expires_at is 'Not started later than this: ends as an error of type expired instead.';
comment on column zmesh.invocations.due is 'Whether run_at had come when this was last looked at.';
comment on column zmesh.invocations.waited is 'Somebody waits for the answer, so it goes before background work.';
comment on column zmesh.invocations.reply_channel is
    'On insert: the random channel on which the caller waits for the end. It moves to zmesh.waiters and is never shown.';
comment on column zmesh.invocations.version is 'Version of the code that ran.';
comment on column zmesh.invocations.idempotency_key is 'A second insert with the same key for the same function is refused.';
comment on column zmesh.invocations.concurrency_key is
    'At most max_concurrency_per_key (by default one) of a function''s invocations with the same key run at once.';

create table zmesh.queue partition of zmesh.invocations (
    constraint queue_id_is_unique primary key (id),
    constraint invocations_source_is_known
        check (source in ('api', 'sql', 'schedule', 'webhook', 'function')),
    constraint invocations_priority_is_small check (priority between -100 and 100),
    constraint invocations_max_attempts_is_1_to_100 check (max_attempts between 1 and 100),
    constraint invocations_concurrency_key_is_short check (length(concurrency_key) between 1 and 255),
    constraint invocations_retry_base_is_1_ms_to_1_day check (retry_base_ms between 1 and 86400000),
    constraint invocations_retry_max_is_1_ms_to_7_days check (retry_max_ms between 1 and 604800000)
) for values in ('queued', 'running')
  with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index queue_ready on zmesh.queue (waited, project_id, lane, priority desc, run_at) where status = 'queued' and due;
create index queue_delayed on zmesh.queue (run_at) where status = 'queued' and not due;
create index queue_expiring on zmesh.queue (expires_at) where status = 'queued' and expires_at is not null;
create index queue_running on zmesh.queue (listener_id) where status = 'running';
create index queue_by_function on zmesh.queue (function_id, id desc);
create index queue_by_schedule on zmesh.queue (schedule_id) where schedule_id is not null;
comment on table zmesh.queue is 'What is queued or running. A row moves to zmesh.history when it ends.';

create table zmesh.history partition of zmesh.invocations (
    constraint history_id_is_unique primary key (id)
) for values in ('success', 'error', 'timeout', 'cancelled') partition by range (id);
create index history_by_function on zmesh.history (function_id, id desc);
create index history_by_project on zmesh.history (project_id, id desc);
create index history_dead on zmesh.history (project_id, id desc) where status in ('error', 'timeout');
create table zmesh.history_rest partition of zmesh.history default;
comment on table zmesh.history is 'How invocations ended. Ids grow with time, so a partition by id is a partition by time.';
comment on table zmesh.history_rest is 'Ended invocations whose id is of a time that has no partition.';

create table zmesh.logs (
    invocation_id uuid not null,
    attempt       smallint not null,
    line          integer not null,
    project_id    uuid not null,
    at            timestamptz not null,
    level         text not null,
    message       text not null,
    primary key (invocation_id, attempt, line),
    constraint logs_level_is_known check (level in ('debug', 'info', 'warning', 'error'))
) partition by range (invocation_id);
create table zmesh.logs_rest partition of zmesh.logs default;
comment on table zmesh.logs is 'What runs printed, line by line; partitioned as zmesh.history is.';
comment on table zmesh.logs_rest is 'Logs of invocations whose id is of a time that has no partition.';

create table zmesh.periods (
    starts_at timestamptz primary key,
    ends_at   timestamptz not null unique,
    constraint periods_end_after_their_start check (ends_at > starts_at)
);
comment on table zmesh.periods is 'Times for which zmesh.history and zmesh.logs have a partition each.';

create table zmesh.upkeep (
    only_row    boolean primary key default true,
    last_run_at timestamptz,
    constraint upkeep_is_one_row check (only_row)
);
comment on table zmesh.upkeep is 'When zmesh.maintain() last ran; its row lock keeps it to one at a time.';
insert into zmesh.upkeep default values;

create table zmesh.idempotency_keys (
    function_id   uuid not null,
    key           text not null,
    invocation_id uuid not null,
    created_at    timestamptz not null,
    constraint invocations_idempotency_key_is_unique primary key (function_id, key),
    constraint invocations_idempotency_key_is_short check (length(key) between 1 and 255)
);
create index idempotency_keys_by_age on zmesh.idempotency_keys using brin (created_at);
comment on table zmesh.idempotency_keys is 'The invocation that a key of a function stands for; kept as long as history is.';

-- Unlogged: after a crash of the server no connection is left that could wait.
create unlogged table zmesh.waiters (
    invocation_id uuid primary key,
    channel       text not null,
    constraint invocations_reply_channel_is_random check (channel ~ '^zmesh_[ri]_[0-9a-f]{32}$')
);
comment on table zmesh.waiters is
    'Channels of callers that wait for an end. Only the platform sees them: who knows a channel can listen to its results.';

create type zmesh.outcome as (
    id uuid, attempt smallint, status text, result json, response json, error jsonb, logs json,
    duration_ms integer, cpu_ms integer, peak_memory_mb integer);
comment on type zmesh.outcome is 'How one attempt of one invocation ended.';

create table zmesh.schedules (
    id          uuid primary key default gen_random_uuid(),
    project_id  uuid not null references zmesh.projects on delete cascade,
    function_id uuid not null references zmesh.functions on delete cascade,
    name        text not null,
    cron        text not null,
    timezone    text not null default 'UTC',
    payload     jsonb not null default '{}',
    overlap     text not null default 'skip',
    missed      text not null default 'once',
    enabled     boolean not null default true,
    next_due_at timestamptz,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    constraint schedules_name_is_unique unique (project_id, name),
    constraint schedules_name_is_short check (length(name) between 1 and 100),
    constraint schedules_overlap_is_known check (overlap in ('skip', 'queue')),
    constraint schedules_missed_is_known check (missed in ('skip', 'once', 'all'))
);
create index schedules_due on zmesh.schedules (next_due_at) where enabled;
create index schedules_by_function on zmesh.schedules (function_id);
comment on table zmesh.schedules is 'Cron expressions that invoke functions; zmesh.tick() fires what is due.';
comment on column zmesh.schedules.overlap is 'When the invocation before has not ended: skip this one, or queue it as well.';
comment on column zmesh.schedules.missed is
    'Due times that passed while no clock ran: skip them, fire once for all of them, or fire each one.';

create table zmesh.schedule_runs (
    schedule_id   uuid not null references zmesh.schedules on delete cascade,
    due_at        timestamptz not null,
    invocation_id uuid,
    outcome       text not null,
    created_at    timestamptz not null default now(),
    primary key (schedule_id, due_at),
    constraint schedule_runs_outcome_is_known
        check (outcome in ('fired', 'skipped_overlap', 'skipped_missed', 'skipped_disabled'))
);
create index schedule_runs_by_age on zmesh.schedule_runs using brin (created_at);
comment on table zmesh.schedule_runs is 'Each due time of each schedule at most once: the primary key makes firing exactly once.';

create table zmesh.webhooks (
    id             uuid primary key default gen_random_uuid(),
    project_id     uuid not null references zmesh.projects on delete cascade,
    function_id    uuid not null references zmesh.functions on delete cascade,
    name           text not null,
    token          text not null unique,
    preset         text not null default 'none',
    sealed_secret  bytea,
    enabled        boolean not null default true,
    created_at     timestamptz not null default now(),
    constraint webhooks_name_is_unique unique (project_id, name),
    constraint webhooks_name_is_short check (length(name) between 1 and 100),
    constraint webhooks_token_is_long check (length(token) >= 32),
    constraint webhooks_preset_is_known
        check (preset in ('none', 'hmac', 'github', 'stripe', 'slack', 'standard')),
    constraint webhooks_verified_ones_have_a_secret check ((preset = 'none') = (sealed_secret is null))
);
create index webhooks_by_function on zmesh.webhooks (function_id);
comment on table zmesh.webhooks is 'Inbound URLs; the token in the URL is unguessable, the preset says how the sender signs.';

create table zmesh.webhook_deliveries (
    webhook_id    uuid not null references zmesh.webhooks on delete cascade,
    message_id    text not null,
    invocation_id uuid not null,
    received_at   timestamptz not null default now(),
    primary key (webhook_id, message_id),
    constraint webhook_deliveries_message_id_is_short check (length(message_id) between 1 and 255)
);
create index webhook_deliveries_by_age on zmesh.webhook_deliveries using brin (received_at);
comment on table zmesh.webhook_deliveries is 'Message ids of senders, so that a delivery sent twice is invoked once.';
