-- Which invocations start next. A claim holds the row lock of zmesh.settings, so each sees all claims before it and
-- counts exactly. It looks at a bounded number of projects and lanes, from a random one on: its cost does not grow
-- with the backlog, with history or with the number of projects. Nor with the dead rows that pile up while another
-- session holds an old snapshot: claims pass by them, see zmesh.look_ahead().

create or replace function zmesh.ready_projects(p_waited boolean, p_limit integer, p_since timestamptz) returns uuid[]
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    return array(
        with recursive ring as (   -- one index probe for each project, however long its backlog
            select gen_random_uuid() as project_id, null::uuid as first, 0 as n
            union all
            select next.project_id, coalesce(r.first, next.project_id), r.n + 1
              from ring r
              cross join lateral (
                   (select q.project_id from zmesh.queue q
                     where q.status = 'queued' and q.due and q.waited = p_waited and q.project_id > r.project_id
                       and q.run_at >= p_since
                     order by q.project_id limit 1)
                   union all
                   (select q.project_id from zmesh.queue q
                     where q.status = 'queued' and q.due and q.waited = p_waited and q.run_at >= p_since
                     order by q.project_id limit 1)
                   limit 1) next
             where r.n < p_limit and next.project_id is distinct from r.first)
        select r.project_id from ring r where r.n > 0);
end $$;
comment on function zmesh.ready_projects(boolean, integer, timestamptz) is
    'Projects with invocations that are ready, starting at a random one and wrapping around, so that all are '
    'equally likely to come first.';

create or replace function zmesh.next_ready(p_horizon zmesh.horizon, p_waited boolean, p_wanted integer, p_now timestamptz)
returns uuid[]
language plpgsql as $$
declare
    v_running  integer;
    v_projects uuid[];
    v_each     integer;
begin
    -- Whatever is at a limit has something running, so beyond that many more there is enough to choose from.
    v_running := zmesh.count_running(p_horizon.running_since);
    v_projects := zmesh.ready_projects(p_waited, greatest(p_wanted, 64) + v_running, p_horizon.ready_since);
    v_each := case when cardinality(v_projects) <= 8 then p_wanted
                   else ceil(2.0 * p_wanted / cardinality(v_projects)) end;
    return array(
        with running as materialized (
            select q.project_id, q.function_id, q.lane, count(*)::integer as n
              from zmesh.queue q where q.status = 'running' and q.started_at >= p_horizon.running_since
             group by q.project_id, q.function_id, q.lane
        ), lenders as materialized (
            select l.project_id, l.n from zmesh.lenders(p_horizon.running_since) l
        ), projects as materialized (
            select p.id, r.n as running, p.max_running - r.n as free
              from unnest(v_projects) ready
              join zmesh.projects p on p.id = ready
              cross join lateral (select coalesce(sum(r.n), 0)::integer
                                         - coalesce((select l.n from lenders l where l.project_id = p.id), 0) as n
                                    from running r where r.project_id = p.id) r
             where p.max_running > r.n
        ), lanes as materialized (   -- null: no limit of its own
            select p.id as project_id, p.running, p.free, l.lane, l.function_id,
                   f.max_concurrency - (select coalesce(sum(r.n), 0) from running r
                                         where r.function_id = l.function_id) as function_free,
                   case when l.keyed then f.max_concurrency_per_key - (select coalesce(sum(r.n), 0) from running r
                                                                        where r.lane = l.lane) end as lane_free
              from projects p
              cross join lateral (   -- its lanes that have something to run, from a random one on and round
                  with recursive ring as (
                      select hashint8extended(0, (random() * 1e18)::bigint) as lane, null::uuid as function_id,
                             null::boolean as keyed, null::bigint as first, 0 as n
                      union all
                      select next.lane, next.function_id, next.keyed, coalesce(r.first, next.lane), r.n + 1
                        from ring r
                        cross join lateral (
                             (select q.lane, q.function_id, q.concurrency_key is not null as keyed from zmesh.queue q
                               where q.status = 'queued' and q.due and q.waited = p_waited and q.project_id = p.id
                                 and q.lane > r.lane and q.run_at >= p_horizon.ready_since
                               order by q.lane limit 1)
                             union all
                             (select q.lane, q.function_id, q.concurrency_key is not null from zmesh.queue q
                               where q.status = 'queued' and q.due and q.waited = p_waited and q.project_id = p.id
                                 and q.run_at >= p_horizon.ready_since
                               order by q.lane limit 1)
                             limit 1) next
                       where r.n < greatest(least(p.free, v_each), 16) + v_running
                         and next.lane is distinct from r.first)
                  select r.lane, r.function_id, r.keyed from ring r where r.n > 0) l
              left join zmesh.functions f on f.id = l.function_id
        ), candidates as (
            select j.id, l.project_id, l.running, l.free, l.function_free, j.priority, j.run_at, row_number()
                       over (partition by l.function_id order by j.priority desc, j.run_at) as turn_in_function
              from lanes l
              cross join lateral (
                   select q.id, q.priority, q.run_at, q.expires_at from zmesh.queue q
                    where q.status = 'queued' and q.due and q.waited = p_waited and q.project_id = l.project_id
                      and q.lane = l.lane and q.run_at >= p_horizon.ready_since
                    order by q.priority desc, q.run_at
                    limit greatest(least(v_each, l.free, l.function_free, l.lane_free), 0)) j
             -- Not looked past: what has expired holds up its own lane until it is ended, not everybody's claims.
             where j.expires_at is null or j.expires_at > p_now
        ), turns as (
            select c.id, c.free, c.running, row_number()
                       over (partition by c.project_id order by c.priority desc, c.run_at) as turn
              from candidates c
             where c.function_free is null or c.turn_in_function <= c.function_free
        )
        select t.id from turns t where t.turn <= t.free order by t.running + t.turn, random() limit p_wanted);
