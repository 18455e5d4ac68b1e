drop function if exists zmesh.create_project(text, text, text, bytea);
create or replace function zmesh.create_project(p_name text, p_role name, p_schema name, p_verifier text, p_sealed_password bytea,
                                                p_owner uuid default null)
returns zmesh.projects
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_project zmesh.projects;
    v_slug    text := trim(both '-' from left(zmesh.slug_of(p_name), 63));
begin
    if v_slug = '' then
        perform zmesh.fail('ZM422', format('name %L gives no slug', p_name),
                           'Use at least one of the letters a to z or a digit in the name.');
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
    'Creates a project with its owner, login role and schema. The password comes sealed and as a SCRAM verifier.';

create or replace function zmesh.rename_project(p_project_id uuid, p_name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.projects set name = p_name where id = p_project_id;
    return found;
end $$;
comment on function zmesh.rename_project(uuid, text) is 'Gives a project another name; slug, role and schema stay.';

create or replace function zmesh.delete_project(p_project_id uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_project zmesh.projects;
begin
    select * into v_project from zmesh.projects where id = p_project_id for update;
    if not found then
        return false;
    end if;
    delete from zmesh.functions where project_id = p_project_id;   -- cancels what is queued or runs
    perform zmesh_roles.drop_project_role(v_project.role_name, v_project.schema_name);
    delete from zmesh.projects where id = p_project_id;
    return true;
end $$;
comment on function zmesh.delete_project(uuid) is
    'Deletes a project with its functions, keys, secrets, members, schema and role; ended invocations go with their time.';
