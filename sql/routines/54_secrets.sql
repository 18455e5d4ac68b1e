create or replace function zmesh.set_secret(p_project_id uuid, p_function_id uuid, p_name text, p_sealed bytea)
returns zmesh.secrets
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_secret zmesh.secrets;
begin
    perform from zmesh.projects where id = p_project_id for share;
    if p_function_id is not null
       and not exists (select from zmesh.functions where id = p_function_id and project_id = p_project_id) then
        perform zmesh.fail('ZM404', 'function does not exist');
    end if;
    insert into zmesh.secrets (project_id, function_id, name, sealed, created_at, updated_at)
    values (p_project_id, p_function_id, p_name, p_sealed, zmesh.now(), zmesh.now())
    on conflict (project_id, function_id, name) do update
        set sealed = excluded.sealed, updated_at = excluded.updated_at
    returning * into v_secret;
    if (select count(*) from zmesh.secrets
         where project_id = p_project_id and function_id is not distinct from p_function_id) > 100 then
        perform zmesh.fail('ZM422', 'there are already 100 secrets', 'Delete one, or combine several values in one.');
    end if;
    return v_secret;
end $$;
comment on function zmesh.set_secret(uuid, uuid, text, bytea) is
    'Sets a secret of a function, or with null of all functions of the project, to a value that is already sealed.';

create or replace function zmesh.delete_secret(p_project_id uuid, p_function_id uuid, p_name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from zmesh.secrets
     where project_id = p_project_id and function_id is not distinct from p_function_id and name = p_name;
    return found;
end $$;
comment on function zmesh.delete_secret(uuid, uuid, text) is 'Deletes a secret; returns whether there was one.';

create or replace function zmesh.secrets_of(p_project_ids uuid[], p_function_ids uuid[])
returns table (for_function uuid, project_id uuid, function_id uuid, name text, sealed bytea)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return query
        select w.function_id, s.project_id, s.function_id, s.name, s.sealed
          from unnest(p_project_ids, p_function_ids) w (project_id, function_id)
          join zmesh.secrets s
            on s.project_id = w.project_id and (s.function_id is null or s.function_id = w.function_id);
end $$;
comment on function zmesh.secrets_of(uuid[], uuid[]) is
    'The secrets for runs of these functions, still sealed; read at each claim, so a new value applies at once.';

create or replace function zmesh.reseal(p_place text, p_key uuid, p_old bytea, p_new bytea) returns boolean
language plpgsql as $$
begin
    case p_place
        when 'project_databases.sealed_password' then
            update zmesh.project_databases set sealed_password = p_new where project_id = p_key and sealed_password = p_old;
        when 'webhooks.sealed_secret' then
            update zmesh.webhooks set sealed_secret = p_new where id = p_key and sealed_secret = p_old;
        when 'webhooks.sealed_previous_secret' then
            update zmesh.webhooks set sealed_previous_secret = p_new where id = p_key and sealed_previous_secret = p_old;
        when 'signing_secrets.sealed_secret' then
            update zmesh.signing_secrets set sealed_secret = p_new where project_id = p_key and sealed_secret = p_old;
        when 'signing_secrets.sealed_previous_secret' then
            update zmesh.signing_secrets set sealed_previous_secret = p_new
             where project_id = p_key and sealed_previous_secret = p_old;
        when 'secrets.sealed' then
            update zmesh.secrets set sealed = p_new where id = p_key and sealed = p_old;
        when 'registries.sealed_token' then
            update zmesh.registries set sealed_token = p_new where id = p_key and sealed_token = p_old;
    end case;
    return found;
end $$;
comment on function zmesh.reseal(text, uuid, bytea, bytea) is
    'Replaces a sealed value with the same value sealed with another key; false if it has changed meanwhile. For '
    'administrators.';

grant execute on function zmesh.set_secret(uuid, uuid, text, bytea), zmesh.delete_secret(uuid, uuid, text) to zmesh_api;
grant execute on function zmesh.secrets_of(uuid[], uuid[]) to zmesh_listener;
