-- Functions that call functions. Whoever waits for a function it called lends its place to it: then the one that
-- waits counts no more within the limits of project and platform, and its listener runs the called one beside its
-- slots. So whatever is taken by those that wait, what they wait for can start.

create or replace function zmesh.traceparent_of(p_id uuid, p_given text) returns text
language sql immutable parallel safe
return '00-' || coalesce(substr(p_given, 4, 32), replace(p_id::text, '-', ''))
       || '-' || right(replace(p_id::text, '-', ''), 16) || '-' || coalesce(right(p_given, 2), '01');
comment on function zmesh.traceparent_of(uuid, text) is
    'Trace context that an invocation passes on: the caller''s trace, or a new one, with the invocation as the span.';

create or replace function zmesh.callers_of(p_id uuid) returns setof zmesh.queue
language sql stable set enable_seqscan = off set jit = off
begin atomic
    with recursive callers as (
        select p.* from zmesh.queue c join zmesh.queue p on p.id = c.parent_id where c.id = p_id and c.waited
        union all
        select p.* from callers c join zmesh.queue p on p.id = c.parent_id where c.waited
    )
    select * from callers;
end;
comment on function zmesh.callers_of(uuid) is 'The invocations that wait for this one, the nearest first.';

create or replace function zmesh.fail_too_deep(p_new zmesh.invocations, p_limit integer) returns void
language plpgsql as $$
declare
    v_path text := (select string_agg(c.function, ' → ' order by c.depth)
                      from (select p.function, p.depth from zmesh.queue p where p.id = p_new.parent_id
                            union all
                            select p.function, p.depth from zmesh.callers_of(p_new.parent_id) p) c);
begin
    perform zmesh.fail('ZM508', format('the call of "%s" is %s levels deep, and %s are allowed: %s → %1$s',
                                       p_new.function, p_new.depth, p_limit, v_path));
end $$;
comment on function zmesh.fail_too_deep(zmesh.invocations, integer) is
    'Rejects a call that is nested too deeply, and reports the chain of calls.';

create or replace function zmesh.below_parent(p_new zmesh.invocations) returns zmesh.invocations
language plpgsql as $$
declare
    v_parent record;
    v_limits record;
begin
    -- What counts is the row of the run that inserts, not what that run says of itself.
    select p.id, p.depth, p.generation, zmesh.traceparent_of(p.id, p.traceparent) as traceparent,
           p.started_at + f.timeout_ms * interval '1 millisecond' as ends_at
      into v_parent
      from zmesh.queue p join zmesh.functions f on f.id = p.function_id
     where p.id = p_new.parent_id and p.project_id = p_new.project_id and p.status = 'running';
    if not found then
        if p_new.waited then
            perform zmesh.fail('ZM409', format('the invocation that calls "%s" does not run any more', p_new.function));
        end if;
        p_new.parent_id := null;
        return p_new;
    end if;
    select s.max_depth, s.max_generations into v_limits from zmesh.settings s;
    if p_new.source = 'sql' then
        p_new.source := 'function';
    end if;
    p_new.traceparent := coalesce(p_new.traceparent, v_parent.traceparent);
    if p_new.waited then
        p_new.depth := v_parent.depth + 1;
        p_new.generation := v_parent.generation;
        p_new.expires_at := least(p_new.expires_at, v_parent.ends_at);   -- then nobody waits any more
        if p_new.depth > v_limits.max_depth then
            perform zmesh.fail_too_deep(p_new, v_limits.max_depth);
        end if;
        perform zmesh.notify_unless_congested('zmesh_queue');   -- also when all listeners are busy: one of them lends its place
    elsif p_new.run_at < p_new.created_at + interval '1 second' then
        p_new.generation := v_parent.generation + 1;
        if p_new.generation > v_limits.max_generations then
            perform zmesh.fail('ZM508', format('"%s" is invocation number %s in a chain of functions that start each other at '
                               'once, and %s are allowed', p_new.function, p_new.generation + 1, v_limits.max_generations + 1),
                               'Is it a circle? If it is meant to go on, start it with a delay of a second or more.');
        end if;
    end if;
    return p_new;
end $$;
comment on function zmesh.below_parent(zmesh.invocations) is
    'The row with the columns that follow from the run that inserts it. Rejects calls nested too deeply and chains '
    'that are too long.';

create or replace function zmesh.lenders(p_since timestamptz) returns table (project_id uuid, n integer)
language plpgsql stable as $$
#variable_conflict use_column
begin
    return query
        select p.project_id, count(distinct p.id)::integer
          from zmesh.queue c join zmesh.queue p on p.id = c.parent_id
         where c.status = 'running' and c.started_at >= p_since and c.waited and c.parent_id is not null
           and p.status = 'running'
         group by p.project_id;
end $$;
comment on function zmesh.lenders(timestamptz) is
    'Number of running invocations of each project that wait for one they called, which runs in their slot; assumes '
    'that none of them started before p_since.';

create or replace function zmesh.may_be_called(p_id uuid) returns boolean
language plpgsql stable as $$
begin
    return (
        with callers as materialized (select c.id from zmesh.callers_of(p_id) c)
        select (f.max_concurrency is null or f.max_concurrency >
                   (select count(*) from zmesh.queue r where r.status = 'running' and r.function_id = q.function_id
                       and r.id not in (select c.id from callers c)))
           and (q.concurrency_key is null or f.max_concurrency_per_key >
                   (select count(*) from zmesh.queue r where r.status = 'running' and r.lane = q.lane
                       and r.id not in (select c.id from callers c)))
          from zmesh.queue q join zmesh.functions f on f.id = q.function_id where q.id = p_id);
end $$;
comment on function zmesh.may_be_called(uuid) is
    'Whether the limits of its function and key allow it to start. The invocations that wait for it do not count; '
    'otherwise a function with a limit of one could never call itself.';

create or replace function zmesh.no_call_is_queued() returns boolean
language plpgsql stable as $$
begin
    -- In the order of the index over them: else one over all that is queued may look as good.
    return (select q.parent_id from zmesh.queue q
             where q.waited and q.parent_id is not null and q.status = 'queued' and q.due
             order by q.parent_id limit 1) is null;
end $$;
comment on function zmesh.no_call_is_queued() is 'Whether no called function is waiting to start.';

create or replace function zmesh.start_called(p_listener uuid, p_now timestamptz) returns uuid[]
language plpgsql as $$
declare
    v_started uuid[] := '{}';
    v_next    uuid;
begin
    if zmesh.no_call_is_queued() then
        return v_started;
    end if;
    for v_next in
        select distinct on (p.id) c.id
          from zmesh.queue p join zmesh.queue c on c.parent_id = p.id
         where p.status = 'running' and p.listener_id = p_listener
           and c.waited and c.parent_id is not null and c.status = 'queued' and c.due
           and (c.expires_at is null or c.expires_at > p_now)
           and not exists (select from zmesh.queue r where r.parent_id = p.id and r.waited and r.parent_id is not null
                                                       and r.status = 'running')
           and zmesh.may_be_called(c.id)
         order by p.id, c.priority desc, c.run_at
    loop
        if zmesh.may_be_called(v_next) then   -- also after those that have just started
            v_started := v_started || zmesh.start(p_listener, array[v_next], p_now);
        end if;
    end loop;
    return v_started;
end $$;
comment on function zmesh.start_called(uuid, timestamptz) is
    'Starts invocations that this listener''s runs called and wait for, one for each run, in the run''s slot.';

grant execute on function zmesh.traceparent_of(uuid, text) to zmesh_api, zmesh_listener, zmesh_project;