end $$;
comment on function zmesh.next_ready(zmesh.horizon, boolean, integer, timestamptz) is
    'Invocations that may start now within all limits, alternating between projects; those with the fewest running '
    'come first.';

create or replace function zmesh.start(p_listener uuid, p_ids uuid[], p_now timestamptz) returns uuid[]
language plpgsql as $$
declare
    v_started uuid[];
begin
    -- By their ids alone: with the status, an index over all that is queued may look as good.
    with free as materialized (   -- a cancellation may hold a row: it is left to it
        select q.id, q.status from zmesh.queue q where q.id = any (p_ids) for update skip locked
    ), started as (
        update zmesh.queue q
           set status = 'running', listener_id = p_listener, attempt = q.attempt + 1, started_at = p_now,
               version = case when q.pinned then q.version
                              else (select f.version from zmesh.functions f where f.id = q.function_id) end
          from free where q.id = free.id and free.status = 'queued'
        returning q.id
    )
    select coalesce(array_agg(s.id), '{}') into v_started from started s;
    return v_started;
end $$;
comment on function zmesh.start(uuid, uuid[], timestamptz) is
    'Assigns these invocations to a listener; returns those that it got.';

create or replace function zmesh.make_due(p_now timestamptz) returns void
language plpgsql as $$
begin
    update zmesh.queue q set due = true
      from (select d.id from zmesh.queue d where d.status = 'queued' and not d.due and d.run_at <= p_now
             order by d.run_at limit 1000 for update skip locked) come
     where q.id = come.id;
end $$;
comment on function zmesh.make_due(timestamptz) is 'Marks delayed invocations whose time has come as due.';

