-- What webhooks received, for those who set one up.

create table zmesh.webhook_requests (
    id            uuid        primary key,
    webhook_id    uuid        not null references zmesh.webhooks on delete cascade,
    invocation_id uuid,
    received_at   timestamptz not null default now(),
    body_size     integer     not null,
    status_code   smallint    not null,
    test          boolean     not null default false,
    verdict       text        not null,
    client        text        not null,
    code          text,
    detail        text,
    message_id    text,
    request       json,
    constraint webhook_requests_verdict_is_known  check (verdict in ('accepted', 'duplicate', 'refused')),
    constraint webhook_requests_refused_ones_have_no_invocation
        check ((verdict = 'refused') = (invocation_id is null))
);
create index webhook_requests_by_webhook on zmesh.webhook_requests (webhook_id, id desc);
create index webhook_requests_by_age on zmesh.webhook_requests using brin (received_at);
comment on table zmesh.webhook_requests is
    'The latest requests to webhooks with their verdicts: 500 of each webhook, for a week.';
comment on column zmesh.webhook_requests.code is 'Why it was refused, as the code of a problem.';
comment on column zmesh.webhook_requests.request is
    'Headers and body of a refused request; those of an accepted one are with its invocation.';
comment on column zmesh.webhook_requests.test is 'Sent by a member of the project, to try the webhook.';

grant select on zmesh.webhook_requests to zmesh_api;
