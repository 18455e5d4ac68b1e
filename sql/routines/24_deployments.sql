-- Deployments of project folders. What they deploy is written by the routines of each kind, in the same transaction.

create or replace function zmesh.begin_deployment(p_project_id uuid) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_state jsonb;
begin
    insert into zmesh.deployed_projects (project_id, deployed_at) values (p_project_id, zmesh.now()) on conflict do nothing;
    select d.state into v_state from zmesh.deployed_projects d where d.project_id = p_project_id for update;
    return v_state;
end $$;
comment on function zmesh.begin_deployment(uuid) is
    'Waits until no other deployment of the project runs, and returns the hashes of what the latest one left.';

create or replace function zmesh.record_deployment(p_project_id uuid, p_state jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.deployed_projects set state = p_state, deployed_at = zmesh.now() where project_id = p_project_id;
end $$;
comment on function zmesh.record_deployment(uuid, jsonb) is 'Stores the hashes of what a deployment leaves.';

create or replace function zmesh.set_version_message(p_function_id uuid, p_version integer, p_message text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into zmesh.version_messages (function_id, version, message) values (p_function_id, p_version, p_message)
        on conflict (function_id, version) do update set message = excluded.message;
end $$;
comment on function zmesh.set_version_message(uuid, integer, text) is 'Keeps what somebody says about a version.';

grant execute on function zmesh.begin_deployment(uuid), zmesh.record_deployment(uuid, jsonb),
      zmesh.set_version_message(uuid, integer, text) to zmesh_api;