create or replace function zmesh.all_ready(p_horizon zmesh.horizon, p_wanted integer, p_now timestamptz)
returns uuid[]
language plpgsql as $$
begin
    return (
        with ready as materialized (
            select q.id, q.project_id, q.function_id, q.concurrency_key, q.expires_at from zmesh.queue q
             where q.status = 'queued' and q.due and q.run_at >= p_horizon.ready_since
             order by q.run_at limit p_wanted + 1
        )
        select case when count(*) <= p_wanted
                     and count(*) + zmesh.count_running(p_horizon.running_since) <= min(p.max_running)
                     and bool_and(r.expires_at is null or r.expires_at > p_now)
                     and bool_and(f.max_concurrency is null)
                     and bool_and(r.concurrency_key is null or f.max_concurrency_per_key is null)
                    then array_agg(r.id) end
          from ready r
          join zmesh.projects p on p.id = r.project_id
          left join zmesh.functions f on f.id = r.function_id);
end $$;
comment on function zmesh.all_ready(zmesh.horizon, integer, timestamptz) is
    'All ready invocations, if they are so few that no limit can apply and none has to be chosen; null if there are '
    'more, or none.';

create or replace function zmesh.start_next(p_listener uuid, p_horizon zmesh.horizon, p_wanted integer, p_now timestamptz)
returns uuid[]
language plpgsql as $$
declare
    v_started uuid[] := '{}';
    v_round   uuid[];
    v_waited  boolean;
    v_goal    integer;
    v_slots   integer := (select l.slots from zmesh.listeners l where l.id = p_listener);
    -- Any caller can claim to wait, without end: in a quarter of the slots, background work goes first.
    v_first   integer := v_slots - v_slots / 4 - (select count(*) from zmesh.queue q
                             where q.status = 'running' and q.listener_id = p_listener and q.waited);
begin
    v_round := zmesh.all_ready(p_horizon, greatest(p_wanted, 0), p_now);
    if v_round is not null then
        return zmesh.start(p_listener, v_round, p_now);
    end if;
    for v_waited, v_goal in values (true, least(v_first, p_wanted)),
                                   (false, least(greatest(v_first, 0) + v_slots / 4, p_wanted)),
                                   (true, p_wanted), (false, p_wanted) loop
        while cardinality(v_started) < v_goal
            and cardinality(zmesh.ready_projects(v_waited, 1, p_horizon.ready_since)) > 0 loop
            v_round := zmesh.next_ready(p_horizon, v_waited, v_goal - cardinality(v_started), p_now);
            v_round := zmesh.start(p_listener, v_round, p_now);
            exit when cardinality(v_round) = 0;
            v_started := v_started || v_round;
        end loop;
    end loop;
    return v_started;
end $$;
comment on function zmesh.start_next(uuid, zmesh.horizon, integer, timestamptz) is
    'Assigns up to this many invocations to a listener, mostly those with a waiting caller first.';

create or replace function zmesh.look_ahead(p_horizon zmesh.horizon, p_now timestamptz) returns zmesh.horizon
language plpgsql as $$
declare
    v_begun   timestamptz := clock_timestamp();
    v_all     boolean := p_horizon.ready_since = '-infinity' or zmesh.is_old(p_horizon, p_now);
    -- A second back, for what other transactions have inserted and will commit in a moment.
    v_horizon zmesh.horizon := row(true, p_now - interval '1 second', p_now, p_now);
begin
    if not v_all then
        v_horizon.looked_at := p_horizon.looked_at;
    end if;
    v_horizon.ready_since := least(
        v_horizon.ready_since,
        (select q.run_at from zmesh.queue q
          where q.status = 'queued' and q.due and q.run_at >= case when v_all then '-infinity' else p_horizon.ready_since end
          order by q.run_at limit 1),
        (select q.run_at from zmesh.queue q where q.status = 'queued' and not q.due order by q.run_at limit 1));
    v_horizon.running_since := least(
        p_now, (select min(q.started_at) from zmesh.queue q
                 where q.status = 'running' and q.started_at >= p_horizon.running_since));
    if v_all and not zmesh.is_slow(v_begun) then
        v_horizon.ready_since := '-infinity';
        v_horizon.running_since := '-infinity';
    end if;
    update zmesh.horizon h
       set ready_since = v_horizon.ready_since, running_since = v_horizon.running_since, looked_at = v_horizon.looked_at;
    return v_horizon;
