-- Logins. A session has one valid refresh token at a time. A token that is used twice ends the session: a thief has one
-- of the copies, and there is no telling which.

create or replace function zmesh.start_session(p_user_id uuid, p_client text, p_hash bytea) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
begin
    delete from zmesh.sessions where user_id = p_user_id and expires_at < zmesh.now();
    insert into zmesh.sessions (user_id, client, created_at, expires_at)
    values (p_user_id, p_client, zmesh.now(), zmesh.now() + interval '30 days') returning id into v_id;
    insert into zmesh.refresh_tokens (hash, session_id, created_at) values (p_hash, v_id, zmesh.now());
    return v_id;
end $$;
comment on function zmesh.start_session(uuid, text, bytea) is
    'Starts a session of thirty days with its first refresh token, given as its SHA-256.';

create or replace function zmesh.refresh_session(p_hash bytea, p_new_hash bytea)
returns table (outcome text, session_id uuid, user_id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_session zmesh.sessions;
    v_used_at timestamptz;
begin
    select s.* into v_session from zmesh.sessions s
     where s.id = (select t.session_id from zmesh.refresh_tokens t where t.hash = p_hash) for update;
    if not found then
        return query select 'unknown', null::uuid, null::uuid;
        return;
    end if;
    select t.used_at into v_used_at from zmesh.refresh_tokens t where t.hash = p_hash;   -- the current value, now that the row is locked
    if v_session.ended_at is not null or v_session.expires_at <= zmesh.now() then
        return query select 'ended', v_session.id, v_session.user_id;
    elsif v_used_at is not null then
        update zmesh.sessions set ended_at = zmesh.now(), ended_by = 'reuse' where id = v_session.id;
        return query select 'reused', v_session.id, v_session.user_id;
    else
        update zmesh.refresh_tokens set used_at = zmesh.now() where hash = p_hash;
        insert into zmesh.refresh_tokens (hash, session_id, created_at) values (p_new_hash, v_session.id, zmesh.now());
        return query select 'refreshed', v_session.id, v_session.user_id;
    end if;
end $$;
comment on function zmesh.refresh_session(bytea, bytea) is
    'Exchanges a refresh token for the next one. Outcomes: refreshed, unknown, ended, and reused, which ends the '
    'session.';

create or replace function zmesh.end_session(p_hash bytea) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.sessions set ended_at = zmesh.now(), ended_by = 'logout'
     where id = (select session_id from zmesh.refresh_tokens where hash = p_hash) and ended_at is null;
    return found;
end $$;
comment on function zmesh.end_session(bytea) is
    'Ends the session that a refresh token belongs to, whether or not it is the latest token.';

create or replace function zmesh.set_password(p_user_id uuid, p_password_hash text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.users set password_hash = p_password_hash where id = p_user_id;
    if not found then
        return false;
    end if;
    update zmesh.sessions set ended_at = zmesh.now(), ended_by = 'password'
     where user_id = p_user_id and ended_at is null;
    return true;
end $$;
comment on function zmesh.set_password(uuid, text) is 'Changes a person''s password and ends all their sessions.';

grant execute on function zmesh.start_session(uuid, text, bytea), zmesh.refresh_session(bytea, bytea),
      zmesh.end_session(bytea), zmesh.set_password(uuid, text) to zmesh_api;
