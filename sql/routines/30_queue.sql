create or replace function zmesh.prepare_invocation() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
declare
    v_function record;
begin
    if new.project_id is null then
        perform zmesh.fail('ZM403', 'this role belongs to no project',
                           'Connect as the project''s role, or name the project_id.');
    end if;
    select f.id, f.enabled into v_function
      from zmesh.functions f where f.project_id = new.project_id and f.slug = new.function;
    if not found then
        perform zmesh.fail('ZM404', format('function "%s" does not exist in this project', new.function),
                           'Deploy it first, or look up its slug: zmesh functions list');
    end if;
    if not v_function.enabled then
        perform zmesh.fail('ZM409', format('function "%s" is disabled', new.function), 'Enable it first.');
    end if;
    new.id := coalesce(new.id, zmesh.new_id());
    new.function_id := v_function.id;
    new.created_at := zmesh.now();
    new.run_at := coalesce(new.run_at, new.created_at);
    if new.parent_id is not null then
        new.source := 'function';
    end if;
    return new;
end $$;
comment on function zmesh.prepare_invocation() is 'Refuses an unknown or disabled function, and fills in id and times.';

create or replace trigger invocations_prepare before insert on zmesh.invocations
    for each row execute function zmesh.prepare_invocation();

create or replace function zmesh.enqueue_inserted() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    insert into zmesh.queue (id, project_id, function_id, waited, priority, run_at, max_attempts, schedule_id)
    select id, project_id, function_id, reply_channel is not null, priority, run_at, max_attempts, schedule_id
      from inserted;
    if found then
        notify zmesh_jobs;
    end if;
    return null;
end $$;
comment on function zmesh.enqueue_inserted() is 'Puts new invocations into the queue and wakes the listeners: once per statement.';

create or replace trigger invocations_enqueue after insert on zmesh.invocations
    referencing new table as inserted
    for each statement execute function zmesh.enqueue_inserted();

create or replace function zmesh.register_listener(p_name text, p_slots integer, p_lease interval) returns uuid
language sql security definer set search_path = pg_catalog
begin atomic
    insert into zmesh.listeners (name, slots, started_at, lease_expires_at)
    values (p_name, p_slots, zmesh.now(), zmesh.now() + p_lease)
    returning id;
end;
comment on function zmesh.register_listener(text, integer, interval) is 'Starts the lease of a listener.';

create or replace function zmesh.renew_lease(p_listener uuid, p_lease interval) returns setof uuid
language plpgsql security definer set search_path = pg_catalog as $$
begin
    update zmesh.listeners set lease_expires_at = zmesh.now() + p_lease
     where id = p_listener and lease_expires_at > zmesh.now();
    if not found then
        perform zmesh.fail('ZM410', 'the lease of this listener has run out', 'Stop its runs and register again.');
    end if;
    return query select q.id from zmesh.queue q where q.listener_id = p_listener and q.cancel_requested;
end $$;
comment on function zmesh.renew_lease(uuid, interval) is
    'Prolongs the lease of a listener; returns those of its invocations that shall be cancelled.';

create or replace function zmesh.claim(p_listener uuid, p_slots integer)
returns table (id uuid, project_id uuid, function_id uuid, slug text, version integer, language text,
               entry_point text, code text, timeout_ms integer, memory_mb integer, env_vars jsonb,
               payload text, request text, attempt smallint, max_attempts smallint)
language plpgsql security definer set search_path = pg_catalog as $$
#variable_conflict use_column
declare
    v_now  timestamptz;
    v_free integer;
