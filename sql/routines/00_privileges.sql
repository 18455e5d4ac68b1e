-- Only roles that a file here names, at its end, may execute a function of this schema. Applying the files starts from
-- no privileges, so one that is no longer granted is gone.

alter default privileges revoke execute on functions from public;
revoke all on all functions in schema zmesh from public, zmesh_api, zmesh_listener, zmesh_project;

grant execute on function zmesh.now(), zmesh.new_id(), zmesh.project_of(name) to zmesh_api, zmesh_listener, zmesh_project;
