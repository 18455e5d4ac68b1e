create or replace function zmesh.create_project(p_name text, p_role name, p_schema name, p_verifier text, p_sealed_password bytea,
                                                p_owner uuid default null)
returns zmesh.projects
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_project zmesh.projects;
    v_slug    text := trim(both '-' from left(zmesh.slug_of(p_name), 63));
begin
    if v_slug = '' then
        perform zmesh.fail('ZM422', format('cannot derive a slug from the name "%s"', p_name),
                           'Use at least one of the letters a to z or a digit in the name.', p_column => 'name');
    end if;
    insert into zmesh.projects (name, slug, role_name, schema_name, created_at)
    values (p_name, v_slug, p_role, p_schema, zmesh.now())
    returning * into v_project;
    insert into zmesh.project_databases (project_id, sealed_password) values (v_project.id, p_sealed_password);
    if p_owner is not null then
        insert into zmesh.memberships (user_id, project_id, role) values (p_owner, v_project.id, 'owner');
    end if;
    perform zmesh_roles.create_project_role(p_role, p_schema, p_verifier);
    return v_project;
end $$;
comment on function zmesh.create_project(text, name, name, text, bytea, uuid) is
    'Creates a project with its owner, login role and schema. The password is given sealed and as a SCRAM verifier.';

create or replace function zmesh.rename_project(p_project_id uuid, p_name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.projects set name = p_name where id = p_project_id;
    return found;
end $$;
comment on function zmesh.rename_project(uuid, text) is 'Renames a project; slug, role and schema stay the same.';

create or replace function zmesh.set_project_network(p_project_id uuid, p_network text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.projects set network = p_network where id = p_project_id;
    return found;
end $$;
comment on function zmesh.set_project_network(uuid, text) is
    'Sets whether runs of a project may use the network: open, as their function says; none, never.';

create or replace function zmesh.limit_project(
    p_slug text, p_requests_per_second integer, p_max_queued integer, p_max_running integer)
returns table (requests_per_second integer, max_queued integer, max_running integer)
language plpgsql as $$
#variable_conflict use_column
begin
    return query
        update zmesh.projects p
           set requests_per_second = nullif(coalesce(p_requests_per_second, p.requests_per_second), 0),
               max_queued = coalesce(p_max_queued, p.max_queued), max_running = coalesce(p_max_running, p.max_running)
         where p.slug = p_slug
        returning p.requests_per_second, p.max_queued, p.max_running;
end $$;
comment on function zmesh.limit_project(text, integer, integer, integer) is
    'Changes limits of a project and returns all of them; null leaves one unchanged, 0 means any number of requests.';

create or replace function zmesh.set_max_projects_per_owner(p_count integer) returns void
language plpgsql as $$
begin
    update zmesh.settings set max_projects_per_owner = p_count;
end $$;
comment on function zmesh.set_max_projects_per_owner(integer) is 'Changes how many projects one user may own.';

create or replace function zmesh.limit_owned_projects() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_limit integer := (select max_projects_per_owner from zmesh.settings);
begin
    perform from zmesh.users where id = new.user_id for no key update;   -- one new project at a time
    if (select count(*) from zmesh.memberships where user_id = new.user_id and role = 'owner') > v_limit then
        perform zmesh.fail('ZM409', format('a user may own at most %s projects', v_limit),
                           'Delete one, or ask the operator to raise the limit: zmesh admin limit-owners',
                           'memberships_owned_projects_are_limited');
    end if;
    return null;
end $$;
comment on function zmesh.limit_owned_projects() is
    'Rejects another owned project for a user who already owns as many as the settings allow.';

create or replace trigger memberships_limit_owned_projects after insert or update of role on zmesh.memberships
    for each row when (new.role = 'owner') execute function zmesh.limit_owned_projects();

create or replace function zmesh.limit_connections(p_project_id uuid, p_limit integer) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_role name;
begin
    update zmesh.projects set max_connections = p_limit where id = p_project_id returning role_name into v_role;
    perform zmesh_roles.limit_connections(v_role, p_limit);
end $$;
comment on function zmesh.limit_connections(uuid, integer) is
    'Sets how many database sessions a project may have; null means the default, which follows the server''s '
    'max_connections.';

create or replace function zmesh.renew_connection_limits() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_default integer := zmesh_roles.default_connection_limit();
    v_project record;
    v_count   integer := 0;
begin
    for v_project in
        select p.role_name, p.max_connections from zmesh.projects p
          join pg_roles r on r.rolname = p.role_name
         where r.rolcanlogin and r.rolconnlimit <> coalesce(p.max_connections, v_default)
           and not zmesh.is_closed(p.role_name) limit 100
    loop
        begin
            perform zmesh_roles.limit_connections(v_project.role_name, v_project.max_connections);
            v_count := v_count + 1;
        exception when lock_not_available or deadlock_detected or internal_error then null;   -- the role is being altered
        end;
    end loop;
    return v_count;
end $$;
comment on function zmesh.renew_connection_limits() is
    'Adjusts the connection limits of projects'' roles to max_connections, some at a time; returns how many it changed.';

create or replace function zmesh.close_project(p_project_id uuid) returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    select zmesh_roles.close_project_role(role_name) from zmesh.projects where id = p_project_id;
end;
comment on function zmesh.close_project(uuid) is
    'First step of a deletion: disables the login of the project''s role and ends its sessions.';

create or replace function zmesh.drop_objects(p_project_id uuid, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_functions integer;
begin
    -- Fewer of these: each deletion cancels its queued invocations.
    delete from zmesh.functions where id = any (array(
        select id from zmesh.functions where project_id = p_project_id limit greatest(1, p_limit / 20)));
    get diagnostics v_functions = row_count;
    return v_functions + coalesce(
        (select zmesh_roles.drop_objects(role_name, p_limit) from zmesh.projects where id = p_project_id), 0);
end $$;
comment on function zmesh.drop_objects(uuid, integer) is
    'Step of a deletion: deletes some of the project''s functions and drops some of its role''s objects; returns '
    'how many.';

create or replace function zmesh.delete_project(p_project_id uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_project zmesh.projects;
    v_reason  text;
begin
    select * into v_project from zmesh.projects where id = p_project_id for update;
    if not found then
        return false;
    end if;
    delete from zmesh.functions where project_id = p_project_id;   -- cancels queued and running invocations
    v_reason := zmesh_roles.drop_project_role(v_project.role_name, v_project.schema_name);
    if v_reason is not null then
        insert into zmesh.leftover_roles (role_name, reason, created_at) values (v_project.role_name, v_reason, zmesh.now());
        raise warning 'the role % of the deleted project % remains, without any privileges: %',
                      v_project.role_name, v_project.slug, v_reason
              using hint = 'zmesh doctor says how to drop it.';
    end if;
    delete from zmesh.projects where id = p_project_id;
    return true;
end $$;
comment on function zmesh.delete_project(uuid) is
    'Deletes a project with its functions, keys, secrets, members, schema and role; history remains until its '
    'retention ends.';

grant execute on function zmesh.create_project(text, name, name, text, bytea, uuid), zmesh.rename_project(uuid, text),
      zmesh.set_project_network(uuid, text),
      zmesh.close_project(uuid), zmesh.drop_objects(uuid, integer), zmesh.delete_project(uuid) to zmesh_api;
