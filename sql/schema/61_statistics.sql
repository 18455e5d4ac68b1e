-- Figures of functions, kept by the end of invocations, so that no question about them reads history.

-- Unlogged: what a crash of the server loses are the figures of a few seconds. Rows stay for seconds.
create unlogged table zmesh.endings (
    invocation_id  uuid        not null,
    project_id     uuid        not null,
    function_id    uuid        not null,
    ended_at       timestamptz not null,
    version        integer,
    duration_ms    integer,
    cpu_ms         integer,
    peak_memory_mb integer,
    queue_ms       numeric,
    start_ms       numeric,
    status         text        not null,
    error_type     text,
    error_message  text
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index endings_by_time on zmesh.endings (ended_at);
comment on table zmesh.endings is
    'Invocations that have just ended, written by zmesh.end_for_good(). zmesh.fold_statistics() adds them to the statistics.';
comment on column zmesh.endings.error_message is 'The first 500 characters of the error''s message.';

-- One row for each version of a function that ended invocations in a minute. Arrays are histograms: the n-th element
-- counts the values above 2^((n-2)/3), up to 2^((n-1)/3). So a percentile is read to within 26 percent, whatever the number of calls.
create table zmesh.statistics_by_minute (
    project_id     uuid        not null,
    function_id    uuid        not null,
    starts_at      timestamptz not null,
    run_ms         bigint      not null default 0,
    cpu_ms         bigint      not null default 0,
    version        integer     not null,
    success        integer     not null default 0,
    error          integer     not null default 0,
    timeout        integer     not null default 0,
    cancelled      integer     not null default 0,
    duration_ms    integer[]   not null default '{}',
    queue_ms       integer[]   not null default '{}',
    start_ms       integer[]   not null default '{}',
    peak_memory_mb integer[]   not null default '{}',
    primary key (function_id, starts_at, version)
) with (fillfactor = 70);
create index statistics_by_minute_of_project on zmesh.statistics_by_minute (project_id, starts_at);
create index statistics_by_minute_by_age on zmesh.statistics_by_minute using brin (starts_at);
comment on table zmesh.statistics_by_minute is
    'Calls by function, version and minute of their end, with histograms of their times; kept for 25 hours.';
comment on column zmesh.statistics_by_minute.function_id is 'The project''s own id in the row that sums up all of its functions.';
comment on column zmesh.statistics_by_minute.version is 'The version that ran; 0: the invocation ended before one was chosen.';
comment on column zmesh.statistics_by_minute.run_ms is 'Sum of the durations of runs.';

create table zmesh.statistics_by_hour (
    project_id     uuid        not null,
    function_id    uuid        not null,
    starts_at      timestamptz not null,
    run_ms         bigint      not null default 0,
    cpu_ms         bigint      not null default 0,
    version        integer     not null,
    success        integer     not null default 0,
    error          integer     not null default 0,
    timeout        integer     not null default 0,
    cancelled      integer     not null default 0,
    duration_ms    integer[]   not null default '{}',
    queue_ms       integer[]   not null default '{}',
    start_ms       integer[]   not null default '{}',
    peak_memory_mb integer[]   not null default '{}',
    primary key (function_id, starts_at, version)
) with (fillfactor = 70);
create index statistics_by_hour_of_project on zmesh.statistics_by_hour (project_id, starts_at);
create index statistics_by_hour_by_age on zmesh.statistics_by_hour using brin (starts_at);
comment on table zmesh.statistics_by_hour is 'The same by hour; kept for 31 days.';

create table zmesh.errors_by_hour (
    project_id         uuid        not null,
    function_id        uuid        not null,
    fingerprint        uuid        not null,
    last_invocation_id uuid        not null,
    starts_at          timestamptz not null,
    first_at           timestamptz not null,
    last_at            timestamptz not null,
    version            integer     not null,
    calls              integer     not null,
    type               text        not null,
    message            text        not null,
    primary key (function_id, starts_at, fingerprint, version)
) with (fillfactor = 70);
create index errors_by_hour_by_age on zmesh.errors_by_hour using brin (starts_at);
comment on table zmesh.errors_by_hour is
    'Failed calls by function, version, hour and kind of error; kept for 31 days. A function has about 100 kinds in an hour at most.';
comment on column zmesh.errors_by_hour.fingerprint is
    'Hash of the type and the message without its numbers and quoted parts; zero: errors of further kinds.';
comment on column zmesh.errors_by_hour.message is 'The message of the last one.';

create table zmesh.statistics_folding (
    only_row  boolean primary key default true,
    folded_at timestamptz not null default '-infinity',
    swept_at  timestamptz not null default '-infinity',
    constraint statistics_folding_is_one_row check (only_row)
);
comment on table zmesh.statistics_folding is
    'When zmesh.fold_statistics() last ran, and last deleted old rows; its row lock allows one at a time.';
insert into zmesh.statistics_folding default values;

grant select on zmesh.endings, zmesh.statistics_by_minute, zmesh.statistics_by_hour, zmesh.errors_by_hour to zmesh_api;
