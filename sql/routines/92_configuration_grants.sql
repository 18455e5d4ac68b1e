-- Who may do what with the configuration of functions.

grant insert (description, tags, auth, methods, cors_origins, anonymous_options, key_options, public_errors),
      update (description, tags, auth, methods, cors_origins, anonymous_options, key_options, public_errors)
      on zmesh.functions to zmesh_api;

grant select, delete on zmesh.function_aliases to zmesh_api;
grant execute on function zmesh.set_alias(uuid, text, integer[], integer[]), zmesh.retire_version(uuid, integer),
      zmesh.unretire_version(uuid, integer), zmesh.is_retired(uuid, integer), zmesh.fail_retired(text, integer) to zmesh_api;
grant execute on function zmesh.may_run_again(uuid, text, smallint, boolean, integer) to zmesh_api, zmesh_project;
grant insert (version, alias) on zmesh.invocations to zmesh_project, zmesh_api;
grant execute on function zmesh.id_at(timestamptz) to zmesh_api;
grant select on zmesh.history to zmesh_api;
grant execute on function zmesh.append_logs(uuid, uuid[], smallint[], integer[], timestamptz[], text[], text[])
      to zmesh_listener;
