-- Callbacks: how an invocation ended, sent to the address that it carries.

create table zmesh.callbacks (
    invocation_id    uuid        primary key,
    project_id       uuid        not null,
    message_id       uuid        not null,
    created_at       timestamptz not null,
    next_attempt_at  timestamptz,
    delivered_at     timestamptz,
    attempts         integer     not null default 0,
    last_status_code integer,
    status           text        not null default 'pending',
    url              text        not null,
    last_error       text,
    constraint callbacks_status_is_known                    check (status in ('pending', 'delivered', 'failed')),
    constraint callbacks_pending_ones_have_a_next_attempt   check ((status = 'pending') = (next_attempt_at is not null)),
    constraint callbacks_delivered_ones_have_a_time         check ((status = 'delivered') = (delivered_at is not null))
);
create index callbacks_due on zmesh.callbacks (next_attempt_at) where status = 'pending';
create index callbacks_by_age on zmesh.callbacks using brin (created_at);
comment on table zmesh.callbacks is 'Callbacks to the callback_url of finished invocations, pending and delivered.';
comment on column zmesh.callbacks.invocation_id is 'The invocation whose outcome is sent.';
comment on column zmesh.callbacks.project_id is 'The project of the function.';
comment on column zmesh.callbacks.created_at is 'When the invocation ended.';
comment on column zmesh.callbacks.delivered_at is 'When the receiver answered with a status of success.';
comment on column zmesh.callbacks.attempts is 'How many attempts have started.';
comment on column zmesh.callbacks.last_status_code is 'Status of the last answer.';
comment on column zmesh.callbacks.status is 'pending, delivered or failed.';
comment on column zmesh.callbacks.url is 'Where it is sent.';
comment on column zmesh.callbacks.last_error is 'Why the last attempt failed.';
comment on column zmesh.callbacks.message_id is
    'webhook-id of the message: the same in every attempt, so that the receiver can discard duplicates.';
comment on column zmesh.callbacks.next_attempt_at is
    'When the next attempt is due; during an attempt, when another listener may try instead.';

create table zmesh.signing_secrets (
    project_id                  uuid        primary key references zmesh.projects on delete cascade,
    created_at                  timestamptz not null,
    previous_secret_valid_until timestamptz,
    sealed_secret               bytea       not null,
    sealed_previous_secret      bytea,
    constraint signing_secrets_previous_one_ends
        check ((sealed_previous_secret is null) = (previous_secret_valid_until is null))
);
comment on table zmesh.signing_secrets is
    'Secrets with which a project''s callbacks are signed; two during a rotation.';

grant select on zmesh.callbacks to zmesh_api, zmesh_project;
grant select (project_id, created_at, previous_secret_valid_until) on zmesh.signing_secrets to zmesh_api;

alter table zmesh.callbacks enable row level security;
create policy platform on zmesh.callbacks to zmesh_api using (true) with check (true);
create policy own_project on zmesh.callbacks to zmesh_project
    using (project_id = (select zmesh.project_of(current_user)));
