-- What the API needs to know to refuse a request early.

create or replace function zmesh.load_of(p_projects uuid[])
returns table (project_id uuid, requests_per_second integer, max_queued integer, queued integer)
language plpgsql stable
set enable_seqscan = off set jit = off set enable_bitmapscan = off as $$
begin
    return query
        select p.id, p.requests_per_second, p.max_queued, waiting.n + background.n
          from zmesh.projects p
          cross join lateral (   -- counts no further than the limit
              select count(*)::integer as n
                from (select from zmesh.queue q
                       where q.status = 'queued' and q.due and q.waited and q.project_id = p.id
                       limit p.max_queued) q) waiting
          cross join lateral (
              select count(*)::integer as n
                from (select from zmesh.queue q
                       where q.status = 'queued' and q.due and not q.waited and q.project_id = p.id
                       limit p.max_queued) q) background
         where p.id = any (p_projects);
end $$;
comment on function zmesh.load_of(uuid[]) is
    'The limits of these projects, and how many invocations of each are ready but not started.';

grant execute on function zmesh.load_of(uuid[]) to zmesh_api;
