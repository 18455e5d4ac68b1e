-- How attempts end: with a final status, in zmesh.history, or back in the queue while attempts are left.

create or replace function zmesh.retry_delay(p_attempt integer, p_base_ms integer, p_max_ms integer) returns interval
language sql volatile parallel safe
return least(p_max_ms, p_base_ms * power(2, least(p_attempt - 1, 40))) * (0.5 + random() / 2) * interval '1 millisecond';
comment on function zmesh.retry_delay(integer, integer, integer) is
    'Wait after a failed attempt: doubled with each attempt up to a maximum, then reduced at random by up to half, '
    'so that retries spread out.';

create or replace function zmesh.failure(p_id uuid, p_attempt smallint, p_status text, p_type text, p_message text)
returns zmesh.outcome
language sql immutable parallel safe
return row(p_id, p_attempt, p_status, null, null,
           jsonb_build_object('type', p_type, 'message', p_message, 'stack', null),
           null, null, null, null)::zmesh.outcome;
comment on function zmesh.failure(uuid, smallint, text, text, text) is
    'An outcome that the platform reports, not the run.';

create or replace function zmesh.queue_ms(p_created_at timestamptz, p_run_at timestamptz, p_started_at timestamptz)
returns numeric
language sql immutable parallel safe
return round(extract(epoch from p_started_at - greatest(p_created_at, p_run_at)) * 1000, 1);
comment on function zmesh.queue_ms(timestamptz, timestamptz, timestamptz) is
    'How long an invocation was ready before a listener claimed it; null if none has.';

create or replace function zmesh.start_ms(p_started_at timestamptz, p_finished_at timestamptz, p_duration_ms integer)
returns numeric
language sql immutable parallel safe
return greatest(0, round(extract(epoch from p_finished_at - p_started_at) * 1000 - p_duration_ms, 1));
comment on function zmesh.start_ms(timestamptz, timestamptz, integer) is
    'The platform''s share of the time between claim and end: obtaining a process, passing the payload, writing the '
    'outcome.';

create or replace function zmesh.inline_outcome(
    p_channel text, p_id uuid, p_status text, p_version integer, p_duration_ms integer, p_queue_ms numeric,
    p_start_ms numeric, p_result json, p_error jsonb, p_response json)
returns text
language plpgsql stable as $$
declare
    c_longest constant integer := 7900;   -- a notification carries less than 8000 bytes
    v_answer text;
begin
    if p_id is null or p_channel !~ '^zmesh_[rs]_'
        or octet_length(concat(p_result::text, p_error::text, p_response::text)) > c_longest then
        return null;
    end if;
    v_answer := p_id || json_build_object('status', p_status, 'version', p_version, 'duration_ms', p_duration_ms,
                                          'queue_ms', p_queue_ms, 'start_ms', p_start_ms, 'result', p_result, 'error', p_error, 'response', p_response)::text;
    return case when octet_length(v_answer) <= c_longest then v_answer end;
end $$;
comment on function zmesh.inline_outcome(text, uuid, text, integer, integer, numeric, numeric, json, jsonb, json) is
    'An id and its end as JSON, for an API that waits and needs to read no row then; null where a notification cannot carry it.';

create or replace function zmesh.end_for_good(p_outcomes zmesh.outcome[], p_now timestamptz) returns void
language plpgsql as $$
declare
    v_told      integer;
    v_callbacks integer;