end $$;
comment on function zmesh.look_ahead(zmesh.horizon, timestamptz) is
    'Lets claims start their scans at the first live rows. Older rows that a long transaction commits later are '
    'found within seconds, at the next full scan.';

create or replace function zmesh.is_slow(p_begun timestamptz) returns boolean
language sql volatile parallel safe
return clock_timestamp() - p_begun > interval '2 milliseconds';
comment on function zmesh.is_slow(timestamptz) is
    'Whether a query that found at most one row had to skip many dead ones.';

create or replace function zmesh.is_old(p_horizon zmesh.horizon, p_now timestamptz) returns boolean
language sql immutable parallel safe
return p_horizon.ready_since > '-infinity'
       and (p_horizon.looked_at < p_now - interval '4 seconds'
            or p_now < greatest(p_horizon.looked_at, p_horizon.ready_since, p_horizon.running_since));
comment on function zmesh.is_old(zmesh.horizon, timestamptz) is
    'Whether claims may miss rows: some time has passed since the last full scan, or the clock was set back.';

create or replace function zmesh.count_running(p_since timestamptz) returns integer
language plpgsql as $$
begin
    return (select count(*) from zmesh.queue q where q.status = 'running' and q.started_at >= p_since);
end $$;
comment on function zmesh.count_running(timestamptz) is
    'Number of running invocations; assumes that none of them started before p_since.';

create or replace function zmesh.nothing_to_claim(p_listener uuid, p_slots integer, p_horizon zmesh.horizon)
returns boolean
language plpgsql as $$
begin
    if p_slots = 0 then
        return zmesh.no_call_is_queued();
    end if;
    return not zmesh.is_old(p_horizon, zmesh.now())
       and not exists (select from zmesh.queue q
                        where q.status = 'queued' and q.due and q.run_at >= p_horizon.ready_since)
       and not exists (select from zmesh.queue q where q.status = 'queued' and not q.due and q.run_at <= zmesh.now())
       and exists (select from zmesh.listeners l
                    where l.id = p_listener and l.waiting and l.lease_expires_at > zmesh.now());
end $$;
comment on function zmesh.nothing_to_claim(uuid, integer, zmesh.horizon) is
    'Whether a claim by this listener would find and change nothing, so that an idle listener takes no locks and '
    'writes nothing.';

create or replace function zmesh.is_read_apart(p_payload jsonb, p_request json) returns boolean
language sql immutable parallel safe
-- Measured as stored, for which they need not be read; 4 KiB of them are at most some hundreds of KiB as text.
return pg_column_size(p_payload) + coalesce(pg_column_size(p_request), 0) > 4096;
comment on function zmesh.is_read_apart(jsonb, json) is
    'Whether claims leave a payload and its request to zmesh.payload_of(): as many large ones as a listener has slots '
    'would delay all other claims and keep the listener busy.';

