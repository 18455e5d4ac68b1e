-- People and their sessions, invitations, scopes of API keys, and what projects keep secret.

create table zmesh.sessions (
    id         uuid primary key default gen_random_uuid(),
    user_id    uuid not null references zmesh.users on delete cascade,
    client     text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    ended_at   timestamptz,
    ended_by   text,
    constraint sessions_expire_after_their_start check (expires_at > created_at),
    constraint sessions_ended_ones_say_why check ((ended_at is null) = (ended_by is null)),
    constraint sessions_end_is_known check (ended_by in ('logout', 'reuse', 'password'))
);
create index sessions_by_user on zmesh.sessions (user_id);
comment on table zmesh.sessions is 'From a login to a logout. A token names its session, and ends with it.';
comment on column zmesh.sessions.client is 'Address of the client that logged in.';
comment on column zmesh.sessions.ended_by is
    'logout; reuse: a refresh token came a second time, so somebody else has it; password: that was changed.';

create table zmesh.refresh_tokens (
    hash       bytea primary key,
    session_id uuid not null references zmesh.sessions on delete cascade,
    created_at timestamptz not null,
    used_at    timestamptz,
    constraint refresh_tokens_hash_is_sha256 check (octet_length(hash) = 32)
);
create index refresh_tokens_by_session on zmesh.refresh_tokens (session_id);
create unique index refresh_tokens_one_is_good on zmesh.refresh_tokens (session_id) where used_at is null;
comment on table zmesh.refresh_tokens is 'SHA-256 of every refresh token of a session; each is good once, for the next one.';

create table zmesh.invitations (
    id         uuid primary key default gen_random_uuid(),
    project_id uuid not null references zmesh.projects on delete cascade,
    invited_by uuid references zmesh.users on delete cascade,
    email      text not null,
    role       text not null,
    hash       bytea not null unique,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    constraint invitations_email_looks_like_one check (email ~ '^[^@\s]+@[^@\s]+$' and length(email) <= 254),
    constraint invitations_role_is_known check (role in ('owner', 'developer', 'viewer')),
    constraint invitations_hash_is_sha256 check (octet_length(hash) = 32)
);
create unique index invitations_email_is_unique on zmesh.invitations (project_id, lower(email));
create index invitations_by_inviter on zmesh.invitations (invited_by);
comment on table zmesh.invitations is
    'Who may become a member: whoever has the token, of which this is the SHA-256. Whether the address has an account shows to nobody.';

create index memberships_by_project on zmesh.memberships (project_id);

alter table zmesh.api_keys
    add column all_functions boolean not null default true,
    add column expires_at timestamptz,
    add column created_by uuid references zmesh.users on delete set null;
create index api_keys_by_creator on zmesh.api_keys (created_by);
comment on column zmesh.api_keys.all_functions is 'Good for every function of the project; else for those in api_key_functions, which may be none.';

create table zmesh.api_key_functions (
    key_id      uuid not null references zmesh.api_keys on delete cascade,
    function_id uuid not null references zmesh.functions on delete cascade,
    primary key (key_id, function_id)
);
create index api_key_functions_by_function on zmesh.api_key_functions (function_id);
comment on table zmesh.api_key_functions is 'What a key is good for that is not good for everything.';

create table zmesh.secrets (
    id          uuid primary key default gen_random_uuid(),
    project_id  uuid not null references zmesh.projects on delete cascade,
    function_id uuid references zmesh.functions on delete cascade,
    name        text not null,
    sealed      bytea not null,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    constraint secrets_name_is_unique unique nulls not distinct (project_id, function_id, name),
    constraint secrets_name_is_a_variable check (name ~ '^[A-Za-z_][A-Za-z0-9_]{0,127}$'),
    constraint secrets_value_is_at_most_64_kib check (octet_length(sealed) <= 65536 + 64)
);
create index secrets_by_function on zmesh.secrets (function_id);
comment on table zmesh.secrets is
    'Values that go to runs as zmesh.env and to nobody else: sealed with ZMESH_SECRET_KEY, for their place and name.';
comment on column zmesh.secrets.function_id is 'The one function that gets it; null: every function of the project.';
