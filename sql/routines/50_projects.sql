create or replace function zmesh.create_project(p_name text, p_slug text, p_verifier text, p_sealed_password bytea)
returns zmesh.projects
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_project zmesh.projects;
    v_name    text := left(replace(p_slug, '-', '_'), 40) || '_' || left(md5(gen_random_uuid()::text), 6);
begin
    insert into zmesh.projects (name, slug, role_name, schema_name, created_at)
    values (p_name, p_slug, 'zmesh_p_' || v_name, 'app_' || v_name, zmesh.now())
    returning * into v_project;
    insert into zmesh.project_databases (project_id, sealed_password) values (v_project.id, p_sealed_password);
    execute format('create role %I login connection limit 100 password %L', v_project.role_name, p_verifier);
    execute format('grant zmesh_project to %I', v_project.role_name);
    execute format('grant connect, temporary on database %I to %I', current_database(), v_project.role_name);
    execute format('create schema %I', v_project.schema_name);
    execute format('grant usage, create on schema %I to %I', v_project.schema_name, v_project.role_name);
    execute format('alter role %I set search_path = %I', v_project.role_name, v_project.schema_name);
    execute format('alter role %I set idle_in_transaction_session_timeout = ''15min''', v_project.role_name);
    execute format('alter role %I set statement_timeout = ''15min''', v_project.role_name);
    return v_project;
end $$;
comment on function zmesh.create_project(text, text, text, bytea) is
    'Creates a project with its login role and schema. Needs a caller that may create roles; the password comes as a SCRAM verifier.';
