-- Nobody may execute a function of this schema but whom a file here says, at its foot. Each time they are applied they
-- begin anew, so that a right which is no longer given is gone.

alter default privileges revoke execute on functions from public;
revoke all on all functions in schema zmesh from public, zmesh_api, zmesh_listener, zmesh_project;

grant execute on function zmesh.now(), zmesh.new_id(), zmesh.project_of(name) to zmesh_api, zmesh_listener, zmesh_project;
