-- People who sign in, what they may do in projects, and their sessions.

create table zmesh.users (
    id            uuid        primary key default gen_random_uuid(),
    created_at    timestamptz not null    default now(),
    email         text        not null,
    password_hash text        not null,
    constraint users_email_looks_like_one check (email ~ '^[^@\s]+@[^@\s]+$' and length(email) <= 254)
);
create unique index users_email_is_unique on zmesh.users (lower(email));
comment on table zmesh.users is 'People who can sign in, with argon2 hashes of their passwords.';

create table zmesh.memberships (
    user_id    uuid not null references zmesh.users    on delete cascade,
    project_id uuid not null references zmesh.projects on delete cascade,
    role       text not null,
    primary key (user_id, project_id),
    constraint memberships_role_is_known check (role in ('owner', 'developer', 'viewer'))
);
create index memberships_by_project on zmesh.memberships (project_id);
comment on table zmesh.memberships is 'The role of a user in a project.';

create table zmesh.invitations (
    id         uuid        primary key default gen_random_uuid(),
    project_id uuid        not null    references zmesh.projects on delete cascade,
    invited_by uuid                    references zmesh.users    on delete cascade,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    email      text        not null,
    role       text        not null,
    hash       bytea       not null unique,
    constraint invitations_email_looks_like_one check (email ~ '^[^@\s]+@[^@\s]+$' and length(email) <= 254),
    constraint invitations_role_is_known        check (role in ('owner', 'developer', 'viewer')),
    constraint invitations_hash_is_sha256       check (octet_length(hash) = 32)
);
create unique index invitations_email_is_unique on zmesh.invitations (project_id, lower(email));
create index invitations_by_inviter on zmesh.invitations (invited_by);
comment on table zmesh.invitations is
    'Pending invitations, by the SHA-256 of their token. They do not reveal whether the address has an account.';

create table zmesh.sessions (
    id         uuid        primary key default gen_random_uuid(),
    user_id    uuid        not null    references zmesh.users on delete cascade,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    ended_at   timestamptz,
    ended_by   text,
    client     text        not null,
    constraint sessions_expire_after_their_start check (expires_at > created_at),
    constraint sessions_ended_ones_say_why       check ((ended_at is null) = (ended_by is null)),
    constraint sessions_end_is_known             check (ended_by in ('logout', 'reuse', 'password'))
);
create index sessions_by_user on zmesh.sessions (user_id);
comment on table zmesh.sessions is 'Logins. A session lasts from login to logout; its tokens end with it.';
comment on column zmesh.sessions.client is 'Address of the client that logged in.';
comment on column zmesh.sessions.ended_by is
    'logout; reuse: a refresh token was used twice, so it may have been stolen; password: the password was changed.';

create table zmesh.refresh_tokens (
    hash       bytea       primary key,
    session_id uuid        not null references zmesh.sessions on delete cascade,
    created_at timestamptz not null,
    used_at    timestamptz,
    constraint refresh_tokens_hash_is_sha256 check (octet_length(hash) = 32)
);
create index refresh_tokens_by_session on zmesh.refresh_tokens (session_id);
create unique index refresh_tokens_one_is_good on zmesh.refresh_tokens (session_id) where used_at is null;
comment on table zmesh.refresh_tokens is 'SHA-256 of every refresh token of a session. Each can be exchanged once.';

create table zmesh.browser_sessions (
    hash       bytea       primary key,
    session_id uuid        not null references zmesh.sessions on delete cascade,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    constraint browser_sessions_hash_is_sha256           check (octet_length(hash) = 32),
    constraint browser_sessions_expire_after_their_start check (expires_at > created_at)
);
create index browser_sessions_by_session on zmesh.browser_sessions (session_id);
comment on table zmesh.browser_sessions is
    'SHA-256 of the cookies of browsers that are signed in to the console. They end with their session.';

create table zmesh.sign_in_links (
    hash       bytea       primary key,
    user_id    uuid        not null references zmesh.users on delete cascade,
    session_id uuid                 references zmesh.sessions on delete cascade,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    constraint sign_in_links_hash_is_sha256           check (octet_length(hash) = 32),
    constraint sign_in_links_expire_after_their_start check (expires_at > created_at)
);
create index sign_in_links_by_user on zmesh.sign_in_links (user_id);
create index sign_in_links_by_session on zmesh.sign_in_links (session_id);
comment on table zmesh.sign_in_links is
    'SHA-256 of the tokens of one-time sign-in links to the console; deleted when they are used.';
comment on column zmesh.sign_in_links.session_id is
    'The session that the link was requested in, which the browser joins; null: it starts one of its own.';

grant select on zmesh.users, zmesh.memberships, zmesh.invitations, zmesh.sessions, zmesh.refresh_tokens,
      zmesh.browser_sessions to zmesh_api;