begin
    with gone as (
        delete from zmesh.queue q using unnest(p_outcomes) o
         where q.id = o.id
        returning q.*, o.status as ended, o.result as end_result, o.response as end_response, o.error as end_error,
                  o.duration_ms as end_duration_ms, o.cpu_ms as end_cpu_ms, o.peak_memory_mb as end_peak_memory_mb
    ), kept as (
        insert into zmesh.history (
            id, project_id, function_id, parent_id, schedule_id, lane, created_at, run_at, expires_at, started_at,
            finished_at, version, duration_ms, cpu_ms, peak_memory_mb, retry_base_ms, retry_max_ms, priority,
            max_attempts, attempt, due, waited, cancel_requested, status, source, function, payload, request,
            idempotency_key, concurrency_key, pinned, alias, earlier_attempts, result, response, error, generation, depth,
            traceparent, callback_url)
        select g.id, g.project_id, g.function_id, g.parent_id, g.schedule_id, g.lane, g.created_at, g.run_at,
               g.expires_at, g.started_at, p_now, g.version, g.end_duration_ms, g.end_cpu_ms, g.end_peak_memory_mb,
               g.retry_base_ms, g.retry_max_ms, g.priority, g.max_attempts, g.attempt, g.due, g.waited,
               g.cancel_requested, g.ended, g.source, g.function, g.payload, g.request, g.idempotency_key,
               g.concurrency_key, g.pinned, g.alias, g.earlier_attempts, g.end_result, g.end_response, g.end_error,
               g.generation, g.depth, g.traceparent, g.callback_url
          from gone g
            on conflict do nothing   -- an id that ended before keeps its first end
        returning id, status, version, duration_ms, zmesh.queue_ms(created_at, run_at, started_at) as queue_ms,
                  zmesh.start_ms(started_at, finished_at, duration_ms) as start_ms, result, error, response, project_id,
                  callback_url, function_id, cpu_ms, peak_memory_mb
    ), counted as (
        insert into zmesh.endings (invocation_id, project_id, function_id, ended_at, version, duration_ms, cpu_ms,
                                   peak_memory_mb, queue_ms, start_ms, status, error_type, error_message)
        select k.id, k.project_id, k.function_id, p_now, k.version, k.duration_ms, k.cpu_ms, k.peak_memory_mb, k.queue_ms,
               k.start_ms, k.status, left(k.error ->> 'type', 100), left(k.error ->> 'message', 500)
          from kept k
    ), sent as (
        insert into zmesh.callbacks as c (invocation_id, project_id, message_id, created_at, next_attempt_at, url)
        select k.id, k.project_id, zmesh.new_id(), p_now, p_now, k.callback_url from kept k
         where k.callback_url is not null
            on conflict (invocation_id) do update   -- retried after its end: it ends a second time
           set message_id = excluded.message_id, created_at = p_now, next_attempt_at = p_now, delivered_at = null,
               attempts = 0, last_status_code = null, last_error = null, status = 'pending', url = excluded.url
        returning 1
    ), waiting as (
        delete from zmesh.waiters w using gone g where g.waited and w.invocation_id = g.id
        returning w.invocation_id, w.channel
    )
    select count(zmesh.notify_unless_congested(w.channel, coalesce(
               zmesh.inline_outcome(w.channel, k.id, k.status, k.version, k.duration_ms, k.queue_ms, k.start_ms, k.result,
                                  k.error, k.response),
               w.invocation_id::text))), (select count(*) from sent)
      into v_told, v_callbacks
      from waiting w left join kept k on k.id = w.invocation_id;
    if v_callbacks > 0 then
        perform zmesh.notify_unless_congested('zmesh_callbacks');
    end if;
end $$;
comment on function zmesh.end_for_good(zmesh.outcome[], timestamptz) is
    'Moves invocations to history, writes their figures to zmesh.endings, queues their callbacks, and notifies only the '
    'callers that wait.';

create or replace function zmesh.ended_attempt(
    p_attempt smallint, p_status text, p_error jsonb, p_version integer, p_started_at timestamptz,
    p_finished_at timestamptz, p_duration_ms integer, p_cpu_ms integer, p_peak_memory_mb integer)
returns jsonb
language sql stable parallel safe
return jsonb_build_object(
    'attempt', p_attempt, 'status', p_status, 'error', p_error, 'version', p_version, 'started_at', p_started_at,
    'finished_at', p_finished_at, 'duration_ms', p_duration_ms, 'cpu_ms', p_cpu_ms, 'peak_memory_mb', p_peak_memory_mb);
comment on function zmesh.ended_attempt(smallint, text, jsonb, integer, timestamptz, timestamptz, integer, integer, integer) is
    'An attempt as invocations.earlier_attempts keeps it.';

create or replace function zmesh.put_back(p_outcomes zmesh.outcome[], p_now timestamptz) returns void
language plpgsql as $$
begin
    update zmesh.queue q
       set status = 'queued', due = false, listener_id = null, result = o.result, response = o.response,
           error = o.error, duration_ms = o.duration_ms, cpu_ms = o.cpu_ms, peak_memory_mb = o.peak_memory_mb,
           earlier_attempts = coalesce(q.earlier_attempts, '[]') || zmesh.ended_attempt(
               q.attempt, o.status, o.error, q.version, q.started_at, p_now, o.duration_ms, o.cpu_ms, o.peak_memory_mb),
           run_at = p_now + zmesh.retry_delay(q.attempt, coalesce(q.retry_base_ms, f.retry_base_ms),
                                              coalesce(q.retry_max_ms, f.retry_max_ms))
      from unnest(p_outcomes) o, zmesh.functions f
     where q.id = o.id and f.id = q.function_id;
end $$;
comment on function zmesh.put_back(zmesh.outcome[], timestamptz) is
    'Returns invocations to the queue for another attempt.';

