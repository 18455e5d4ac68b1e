-- What callers may ask of an invocation, whose idempotency key is whose, and versions that must not run again.

alter table zmesh.functions
    add column anonymous_options text[] not null default '{}',
    add column key_options       text[] not null default '{concurrency_key,delay,expires_at,idempotency_key}',
    add column public_errors     boolean not null default false,
    add constraint functions_anonymous_options_are_known
        check (anonymous_options <@ '{callback_url,concurrency_key,delay,expires_at,idempotency_key,max_attempts,priority,version}'
               and array_position(anonymous_options, null) is null),
    add constraint functions_key_options_are_known
        check (key_options <@ '{callback_url,concurrency_key,delay,expires_at,idempotency_key,max_attempts,priority,version}'
               and array_position(key_options, null) is null);
comment on column zmesh.functions.anonymous_options is
    'Invocation options that a caller without credentials may set on the public route.';
comment on column zmesh.functions.key_options is
    'Invocation options that an API key, or the token of a viewer, may set on the public route. Developers and owners may set all.';
comment on column zmesh.functions.public_errors is
    'Whether a caller without credentials gets the type, message and stack of an error.';

alter table zmesh.function_versions add column retired_at timestamptz;
comment on column zmesh.function_versions.retired_at is 'Since when nothing may run this version; null: it may run.';

alter table zmesh.idempotency_keys
    add column scope text not null default '',
    drop constraint invocations_idempotency_key_is_unique,
    add constraint invocations_idempotency_key_is_unique primary key (function_id, scope, key);
comment on column zmesh.idempotency_keys.scope is
    'The credential that chose the key: key:<id>, user:<id> or anonymous; empty for SQL.';

alter table zmesh.invocations add column idempotency_scope text;
comment on column zmesh.invocations.idempotency_scope is
    'Set on insert only, by the API: the credential whose key idempotency_key is; kept in zmesh.idempotency_keys.';

alter table zmesh.webhooks
    drop constraint webhooks_preset_is_known,
    add constraint webhooks_preset_is_known
        check (preset in ('none', 'hmac', 'shared_secret', 'github', 'shopify', 'slack', 'standard', 'stripe'));
