-- Who may do what with people, keys and projects. The API changes them through functions only.

grant execute on function
      zmesh.create_project(text, name, name, text, bytea, uuid), zmesh.rename_project(uuid, text), zmesh.close_project(uuid),
      zmesh.drop_objects(uuid, integer), zmesh.delete_project(uuid),
      zmesh.change_member(uuid, uuid, text), zmesh.remove_member(uuid, uuid),
      zmesh.invite(uuid, text, text, bytea, uuid), zmesh.accept_invitation(bytea, uuid, text), zmesh.withdraw_invitation(uuid, uuid),
      zmesh.start_session(uuid, text, bytea), zmesh.refresh_session(bytea, bytea), zmesh.end_session(bytea),
      zmesh.set_password(uuid, text),
      zmesh.create_key(uuid, text, text, bytea, timestamptz, text[], uuid), zmesh.revoke_key(uuid, uuid)
   to zmesh_api;
grant select on zmesh.sessions, zmesh.refresh_tokens, zmesh.invitations, zmesh.api_key_functions to zmesh_api;

grant select (id, project_id, function_id, name, created_at, updated_at) on zmesh.secrets to zmesh_api;
grant execute on function zmesh.set_secret(uuid, uuid, text, bytea), zmesh.delete_secret(uuid, uuid, text) to zmesh_api;
grant execute on function zmesh.secrets_of(uuid[], uuid[]) to zmesh_listener;
