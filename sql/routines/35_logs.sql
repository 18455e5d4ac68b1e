-- Log lines are written while a run prints them. The rest is written when the attempt ends: see 32_ends.sql.

create or replace function zmesh.append_logs(
    p_listener uuid, p_ids uuid[], p_attempts smallint[], p_lines integer[], p_at timestamptz[], p_levels text[],
    p_messages text[])
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
    insert into zmesh.logs (invocation_id, attempt, line, project_id, at, level, message)
    select q.id, q.attempt, l.line, q.project_id, l.at, l.level, l.message
      from unnest(p_ids, p_attempts, p_lines, p_at, p_levels, p_messages) l (id, attempt, line, at, level, message)
      join zmesh.queue q on q.id = l.id and q.attempt = l.attempt and q.status = 'running' and q.listener_id = p_listener
        on conflict do nothing;   -- the answer to an earlier call was lost
end $$;
comment on function zmesh.append_logs(uuid, uuid[], smallint[], integer[], timestamptz[], text[], text[]) is
    'Writes log lines of attempts that this listener still runs.';

grant execute on function zmesh.append_logs(uuid, uuid[], smallint[], integer[], timestamptz[], text[], text[])
   to zmesh_listener;
