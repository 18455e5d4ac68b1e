-- Login roles and schemas of projects. These two functions belong to zmesh_provisioner, the only role of ours that
-- may create roles, and which owns nothing else: so nothing that can be done to the platform's data creates roles.
set local role zmesh_provisioner;

create or replace function zmesh_roles.create_project_role(p_role name, p_schema name, p_verifier text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if p_role !~ '^zmesh_p_[a-z0-9_]+$' or p_schema !~ '^app_[a-z0-9_]+$' or p_verifier !~ '^SCRAM-SHA-256\$' then
        raise exception using errcode = 'ZM422', message = 'this is no role of a project';
    end if;
    execute format('create role %I login connection limit 100 password %L', p_role, p_verifier);
    execute format('grant zmesh_project to %I', p_role);
    execute format('grant connect, temporary on database %I to %I', current_database(), p_role);
    execute format('create schema %I', p_schema);
    execute format('grant usage, create on schema %I to %I', p_schema, p_role);
    execute format('alter role %I set search_path = %I', p_role, p_schema);
    execute format('alter role %I set idle_in_transaction_session_timeout = ''15min''', p_role);
    execute format('alter role %I set statement_timeout = ''15min''', p_role);
end $$;
comment on function zmesh_roles.create_project_role(name, name, text) is
    'Creates a project''s login role and schema; the password comes as a SCRAM verifier.';

create or replace function zmesh_roles.drop_project_role(p_role name, p_schema name) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if p_role !~ '^zmesh_p_[a-z0-9_]+$' or p_schema !~ '^app_[a-z0-9_]+$' then
        raise exception using errcode = 'ZM422', message = 'this is no role of a project';
    end if;
    execute format('grant %I to %I', p_role, current_user);
    execute format('alter role %I nologin', p_role);
    perform pg_terminate_backend(a.pid) from pg_stat_activity a where a.usename = p_role;
    execute format('drop schema if exists %I cascade', p_schema);
    execute format('drop owned by %I cascade', p_role);
    execute format('drop role %I', p_role);
end $$;
comment on function zmesh_roles.drop_project_role(name, name) is
    'Drops a project''s schema with everything in it, ends its connections, and drops its role.';

revoke all on all functions in schema zmesh_roles from public;
grant usage on schema zmesh_roles to zmesh_owner;
grant execute on all functions in schema zmesh_roles to zmesh_owner;
set local role zmesh_owner;
