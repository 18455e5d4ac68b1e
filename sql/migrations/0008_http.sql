-- What HTTP needs beside the queue: limits on how much is asked for, and streams of responses.

alter table zmesh.projects
    add column requests_per_second integer,
    add column max_queued integer not null default 100000,
    add constraint projects_requests_per_second_is_positive check (requests_per_second > 0),
    add constraint projects_max_queued_is_positive check (max_queued > 0);
comment on column zmesh.projects.requests_per_second is
    'How many requests of this project each API process takes in a second; null: any number.';
comment on column zmesh.projects.max_queued is
    'How many invocations may be ready and not yet started before the API takes no more of this project.';

alter table zmesh.api_keys
    add column requests_per_second integer,
    add constraint api_keys_requests_per_second_is_positive check (requests_per_second > 0);
comment on column zmesh.api_keys.requests_per_second is
    'How many requests with this key each API process takes in a second; null: any number.';

alter table zmesh.waiters
    drop constraint invocations_reply_channel_is_random,
    add constraint invocations_reply_channel_is_random check (channel ~ '^zmesh_[ris]_[0-9a-f]{32}$');

drop function if exists zmesh.short_answer(text, uuid, text, integer, integer, json, jsonb, json);

-- Unlogged: after a crash of the server no connection is left that could read them.
create unlogged table zmesh.streams (
    invocation_id uuid primary key,
    started_at    timestamptz not null,
    sent          bigint not null default 0,
    taken         bigint not null default 0,
    full_since    timestamptz,
    channel       text not null,
    head          json not null,
    constraint streams_take_no_more_than_was_sent check (taken between 0 and sent)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
comment on table zmesh.streams is
    'Responses that a run sends piece by piece and an API process passes on. No row: nobody reads.';
comment on column zmesh.streams.sent is 'Bytes that the listener wrote; what is not taken yet is in zmesh.stream_chunks.';
comment on column zmesh.streams.full_since is 'The listener waits, since then, for the reader to take something.';
comment on column zmesh.streams.channel is 'Where the API process that reads is told of new chunks.';

create unlogged table zmesh.stream_chunks (
    invocation_id uuid not null,
    number        integer not null,
    body          bytea not null,
    primary key (invocation_id, number)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
alter table zmesh.stream_chunks alter column body set storage external;
comment on table zmesh.stream_chunks is 'Pieces of responses between the listener that writes and the API that deletes them.';
