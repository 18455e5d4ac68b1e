-- Who may do what with the configuration of functions.

grant insert (description, tags, auth, methods, cors_origins),
      update (description, tags, auth, methods, cors_origins)
      on zmesh.functions to zmesh_api;