create or replace function zmesh.end_attempts(p_outcomes zmesh.outcome[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    v_now   timestamptz := zmesh.now();
    v_final zmesh.outcome[];
    v_again zmesh.outcome[];
begin
    insert into zmesh.logs (invocation_id, attempt, line, project_id, at, level, message)
    select q.id, q.attempt, coalesce(l.line, l.n), q.project_id, l.at, l.level, l.message
      from unnest(p_outcomes) o
      join zmesh.queue q on q.id = o.id
      cross join rows from (json_to_recordset(o.logs) as (line integer, at timestamptz, level text, message text))
           with ordinality as l (line, at, level, message, n)
     where o.logs is not null
        on conflict do nothing;   -- zmesh.append_logs() has already written it
    select array_agg(o) filter (where final), array_agg(o) filter (where not final) into v_final, v_again
      from (select o, o.status in ('success', 'cancelled') or q.status = 'queued' or q.attempt >= q.max_attempts
                      or q.cancel_requested or not exists (select from zmesh.functions f where f.id = q.function_id)
                      as final
              from unnest(p_outcomes) o join zmesh.queue q on q.id = o.id) judged;
    if v_final is not null then
        perform zmesh.end_for_good(v_final, v_now);
    end if;
    if v_again is not null then
        perform zmesh.put_back(v_again, v_now);
    end if;
end $$;
comment on function zmesh.end_attempts(zmesh.outcome[]) is
    'Writes the outcomes of attempts whose queue rows the caller has locked: final, or back to the queue if '
    'attempts are left.';

create or replace function zmesh.finish(p_listener uuid, p_outcomes zmesh.outcome[]) returns setof uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
    v_owned uuid[];
begin
    v_owned := array(
        select q.id from zmesh.queue q join unnest(p_outcomes) o on o.id = q.id and o.attempt = q.attempt
         where q.listener_id = p_listener order by q.id for update of q);
    if cardinality(v_owned) > 0 then
        perform zmesh.end_attempts(array(select o from unnest(p_outcomes) o where o.id = any (v_owned)));
    end if;
    return query select unnest(v_owned);
end $$;
comment on function zmesh.finish(uuid, zmesh.outcome[]) is
    'Ends attempts that this listener still owns and returns their ids; an outcome from a lost lease is ignored.';

create or replace function zmesh.end_without_function(p_ids uuid[]) returns void
language plpgsql as $$
begin
    perform zmesh.end_attempts(array(
        select zmesh.failure(q.id, q.attempt, 'cancelled', 'cancelled', format('function "%s" was deleted', q.function))
          from zmesh.queue q
         where q.id = any (p_ids) and not exists (select from zmesh.functions f where f.id = q.function_id)));
end $$;
comment on function zmesh.end_without_function(uuid[]) is
    'Cancels invocations that were inserted while their function was being deleted.';

create or replace function zmesh.end_retired(p_ids uuid[]) returns void
language plpgsql as $$
begin
    perform zmesh.end_attempts(array(
        select zmesh.failure(q.id, q.attempt, 'cancelled', 'version_retired',
                             format('version %s of function "%s" is retired', q.version, q.function))
          from zmesh.queue q where q.id = any (p_ids) and q.pinned and zmesh.is_retired(q.function_id, q.version)));
end $$;
comment on function zmesh.end_retired(uuid[]) is
    'Cancels invocations of a version that was retired while they were queued.';

create or replace function zmesh.end_expired() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
    v_expired zmesh.outcome[];
begin
    v_expired := array(
        select zmesh.failure(q.id, q.attempt, 'error', 'expired', 'It was not started before its expires_at.')
          from zmesh.queue q where q.status = 'queued' and q.expires_at <= zmesh.now()
         order by q.expires_at limit 5000 for update skip locked);
    if cardinality(v_expired) > 0 then
        perform zmesh.end_attempts(v_expired);
    end if;
    return cardinality(v_expired);
end $$;
comment on function zmesh.end_expired() is 'Ends invocations that expired before they started; returns how many.';

create or replace function zmesh.cancel(p_ids uuid[], p_why text default 'cancelled on request') returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
    v_queued  zmesh.outcome[];
    v_running integer;
begin
    perform from zmesh.queue where id = any (p_ids) order by id for update;
    update zmesh.queue set cancel_requested = true where id = any (p_ids) and status = 'running';
    get diagnostics v_running = row_count;
    if v_running > 0 then
        perform zmesh.notify_unless_congested('zmesh_cancel');
    end if;
    v_queued := array(select zmesh.failure(q.id, q.attempt, 'cancelled', 'cancelled', p_why)
                        from zmesh.queue q where q.id = any (p_ids) and q.status = 'queued');
    if cardinality(v_queued) > 0 then
        perform zmesh.end_attempts(v_queued);
    end if;
    return v_running + cardinality(v_queued);
end $$;
comment on function zmesh.cancel(uuid[], text) is
    'Ends queued invocations as cancelled and requests the end of running ones; returns how many. Ended ones are '
    'not changed.';

create or replace function zmesh.may_run_again(
    p_function_id uuid, p_status text, p_attempt smallint, p_pinned boolean, p_version integer)
returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return p_status in ('error', 'timeout', 'cancelled') and p_attempt < 100
           and exists (select from zmesh.functions f where f.id = p_function_id)
           and not (p_pinned and zmesh.is_retired(p_function_id, p_version));
end $$;
comment on function zmesh.may_run_again(uuid, text, smallint, boolean, integer) is
    'Whether zmesh.retry() gives an ended invocation one more attempt: it failed, its function exists, and its version is not retired.';

create or replace function zmesh.cancel_orphans() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set jit = off set enable_bitmapscan = off as $$
declare
    v_function zmesh.deleted_functions;
    v_count    integer;
begin
    select * into v_function from zmesh.deleted_functions order by deleted_at limit 1 for update skip locked;
    if not found then
        return 0;
    end if;
    v_count := zmesh.cancel(array(select q.id from zmesh.queue q
                                   where q.function_id = v_function.function_id and q.status = 'queued'
                                   order by q.id desc limit 5000),
                            format('function "%s" was deleted', v_function.slug));
    if v_count = 0 then
        delete from zmesh.deleted_functions where function_id = v_function.function_id;
    end if;
    return v_count;
end $$;
comment on function zmesh.cancel_orphans() is
    'Cancels some of the queued invocations of a deleted function; returns how many, and 0 if none are left.';

create or replace function zmesh.retry(p_ids uuid[]) returns setof uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from zmesh.history where id = any (p_ids) order by id for update;
    return query
        with dead as (
            delete from zmesh.history h
             where h.id = any (p_ids)
               and zmesh.may_run_again(h.function_id, h.status, h.attempt, h.pinned, h.version)
            returning h.*
        )
        insert into zmesh.queue (
            id, project_id, function_id, parent_id, schedule_id, lane, created_at, run_at, retry_base_ms, retry_max_ms,
            priority, max_attempts, attempt, due, source, function, payload, request, idempotency_key,
            concurrency_key, version, pinned, alias, earlier_attempts, error, generation, traceparent,
            callback_url)
        select d.id, d.project_id, d.function_id, d.parent_id, d.schedule_id, d.lane, d.created_at, zmesh.now(),
               d.retry_base_ms, d.retry_max_ms, d.priority, d.attempt + 1, d.attempt, true, d.source,
               d.function, d.payload, d.request, d.idempotency_key, d.concurrency_key,
               case when d.pinned then d.version end, d.pinned, d.alias,
               case when d.attempt = 0 then d.earlier_attempts
                    else coalesce(d.earlier_attempts, '[]') || zmesh.ended_attempt(
                        d.attempt, d.status, d.error, d.version, d.started_at, d.finished_at, d.duration_ms, d.cpu_ms,
                        d.peak_memory_mb) end,
               d.error, d.generation, d.traceparent, d.callback_url
          from dead d
        returning id;
    perform zmesh.notify_unless_congested('zmesh_queue');
end $$;
comment on function zmesh.retry(uuid[]) is
    'Adds one attempt to ended invocations that did not succeed; returns their ids. They keep their payload, id and '
    'history.';

create or replace view zmesh.dead_invocations with (security_invoker) as
    select * from zmesh.invocations
     where status in ('error', 'timeout')
       and zmesh.may_run_again(function_id, status, attempt, pinned, version);
comment on view zmesh.dead_invocations is
    'Failed invocations without attempts left that can be retried: zmesh.retry() gives each of them one more attempt.';

grant select on zmesh.dead_invocations to zmesh_api, zmesh_project;
grant execute on function zmesh.may_run_again(uuid, text, smallint, boolean, integer) to zmesh_api, zmesh_project;
grant execute on function zmesh.queue_ms(timestamptz, timestamptz, timestamptz),
      zmesh.start_ms(timestamptz, timestamptz, integer), zmesh.cancel(uuid[], text), zmesh.retry(uuid[]) to zmesh_api;
grant execute on function zmesh.finish(uuid, zmesh.outcome[]), zmesh.end_expired(), zmesh.cancel_orphans() to zmesh_listener;