begin
    -- One claim at a time: whoever holds this row sees every claim before it, so the limits are exact.
    select s.max_running into v_free from zmesh.settings s for update;
    v_now := zmesh.now();
    perform from zmesh.listeners l where l.id = p_listener and l.lease_expires_at > v_now;
    if not found then
        perform zmesh.fail('ZM410', 'the lease of this listener has run out', 'Stop its runs and register again.');
    end if;
    v_free := least(p_slots, v_free - (select count(*) from zmesh.queue q where q.listener_id is not null));
    if v_free <= 0 then
        return;
    end if;
    return query
    with recursive queued_projects as (   -- one index probe per project, however long its backlog
        (select q.project_id from zmesh.queue q where q.listener_id is null order by q.project_id limit 1)
        union all
        select (select q.project_id from zmesh.queue q
                 where q.listener_id is null and q.project_id > p.project_id order by q.project_id limit 1)
          from queued_projects p where p.project_id is not null
    ), capacity as (
        select p.id as project_id, r.running, least(p.max_running - r.running, v_free) as free
          from queued_projects qp
          join zmesh.projects p on p.id = qp.project_id
          cross join lateral (select count(*)::integer as running from zmesh.queue q
                               where q.project_id = p.id and q.listener_id is not null) r
    ), candidates as (
        select j.id, j.waited, j.run_at, c.running + row_number()
                   over (partition by c.project_id order by j.waited desc, j.priority desc, j.run_at, j.id) as turn
          from capacity c
          cross join lateral (select q.id, q.waited, q.priority, q.run_at from zmesh.queue q
                               where q.project_id = c.project_id and q.listener_id is null and q.run_at <= v_now
                               order by q.waited desc, q.priority desc, q.run_at, q.id
                               limit greatest(c.free, 0) for update skip locked) j
    ), claimed as (
        update zmesh.queue q set listener_id = p_listener, attempt = q.attempt + 1
          from (select ca.id from candidates ca order by ca.waited desc, ca.turn, ca.run_at limit v_free) chosen
         where q.id = chosen.id
        returning q.id, q.function_id, q.attempt
    ), started as (
        update zmesh.invocations i
           set status = 'running', attempt = c.attempt, started_at = v_now, version = f.version
          from claimed c join zmesh.functions f on f.id = c.function_id
         where i.id = c.id
        returning i.id, i.project_id, i.function_id, f.slug, f.version, f.language, f.entry_point, f.code,
                  f.timeout_ms, f.memory_mb, f.env_vars, i.payload::text, i.request::text, i.attempt, i.max_attempts
    )
    select * from started;
end $$;
comment on function zmesh.claim(uuid, integer) is
    'Claims up to p_slots due invocations for a listener: waited-for ones first, then the projects in turn, within both limits.';

create or replace function zmesh.retry_delay(p_attempt integer) returns interval
language sql volatile parallel safe
return least(300, power(2, p_attempt - 1)) * (0.5 + random() / 2) * interval '1 second';
comment on function zmesh.retry_delay(integer) is
    'Wait after a failed attempt: 1, 2, 4 … s up to 5 minutes, less up to half of it at random, so that retries spread.';

create or replace function zmesh.end_attempts(p_outcomes zmesh.outcome[]) returns void
language plpgsql security definer set search_path = pg_catalog as $$
declare
    v_now   timestamptz := zmesh.now();
    v_final uuid[];
    v_told  integer;
begin
    v_final := array(
        select q.id from zmesh.queue q join unnest(p_outcomes) o on o.id = q.id
         where o.status in ('success', 'cancelled') or q.attempt >= q.max_attempts
            or q.cancel_requested or q.function_id is null);
    with ended as (
        update zmesh.invocations i
           set status = case when o.id = any (v_final) then o.status else 'queued' end,
               finished_at = case when o.id = any (v_final) then v_now end,
               result = o.result, response = o.response, error = o.error, duration_ms = o.duration_ms,
               cpu_ms = o.cpu_ms, peak_memory_mb = o.peak_memory_mb
          from unnest(p_outcomes) o
         where i.id = o.id
        returning i.id, i.project_id, i.reply_channel, i.attempt, o.logs, i.finished_at
    ), removed as (
        delete from zmesh.queue where id = any (v_final)
    ), requeued as (
        update zmesh.queue q
           set listener_id = null, run_at = v_now + zmesh.retry_delay(q.attempt)
          from ended e where q.id = e.id and e.finished_at is null
    ), logged as (
        insert into zmesh.logs (invocation_id, attempt, line, project_id, at, level, message)
        select e.id, e.attempt, l.line, e.project_id, l.at, l.level, l.message
          from ended e
          cross join rows from (json_to_recordset(e.logs) as (at timestamptz, level text, message text))
               with ordinality as l (at, level, message, line)
         where e.logs is not null
    )
    select count(pg_notify(e.reply_channel, e.id::text)::text) into v_told
      from ended e where e.reply_channel is not null and e.finished_at is not null;
