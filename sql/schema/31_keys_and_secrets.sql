-- Credentials with which programs call functions, and secret values that only functions get.

create table zmesh.api_keys (
    id                  uuid        primary key default gen_random_uuid(),
    project_id          uuid        not null    references zmesh.projects on delete cascade,
    created_by          uuid                    references zmesh.users    on delete set null,
    created_at          timestamptz not null    default now(),
    expires_at          timestamptz,
    last_used_at        timestamptz,
    revoked_at          timestamptz,
    name                text        not null    default 'default',
    prefix              text        not null,
    hash                bytea       not null unique,
    all_functions       boolean     not null    default true,
    requests_per_second integer,
    scope               text        not null    default 'invoke',
    constraint api_keys_hash_is_sha256                  check (octet_length(hash) = 32),
    constraint api_keys_name_is_short                   check (length(name) between 1 and 100),
    constraint api_keys_requests_per_second_is_positive check (requests_per_second > 0),
    constraint api_keys_scope_is_known                  check (scope in ('invoke', 'deploy'))
);
create index api_keys_by_project on zmesh.api_keys (project_id);
create index api_keys_by_creator on zmesh.api_keys (created_by);
comment on table zmesh.api_keys is
    'API keys, by SHA-256 and a visible prefix. The key itself is shown once and never stored.';
comment on column zmesh.api_keys.all_functions is
    'Whether the key is for every function of the project; otherwise those in api_key_functions, possibly none.';
comment on column zmesh.api_keys.scope is
    'What the key may do with its functions: invoke them, or deploy them. Never changed.';
comment on column zmesh.api_keys.requests_per_second is
    'How many requests per second each API process accepts with this key; null: no limit.';

create table zmesh.api_key_functions (
    key_id      uuid not null references zmesh.api_keys  on delete cascade,
    function_id uuid not null references zmesh.functions on delete cascade,
    primary key (key_id, function_id)
);
create index api_key_functions_by_function on zmesh.api_key_functions (function_id);
comment on table zmesh.api_key_functions is 'Functions that a key is for, of keys that are not for all.';

create table zmesh.secrets (
    id          uuid        primary key default gen_random_uuid(),
    project_id  uuid        not null    references zmesh.projects  on delete cascade,
    function_id uuid                    references zmesh.functions on delete cascade,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    name        text        not null,
    sealed      bytea       not null,
    constraint secrets_name_is_unique          unique nulls not distinct (project_id, function_id, name),
    constraint secrets_name_is_a_variable      check (name ~ '^[A-Za-z_][A-Za-z0-9_]{0,127}$'),
    constraint secrets_value_is_at_most_64_kib check (octet_length(sealed) <= 65536 + 64)
);
create index secrets_by_function on zmesh.secrets (function_id);
comment on table zmesh.secrets is
    'Values that only runs receive, in zmesh.env. They are sealed with ZMESH_SECRET_KEY and bound to their scope and name.';
comment on column zmesh.secrets.function_id is
    'The one function that receives it; null: every function of the project.';

grant select on zmesh.api_keys, zmesh.api_key_functions to zmesh_api;
-- The API never reads a sealed value; the listener gets them through zmesh.secrets_of().
grant select (id, project_id, function_id, name, created_at, updated_at) on zmesh.secrets to zmesh_api;