create or replace function zmesh.payload_of(p_listener uuid, p_id uuid, p_attempt smallint,
                                            out payload text, out request text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    select q.payload::text, q.request::text into payload, request
      from zmesh.queue q
     where q.id = p_id and q.listener_id = p_listener and q.attempt = p_attempt and q.status = 'running';
end $$;
comment on function zmesh.payload_of(uuid, uuid, smallint) is
    'Payload and request of an attempt that this listener claimed; null if it no longer belongs to this listener.';

create or replace function zmesh.claim(p_listener uuid, p_slots integer)
returns table (id uuid, project_id uuid, function_id uuid, slug text, version integer, language text,
               entry_point text, code text, timeout_ms integer, memory_mb integer, env_vars jsonb, network text,
               payload text, request text, attempt smallint, max_attempts smallint, traceparent text, lent boolean,
               has_secrets boolean, build_id uuid, entry_file text, style text, init text, preload text[], source text, dry_run boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
-- The queue's size changes faster than its statistics: fix the plans that are right at any size. Before version 18
-- what is switched off counts as so dear that every claim would be compiled, which takes longer than the claim.
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_sort = off as $$
#variable_conflict use_column
declare
    v_horizon zmesh.horizon;
    v_begun   timestamptz := clock_timestamp();
    v_slow    boolean;
    v_now     timestamptz;
    v_wanted  integer;
    v_called  uuid[];
    v_started uuid[];
begin
    select h.* into v_horizon from zmesh.horizon h;
    if zmesh.nothing_to_claim(p_listener, p_slots, v_horizon) then
        return;
    end if;
    v_slow := zmesh.is_slow(v_begun);
    -- One claim at a time: whoever holds this row sees every claim before it, so the limits are exact.
    select s.max_running into v_wanted from zmesh.settings s for update;
    select h.* into v_horizon from zmesh.horizon h;
    v_now := zmesh.now();
    perform from zmesh.listeners l where l.id = p_listener and l.lease_expires_at > v_now;
    if not found then
        perform zmesh.fail('ZM410', 'the lease of this listener has run out', 'Stop its runs and register again.');
    end if;
    if v_slow or zmesh.is_old(v_horizon, v_now) then
        v_horizon := zmesh.look_ahead(v_horizon, v_now);
    end if;
    perform zmesh.make_due(v_now);
    v_called := zmesh.start_called(p_listener, v_now);
    v_wanted := least(p_slots, v_wanted - zmesh.count_running(v_horizon.running_since)
                                        + (select coalesce(sum(l.n), 0) from zmesh.lenders(v_horizon.running_since) l));
    v_started := zmesh.start_next(p_listener, v_horizon, v_wanted, v_now);
    update zmesh.listeners l set waiting = not l.waiting
     where l.id = p_listener and l.waiting <> (cardinality(v_started) < v_wanted);
    v_started := v_called || v_started;
    if exists (select from zmesh.queue q where q.id = any (v_started)
                and not exists (select from zmesh.functions f where f.id = q.function_id)) then
        perform zmesh.end_without_function(v_started);
    end if;
    -- A draft that is deleted from now on would be taken for the function's own code by the query below.
    perform from zmesh.queue q
       join zmesh.function_versions v on v.function_id = q.function_id and v.version = q.version
      where q.id = any (v_started) and q.version < 0
        for key share of v;
    if exists (select from zmesh.queue q where q.id = any (v_started) and q.pinned
                and zmesh.is_retired(q.function_id, q.version)) then
        perform zmesh.end_retired(v_started);
    end if;
    return query
        select q.id, q.project_id, q.function_id, f.slug, coalesce(v.version, f.version),
               coalesce(v.language, f.language), coalesce(v.entry_point, f.entry_point), coalesce(v.code, f.code),
               coalesce((v.settings ->> 'timeout_ms')::integer, f.timeout_ms),
               coalesce((v.settings ->> 'memory_mb')::integer, f.memory_mb), coalesce(v.settings -> 'env_vars', f.env_vars),
               case when 'none' in (p.network, coalesce(v.settings ->> 'network', f.network)) then 'none' else 'open' end,
               case when not zmesh.is_read_apart(q.payload, q.request) then q.payload::text end,
               case when not zmesh.is_read_apart(q.payload, q.request) then q.request::text end,
               q.attempt, q.max_attempts,
               zmesh.traceparent_of(q.id, q.traceparent), q.id = any (v_called),
               exists (select from zmesh.secrets s where s.project_id = q.project_id
                          and (s.function_id is null or s.function_id = q.function_id)),
               case when v.version is null then f.build_id else v.build_id end,
               case when v.version is null then f.entry_file else v.entry_file end,
               case when v.version is null then f.style else v.style end,
               case when v.version is null then f.init else v.init end, f.preload, q.source,
               coalesce((v.settings ->> 'dry_run')::boolean, false)
          from unnest(v_started) started
          join zmesh.queue q on q.id = started
          join zmesh.functions f on f.id = q.function_id
          join zmesh.projects p on p.id = q.project_id
          left join zmesh.function_versions v on v.function_id = q.function_id and v.version = q.version
         order by q.waited desc, q.priority desc, q.run_at;
end $$;
comment on function zmesh.claim(uuid, integer) is
    'Claims up to p_slots due invocations for a listener: waited-for ones first, then the projects in turn, within all '
    'limits. Besides, what its runs called and wait for: those are lent their places and take no slot. The payload is null '
    'if it has to be read with zmesh.payload_of().';

create or replace function zmesh.seconds_to_next() returns double precision
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
    return (select extract(epoch from q.run_at - zmesh.now()) from zmesh.queue q
             where q.status = 'queued' and not q.due order by q.run_at limit 1);
end $$;
comment on function zmesh.seconds_to_next() is
    'Seconds until the next delayed invocation or retry is due, negative if it is overdue; null if there is none.';

create or replace function zmesh.wait_in_queue(p_id uuid, out waited boolean, out queue_ms double precision)
language plpgsql as $$
begin
    select q.waited, zmesh.queue_ms(q.created_at, q.run_at, q.started_at) into strict waited, queue_ms
      from zmesh.queue q where q.id = p_id;
end $$;
comment on function zmesh.wait_in_queue(uuid) is
    'Whether somebody waits for a claimed invocation, and how long it was ready. A function, so that it sees rows that '
    'became visible only after the statement that claims began.';

create or replace function zmesh.fail_other_version() returns void
language plpgsql as $$
begin
    perform zmesh.fail('0A000', 'the listener and the database have different versions',
                       'Replace the listener with the version that migrated the database; until then it claims nothing.');
end $$;
comment on function zmesh.fail_other_version() is
    'Raises the error for a listener that would misread what it claims. Listeners log it and go on with their runs.';

create or replace function zmesh.claim_round(p_listener uuid, p_slots integer) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform zmesh.fail_other_version();
end $$;
comment on function zmesh.claim_round(uuid, integer) is 'As listeners of version 0.1.0 call it.';

create or replace function zmesh.claim_round(p_listener uuid, p_slots integer, p_columns integer)
returns table (id uuid, project_id uuid, function_id uuid, slug text, version integer, language text,
               entry_point text, code text, timeout_ms integer, memory_mb integer, env_vars jsonb, network text,
               payload text, request text, attempt smallint, max_attempts smallint, traceparent text, lent boolean,
               has_secrets boolean, build_id uuid, entry_file text, style text, init text, preload text[], source text, dry_run boolean, waited boolean,
               queue_ms double precision,
               waiting boolean, more boolean,
               seconds_to_next double precision)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
declare
    v_ready_since timestamptz;
begin
    if p_columns <> 31 then
        perform zmesh.fail_other_version();
    end if;
    return query
        select c.*, w.waited, w.queue_ms, null::boolean, null::boolean, null::double precision
          from zmesh.claim(p_listener, p_slots) c cross join lateral zmesh.wait_in_queue(c.id) w;
    -- Its own statements, so that they see what has been committed until now, this claim included.
    select l.waiting into waiting from zmesh.listeners l where l.id = p_listener;
    select h.ready_since into v_ready_since from zmesh.horizon h;
    more := waiting is not true or exists (
        select from zmesh.queue q where q.status = 'queued' and q.due and q.run_at >= v_ready_since);
    seconds_to_next := zmesh.seconds_to_next();
    return next;
end $$;
comment on function zmesh.claim_round(uuid, integer, integer) is
    'Claims as zmesh.claim() does, for a program that knows all columns of the answer, and says in a last row without an invocation when to claim again: waiting, when '
    'inserts notify this listener; more, when something was left that may start once a run ends; seconds_to_next, when '
    'something delayed comes due. A listener that waits and left nothing need not claim when its runs end.';

grant execute on function zmesh.claim(uuid, integer), zmesh.claim_round(uuid, integer),
                          zmesh.claim_round(uuid, integer, integer), zmesh.seconds_to_next(),
                          zmesh.payload_of(uuid, uuid, smallint) to zmesh_listener;