end $$;
comment on function zmesh.end_attempts(zmesh.outcome[]) is
    'Writes the end of attempts whose queue rows the caller has locked: final, or back to the queue while attempts are left.';

create or replace function zmesh.finish(p_listener uuid, p_outcomes zmesh.outcome[]) returns setof uuid
language plpgsql security definer set search_path = pg_catalog as $$
declare
    v_owned uuid[];
begin
    v_owned := array(
        select q.id from zmesh.queue q join unnest(p_outcomes) o on o.id = q.id and o.attempt = q.attempt
         where q.listener_id = p_listener order by q.id for update of q);
    perform zmesh.end_attempts(array(select o from unnest(p_outcomes) o where o.id = any (v_owned)));
    return query select unnest(v_owned);
end $$;
comment on function zmesh.finish(uuid, zmesh.outcome[]) is
    'Ends attempts that this listener still owns and returns their ids; an outcome from a lost lease is left out.';

create or replace function zmesh.take_from_listeners(p_listeners uuid[]) returns integer
language plpgsql security definer set search_path = pg_catalog as $$
declare
    v_lost zmesh.outcome[];
begin
    v_lost := array(
        select row(q.id, q.attempt, case when q.cancel_requested then 'cancelled' else 'error' end, null, null,
                   jsonb_build_object(
                       'type', case when q.cancel_requested then 'cancelled' else 'listener_lost' end,
                       'message', format('The listener that ran attempt %s of %s stopped before the end. ',
                                         q.attempt, q.max_attempts)
                                  || 'Allow more attempts (max_attempts) to have it run again by itself.',
                       'stack', null),
                   null, null, null, null)::zmesh.outcome
          from zmesh.queue q where q.listener_id = any (p_listeners) order by q.id for update);
    perform zmesh.end_attempts(v_lost);
    delete from zmesh.listeners where id = any (p_listeners);
    return cardinality(v_lost);
end $$;
comment on function zmesh.take_from_listeners(uuid[]) is
    'Ends a lost attempt for everything these listeners ran, and forgets the listeners.';

create or replace function zmesh.reap() returns integer
language plpgsql security definer set search_path = pg_catalog as $$
declare
    v_expired uuid[];
begin
    if not exists (select from zmesh.listeners where lease_expires_at <= zmesh.now()) then
        return 0;
    end if;
    perform from zmesh.settings for update;   -- no claim may slip in for a listener that is being removed
    v_expired := array(select id from zmesh.listeners where lease_expires_at <= zmesh.now() order by id for update);
    return zmesh.take_from_listeners(v_expired);
end $$;
comment on function zmesh.reap() is 'Takes the invocations of listeners whose lease ran out; returns how many.';

create or replace function zmesh.leave(p_listener uuid) returns integer
language plpgsql security definer set search_path = pg_catalog as $$
begin
    perform from zmesh.settings for update;
    return zmesh.take_from_listeners(array[p_listener]);
end $$;
comment on function zmesh.leave(uuid) is 'A listener''s orderly end: its lease ends now, and what it still ran counts as lost.';

create or replace function zmesh.cancel(p_ids uuid[], p_why text default 'cancelled on request') returns integer
language plpgsql security definer set search_path = pg_catalog as $$
declare
    v_queued  uuid[];
    v_running integer;
begin
    perform from zmesh.queue where id = any (p_ids) order by id for update;
    update zmesh.queue set cancel_requested = true where id = any (p_ids) and listener_id is not null;
    get diagnostics v_running = row_count;
    if v_running > 0 then
        notify zmesh_cancel;
    end if;
    v_queued := array(select id from zmesh.queue where id = any (p_ids) and listener_id is null);
    perform zmesh.end_attempts(array(
        select row(id, 0, 'cancelled', null, null,
                   jsonb_build_object('type', 'cancelled', 'message', p_why, 'stack', null),
                   null, null, null, null)::zmesh.outcome
          from unnest(v_queued) id));
    return v_running + cardinality(v_queued);
end $$;
comment on function zmesh.cancel(uuid[], text) is
    'Ends queued invocations as cancelled and asks for the end of running ones; returns how many. Ended ones are left alone.';
