-- Functions that start functions: how deep they may call, and the trace that they share.

alter table zmesh.settings
    add column max_depth integer not null default 10,
    add column max_generations integer not null default 1000,
    add constraint settings_max_depth_is_up_to_32 check (max_depth between 0 and 32),
    add constraint settings_max_generations_is_not_negative check (max_generations >= 0);
comment on column zmesh.settings.max_depth is 'How many invocations may wait above one that somebody waits for.';
comment on column zmesh.settings.max_generations is
    'How long a chain may be in which each invocation enqueues the next one without a delay.';

alter table zmesh.invocations
    add column generation integer not null default 0,
    add column depth smallint not null default 0,
    add column traceparent text,
    add constraint invocations_traceparent_is_of_the_w3c
        check (traceparent ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$');
comment on column zmesh.invocations.parent_id is 'The invocation whose run inserted this one.';
comment on column zmesh.invocations.generation is 'How many invocations enqueued each other without a delay before this one.';
comment on column zmesh.invocations.depth is 'How many invocations wait above this one: it and each of them was called by the next.';
comment on column zmesh.invocations.traceparent is 'W3C trace context that came with it, the caller''s span included.';

create index queue_called on zmesh.queue (parent_id) where waited and parent_id is not null;
