-- Browsers at the console: a cookie in place of tokens, by a password or by a link that works once.

create or replace function zmesh.add_browser(p_session_id uuid, p_hash bytea) returns timestamptz
language plpgsql as $$
declare
    v_expires_at timestamptz;
begin
    insert into zmesh.browser_sessions (hash, session_id, created_at, expires_at)
    select p_hash, s.id, zmesh.now(), least(s.expires_at, zmesh.now() + interval '7 days')
      from zmesh.sessions s where s.id = p_session_id
    returning expires_at into v_expires_at;
    return v_expires_at;
end $$;
comment on function zmesh.add_browser(uuid, bytea) is
    'Adds the cookie of a browser, given as its SHA-256, to a session; returns when it expires: in a week at most.';

create or replace function zmesh.start_browser_session(p_user_id uuid, p_client text, p_hash bytea) returns timestamptz
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
begin
    delete from zmesh.sessions where user_id = p_user_id and expires_at < zmesh.now();
    insert into zmesh.sessions (user_id, client, created_at, expires_at)
    values (p_user_id, p_client, zmesh.now(), zmesh.now() + interval '30 days') returning id into v_id;
    return zmesh.add_browser(v_id, p_hash);
end $$;
comment on function zmesh.start_browser_session(uuid, text, bytea) is
    'Starts a session of a browser with its cookie, given as its SHA-256; returns when the cookie expires.';

create or replace function zmesh.end_browser_session(p_hash bytea) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_session_id uuid;
begin
    delete from zmesh.browser_sessions where hash = p_hash returning session_id into v_session_id;
    -- A link leads into the session of the command line that requested it: that one goes on.
    update zmesh.sessions s set ended_at = zmesh.now(), ended_by = 'logout'
     where s.id = v_session_id and s.ended_at is null
       and not exists (select from zmesh.refresh_tokens t where t.session_id = s.id);
end $$;
comment on function zmesh.end_browser_session(bytea) is
    'Signs a browser out; a session without refresh tokens ends with it.';

create or replace function zmesh.create_sign_in_link(p_user_id uuid, p_session_id uuid, p_hash bytea) returns timestamptz
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_most constant integer := 20;
    v_expires_at timestamptz := zmesh.now() + interval '15 minutes';
begin
    delete from zmesh.sign_in_links
     where user_id = p_user_id
       and (expires_at <= zmesh.now()
            or hash in (select hash from zmesh.sign_in_links where user_id = p_user_id
                         order by created_at desc offset c_most - 1));
    insert into zmesh.sign_in_links (hash, user_id, session_id, created_at, expires_at)
    values (p_hash, p_user_id, p_session_id, zmesh.now(), v_expires_at);
    return v_expires_at;
end $$;
comment on function zmesh.create_sign_in_link(uuid, uuid, bytea) is
    'Stores a one-time sign-in link, given as the SHA-256 of its token; returns when it expires. The oldest of more than '
    '20 are deleted.';

create or replace function zmesh.use_sign_in_link(p_hash bytea, p_client text, p_cookie_hash bytea)
returns table (user_id uuid, expires_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_link zmesh.sign_in_links;
begin
    delete from zmesh.sign_in_links where hash = p_hash returning * into v_link;   -- one of two at the same time gets it
    if not found or v_link.expires_at <= zmesh.now() then
        return;
    end if;
    if v_link.session_id is null then
        return query select v_link.user_id, zmesh.start_browser_session(v_link.user_id, p_client, p_cookie_hash);
    elsif exists (select from zmesh.sessions s
                   where s.id = v_link.session_id and s.ended_at is null and s.expires_at > zmesh.now()) then
        return query select v_link.user_id, zmesh.add_browser(v_link.session_id, p_cookie_hash);
    end if;
end $$;
comment on function zmesh.use_sign_in_link(bytea, text, bytea) is
    'Signs a browser in by a link, which is thereby used up. No row: it is unknown, used or expired, or its session has ended.';

grant execute on function zmesh.start_browser_session(uuid, text, bytea), zmesh.end_browser_session(bytea),
      zmesh.create_sign_in_link(uuid, uuid, bytea), zmesh.use_sign_in_link(bytea, text, bytea) to zmesh_api;
