-- Webhooks: URLs at which other systems invoke functions, with their own signatures.

create table zmesh.webhooks (
    id                          uuid        primary key default gen_random_uuid(),
    project_id                  uuid        not null    references zmesh.projects  on delete cascade,
    function_id                 uuid        not null    references zmesh.functions on delete cascade,
    created_at                  timestamptz not null    default now(),
    previous_secret_valid_until timestamptz,
    name                        text        not null,
    token                       text        not null unique,
    preset                      text        not null    default 'none',
    signature_header            text,
    sealed_secret               bytea,
    sealed_previous_secret      bytea,
    replay_window_seconds       integer     not null    default 300,
    answer                      text        not null    default 'accepted',
    enabled                     boolean     not null    default true,
    constraint webhooks_name_is_unique            unique (project_id, name),
    constraint webhooks_name_is_short             check (length(name) between 1 and 100),
    constraint webhooks_token_is_long             check (length(token) >= 32),
    constraint webhooks_preset_is_known
        check (preset in ('none', 'hmac', 'shared_secret', 'github', 'shopify', 'slack', 'standard', 'stripe')),
    constraint webhooks_verified_ones_have_a_secret check ((preset = 'none') = (sealed_secret is null)),
    constraint webhooks_previous_secret_ends
        check ((sealed_previous_secret is null) = (previous_secret_valid_until is null)),
    constraint webhooks_replay_window_is_10_seconds_to_1_day check (replay_window_seconds between 10 and 86400),
    constraint webhooks_signature_header_is_a_name
        check (signature_header is null
               or signature_header ~ '^[a-z0-9!#$%&''*+.^_`|~-]{1,100}$' and preset in ('hmac', 'shared_secret')),
    constraint webhooks_answer_is_known           check (answer in ('accepted', 'result'))
);
create index webhooks_by_function on zmesh.webhooks (function_id);
comment on table zmesh.webhooks is
    'Inbound webhooks. The token in the URL cannot be guessed; the preset determines how the sender signs.';
comment on column zmesh.webhooks.signature_header is 'Header with the signature or secret; null: the preset''s header.';
comment on column zmesh.webhooks.sealed_previous_secret is
    'The previous secret, which senders may use until previous_secret_valid_until.';
comment on column zmesh.webhooks.replay_window_seconds is
    'How far a signed timestamp may differ from the current time, in seconds.';
comment on column zmesh.webhooks.answer is
    'How the sender is answered: accepted at once, or with the result when the function has finished.';

create table zmesh.webhook_deliveries (
    webhook_id    uuid        not null,
    invocation_id uuid        not null,
    received_at   timestamptz not null default now(),
    message_id    text        not null,
    primary key (webhook_id, message_id),
    constraint webhook_deliveries_message_id_is_short check (length(message_id) between 1 and 255)
);
create index webhook_deliveries_by_age on zmesh.webhook_deliveries using brin (received_at);
comment on table zmesh.webhook_deliveries is
    'Message ids of senders, so that a message that is delivered twice is invoked once.';

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

grant select on zmesh.webhooks, zmesh.webhook_requests to zmesh_api;
grant select, insert on zmesh.webhook_deliveries to zmesh_api;
