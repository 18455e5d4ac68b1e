-- Who may do what with limits and streams.

grant execute on function zmesh.load_of(uuid[]), zmesh.take_chunks(uuid[]), zmesh.close_streams(uuid[]) to zmesh_api;
grant select (invocation_id) on zmesh.streams to zmesh_api;
grant execute on function zmesh.write_streams(uuid, uuid[], text[], integer[], bytea[], integer), zmesh.untaken_of(uuid[]),
      zmesh.close_streams(uuid[]) to zmesh_listener;
