create or replace function zmesh.create_key(p_project_id uuid, p_name text, p_prefix text, p_hash bytea, p_expires_at timestamptz,
                                            p_functions text[], p_by uuid, p_scope text default 'invoke')
returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id   uuid;
    v_name text;
begin
    if p_expires_at <= zmesh.now() then
        perform zmesh.fail('ZM422', 'a key cannot expire in the past', null, 'api_keys_expire_in_the_future',
                           'expires_at');
    end if;
    insert into zmesh.api_keys (project_id, name, prefix, hash, created_at, expires_at, all_functions, created_by, scope)
    values (p_project_id, p_name, p_prefix, p_hash, zmesh.now(), p_expires_at, p_functions is null, p_by, p_scope)
    returning id into v_id;
    foreach v_name in array coalesce(p_functions, '{}') loop
        insert into zmesh.api_key_functions (key_id, function_id)
        select v_id, f.id from zmesh.functions f
         where f.project_id = p_project_id and (f.slug = v_name or f.id::text = lower(v_name))
        on conflict do nothing;
        if not exists (select from zmesh.functions f where f.project_id = p_project_id
                        and (f.slug = v_name or f.id::text = lower(v_name))) then
            perform zmesh.fail('ZM404', format('function "%s" does not exist', v_name), null, 'api_key_functions_exist',
                               'functions');
        end if;
    end loop;
    return v_id;
end $$;
comment on function zmesh.create_key(uuid, text, text, bytea, timestamptz, text[], uuid, text) is
    'Creates a key, given as its SHA-256, that invokes or deploys the functions with these slugs or ids; null means '
    'all present and future functions.';

create or replace function zmesh.revoke_key(p_project_id uuid, p_id uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.api_keys set revoked_at = coalesce(revoked_at, zmesh.now()) where project_id = p_project_id and id = p_id;
    return found;
end $$;
comment on function zmesh.revoke_key(uuid, uuid) is
    'Revokes a key permanently. Keys are looked up on every request and cached nowhere, so it is rejected '
    'everywhere at once.';

create or replace function zmesh.use_key(p_id uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.api_keys set last_used_at = zmesh.now()
     where id = p_id and (last_used_at is null or last_used_at < zmesh.now() - interval '1 minute');
end $$;
comment on function zmesh.use_key(uuid) is 'Records that a key was used, at most once a minute.';

create or replace function zmesh.ensure_key(p_project_id uuid, p_name text, p_prefix text, p_hash bytea) returns void
language plpgsql as $$
begin
    insert into zmesh.api_keys (project_id, name, prefix, hash) values (p_project_id, p_name, p_prefix, p_hash)
        on conflict (hash) do nothing;
end $$;
comment on function zmesh.ensure_key(uuid, text, text, bytea) is
    'Creates a key if it does not exist; an existing one, even if revoked, stays as it is. For administrators.';

create or replace function zmesh.limit_key(p_prefix text, p_requests_per_second integer) returns boolean
language plpgsql as $$
begin
    update zmesh.api_keys set requests_per_second = nullif(p_requests_per_second, 0) where prefix = p_prefix;
    return found;
end $$;
comment on function zmesh.limit_key(text, integer) is
    'Changes the rate limit of the key with this prefix, 0 means none; returns whether the key exists. For '
    'administrators.';

grant execute on function zmesh.create_key(uuid, text, text, bytea, timestamptz, text[], uuid, text), zmesh.revoke_key(uuid, uuid),
      zmesh.use_key(uuid) to zmesh_api;
