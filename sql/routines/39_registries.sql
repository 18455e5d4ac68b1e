-- Registries of projects: set by owners, read by the listener that runs a build.

create or replace function zmesh.set_registry(
    p_project_id uuid, p_runtime text, p_packages text, p_url text, p_sealed_token bytea)
returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_most_registries constant integer := 50;
    v_id uuid;
begin
    perform from zmesh.projects where id = p_project_id for no key update;   -- one change of a project at a time
    insert into zmesh.registries (project_id, runtime, packages, url, sealed_token, created_at, updated_at)
    values (p_project_id, p_runtime, p_packages, p_url, p_sealed_token, zmesh.now(), zmesh.now())
    on conflict (project_id, runtime, packages) do update
        set url = excluded.url, sealed_token = excluded.sealed_token, updated_at = excluded.updated_at
    returning id into v_id;
    if (select count(*) from zmesh.registries where project_id = p_project_id) > c_most_registries then
        perform zmesh.fail('ZM422', format('the project has %s registries already', c_most_registries),
                           'Delete one that is not needed: zmesh registries delete ID');
    end if;
    return v_id;
end $$;
comment on function zmesh.set_registry(uuid, text, text, text, bytea) is
    'Sets the registry of some packages of a project, with its token already sealed; null: it needs none.';

create or replace function zmesh.delete_registry(p_project_id uuid, p_id uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from zmesh.registries where project_id = p_project_id and id = p_id;
    return found;
end $$;
comment on function zmesh.delete_registry(uuid, uuid) is 'Deletes a registry of a project; returns whether there was one.';

create or replace function zmesh.allow_scripts(p_project_id uuid, p_packages text[]) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.projects set allow_scripts = p_packages where id = p_project_id;
    return found;
end $$;
comment on function zmesh.allow_scripts(uuid, text[]) is
    'Sets which npm packages of a project run their install scripts when they are built.';

create or replace function zmesh.registries_of_build(p_listener uuid, p_build uuid)
returns table (project_id uuid, runtime text, packages text, url text, sealed_token bytea)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select r.project_id, r.runtime, r.packages, r.url, r.sealed_token
      from zmesh.builds b
      join zmesh.registries r on r.project_id = b.project_id and r.runtime = b.runtime
     where b.id = p_build and b.status = 'running' and b.listener_id = p_listener;
end;
comment on function zmesh.registries_of_build(uuid, uuid) is
    'The registries of the project of a build that this listener runs, with sealed tokens.';

create or replace function zmesh.build_rules(p_project_id uuid, p_runtime text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(string_agg(rule, E'\n' order by rule collate "C"), '')
      from (select format('%s %s', r.packages, r.url) as rule
              from zmesh.registries r where r.project_id = p_project_id and r.runtime = p_runtime
            union all
            select format('scripts %s', s) from zmesh.projects p cross join unnest(p.allow_scripts) s
             where p.id = p_project_id and p_runtime = 'node') rules;
end;
comment on function zmesh.build_rules(uuid, text) is
    'What else than the manifest decides what a build installs: where packages come from and which may run scripts.';

grant execute on function zmesh.set_registry(uuid, text, text, text, bytea), zmesh.delete_registry(uuid, uuid),
      zmesh.allow_scripts(uuid, text[]), zmesh.build_rules(uuid, text) to zmesh_api;
grant execute on function zmesh.registries_of_build(uuid, uuid) to zmesh_listener;
