-- What runs printed, and responses on their way from a run to a caller.

create table zmesh.logs (
    invocation_id uuid        not null,
    attempt       smallint    not null,
    line          integer     not null,
    project_id    uuid        not null,
    at            timestamptz not null,
    level         text        not null,
    message       text        not null,
    primary key (invocation_id, attempt, line),
    constraint logs_level_is_known check (level in ('debug', 'info', 'warning', 'error'))
) partition by range (invocation_id);
create table zmesh.logs_rest partition of zmesh.logs default;
comment on table zmesh.logs is 'Log lines of runs, partitioned as zmesh.history is.';
comment on column zmesh.logs.invocation_id is 'The invocation that printed it.';
comment on column zmesh.logs.attempt is 'The attempt that printed it.';
comment on column zmesh.logs.line is 'Its number within the attempt.';
comment on column zmesh.logs.project_id is 'The project of the function.';
comment on column zmesh.logs.at is 'When it was printed.';
comment on column zmesh.logs.level is 'debug, info, warning or error.';
comment on column zmesh.logs.message is 'The text, which may have several lines.';
comment on table zmesh.logs_rest is 'Log lines of invocations whose id belongs to a time without a partition.';

-- Unlogged: after a server crash there are no connections that could read them.
create unlogged table zmesh.streams (
    invocation_id uuid        primary key,
    started_at    timestamptz not null,
    full_since    timestamptz,
    sent          bigint      not null default 0,
    taken         bigint      not null default 0,
    channel       text        not null,
    head          json        not null,
    constraint streams_take_no_more_than_was_sent check (taken between 0 and sent)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
comment on table zmesh.streams is
    'Responses that a run sends in chunks and an API process forwards. Without a row nobody reads the response.';
comment on column zmesh.streams.sent is
    'Bytes that the listener has written; what the reader has not fetched yet is in zmesh.stream_chunks.';
comment on column zmesh.streams.full_since is
    'Since when the listener has been waiting for the reader to fetch a chunk.';
comment on column zmesh.streams.channel is 'Channel on which the reading API process is notified of new chunks.';

create unlogged table zmesh.stream_chunks (
    invocation_id uuid    not null,
    number        integer not null,
    body          bytea   not null,
    primary key (invocation_id, number)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
alter table zmesh.stream_chunks alter column body set storage external;
comment on table zmesh.stream_chunks is
    'Chunks of responses that the listener has written and the API deletes once it has them.';

grant select on zmesh.logs to zmesh_api, zmesh_project;
grant select (invocation_id) on zmesh.streams to zmesh_api;

alter table zmesh.logs enable row level security;
create policy platform on zmesh.logs to zmesh_api using (true) with check (true);
create policy own_project on zmesh.logs to zmesh_project
    using (project_id = (select zmesh.project_of(current_user)));
