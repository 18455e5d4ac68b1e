-- Browsers that are signed in to the console.

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

grant select on zmesh.browser_sessions to zmesh_api;
