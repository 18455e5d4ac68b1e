-- Who may do what with limits and streams.

grant execute on function zmesh.load_of(uuid[]) to zmesh_api;
