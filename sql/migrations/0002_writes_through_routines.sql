-- The API creates, changes and deletes through routines only.
revoke insert, update, delete on zmesh.users, zmesh.functions, zmesh.function_aliases, zmesh.api_keys, zmesh.schedules,
       zmesh.webhooks from zmesh_api;
