-- What people watch: the queue by function, runs, listeners, and what changed within the last moments. Each reads by an
-- index and a bounded number of rows, whatever the length of the queue and of history.

create or replace function zmesh.queue_by_function(p_project_id uuid)
returns table (function_id uuid, function text, max_concurrency integer, queued integer, delayed integer, running integer,
               more boolean, oldest_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set jit = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    c_all   constant integer := 100000;   -- rows to count in all
    v_now   timestamptz := zmesh.now();
    v_found uuid[] := array(select f.id from zmesh.functions f
                             where f.project_id = p_project_id
                               and exists (select from zmesh.queue q where q.function_id = f.id));
    v_each  integer := least(10000, greatest(100, c_all / greatest(cardinality(v_found), 1)));
begin
    return query
        select f.id, f.slug, f.max_concurrency, c.queued, c.delayed, c.running, c.n = v_each, c.oldest_at
          from unnest(v_found) present
          join zmesh.functions f on f.id = present
          cross join lateral (
              select count(*) filter (where q.status = 'queued' and q.run_at <= v_now)::integer as queued,
                     count(*) filter (where q.status = 'queued' and q.run_at > v_now)::integer as delayed,
                     count(*) filter (where q.status = 'running')::integer as running, count(*)::integer as n,
                     min(q.run_at) filter (where q.status = 'queued' and q.run_at <= v_now) as oldest_at
                from (select i.status, i.run_at from zmesh.queue i where i.function_id = f.id order by i.id
                       limit v_each) q) c;
end $$;
comment on function zmesh.queue_by_function(uuid) is
    'What each function of a project has in the queue, the oldest counted first, up to 10,000 each and about 100,000 in all.';

create or replace function zmesh.running_invocations(p_project_id uuid)
returns table (id uuid, function_id uuid, function text, version integer, attempt smallint, source text,
               started_at timestamptz, timeout_ms integer, listener text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set jit = off set enable_bitmapscan = off as $$
begin
    return query
        select q.id, q.function_id, q.function, q.version, q.attempt, q.source, q.started_at, f.timeout_ms, l.name
          from zmesh.queue q
          left join zmesh.functions f on f.id = q.function_id
          left join zmesh.listeners l on l.id = q.listener_id
         where q.status = 'running' and q.project_id = p_project_id;
end $$;
comment on function zmesh.running_invocations(uuid) is 'The running invocations of a project.';

create or replace function zmesh.live_listeners()
returns table (id uuid, name text, started_at timestamptz, slots integer, running integer, isolation text, gaps text[])
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set jit = off set enable_bitmapscan = off as $$
begin
    return query
        select l.id, l.name, l.started_at, l.slots,
               (select count(*)::integer from zmesh.queue q where q.status = 'running' and q.listener_id = l.id),
               l.isolation, l.gaps
          from zmesh.listeners l where l.lease_expires_at > zmesh.now();
end $$;
comment on function zmesh.live_listeners() is 'The live listeners, with the number of their runs, of whatever project.';

create or replace function zmesh.recent_endings(p_projects uuid[], p_since timestamptz, p_looks integer, p_limit integer)
returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set jit = off set enable_bitmapscan = off
begin atomic
    select i.invocation_id
      from (select e.invocation_id, row_number() over (partition by e.project_id order by e.ended_at desc) as turn
              from (select e.invocation_id, e.project_id, e.ended_at from zmesh.endings e
                     where e.ended_at >= p_since and e.project_id = any (p_projects)
                     order by e.ended_at desc limit p_looks) e) i
     order by i.turn limit p_limit;
end;
comment on function zmesh.recent_endings(uuid[], timestamptz, integer, integer) is
    'Invocations of these projects that ended since p_since, at most p_limit: of the last p_looks, an equal share for each project.';

create or replace function zmesh.recent_changes(p_projects uuid[], p_within interval, p_limit integer)
returns table (project_id uuid, id uuid, function_id uuid, function text, status text, source text, version integer,
               attempt smallint, max_attempts smallint, created_at timestamptz, started_at timestamptz,
               finished_at timestamptz, duration_ms integer, queue_ms float8, start_ms float8, peak_memory_mb integer,
               error text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set jit = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    c_looks constant integer := 10 * p_limit;   -- so that one project's do not displace those of others
    v_since timestamptz := zmesh.now() - p_within;
    v_ids   uuid[];
begin
    v_ids := array(
        (select i.id from (select q.id, row_number() over (partition by q.project_id order by q.id desc) as turn
                             from (select q.id, q.project_id from zmesh.queue q
                                    where q.id >= zmesh.id_at(v_since) and q.project_id = any (p_projects)
                                    order by q.id desc limit c_looks) q) i
          order by i.turn limit p_limit)
        union
        (select q.id from zmesh.queue q
          where q.status = 'running' and q.started_at >= v_since and q.project_id = any (p_projects) limit p_limit)
        union
        (select zmesh.recent_endings(p_projects, v_since, c_looks, p_limit)));
    return query
        select i.project_id, i.id, i.function_id, i.function, i.status, i.source, i.version, i.attempt, i.max_attempts,
               i.created_at, i.started_at, i.finished_at, i.duration_ms,
               zmesh.queue_ms(i.created_at, i.run_at, i.started_at)::float8,
               zmesh.start_ms(i.started_at, i.finished_at, i.duration_ms)::float8, i.peak_memory_mb,
               case when i.error is not null
                    then json_build_object('type', left(i.error ->> 'type', 100),
                                           'message', left(i.error ->> 'message', 1000))::text end
          from unnest(v_ids) changed
          join zmesh.invocations i on i.id = changed;
end $$;
comment on function zmesh.recent_changes(uuid[], interval, integer) is
    'Invocations of these projects that were inserted, were started or ended within this time, at most p_limit of each kind. Of the last '
    '10 * p_limit that were inserted, and that ended, each project gets an equal share.';

create or replace function zmesh.fresh_lines(p_projects uuid[], p_within interval, p_limit integer)
returns table (project_id uuid, function_id uuid, function text, invocation_id uuid, attempt smallint, line integer,
               at timestamptz, level text, message text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set jit = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    v_since timestamptz := zmesh.now() - p_within;
    v_ids   uuid[];
begin
    v_ids := array(
        (select q.id from zmesh.queue q where q.status = 'running' and q.project_id = any (p_projects) limit 500)
        union
        (select zmesh.recent_endings(p_projects, v_since, 5000, 500)));
    return query
        select f.project_id, f.function_id, f.function, f.invocation_id, f.attempt, f.line, f.at, f.level, left(f.message, 4000)
          from (select i.project_id, i.function_id, i.function, l.invocation_id, l.attempt, l.line, l.at, l.level, l.message
                  from unnest(v_ids) printing
                  join zmesh.invocations i on i.id = printing
                  cross join lateral (select * from zmesh.logs g where g.invocation_id = i.id
                                       order by g.attempt desc, g.line desc limit 100) l
                 where l.at >= v_since
                 order by row_number() over (partition by i.project_id order by l.at desc, l.line desc)
                 limit p_limit) f
         order by f.at, f.invocation_id, f.attempt, f.line;
end $$;
comment on function zmesh.fresh_lines(uuid[], interval, integer) is
    'What running invocations of these projects, and those that have just ended, printed within this time: at most the last 100 lines of each, in equal shares for the projects.';

grant execute on function zmesh.queue_by_function(uuid), zmesh.running_invocations(uuid), zmesh.live_listeners(),
      zmesh.recent_changes(uuid[], interval, integer), zmesh.fresh_lines(uuid[], interval, integer) to zmesh_api;
