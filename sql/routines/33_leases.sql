create or replace function zmesh.register_listener(p_name text, p_slots integer, p_lease interval) returns uuid
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    insert into zmesh.listeners (name, slots, started_at, lease_expires_at)
    values (p_name, p_slots, zmesh.now(), zmesh.now() + p_lease)
    returning id;
end;
comment on function zmesh.register_listener(text, integer, interval) is 'Starts the lease of a listener.';

create or replace function zmesh.renew_lease(p_listener uuid, p_lease interval) returns setof uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
    update zmesh.listeners set lease_expires_at = zmesh.now() + p_lease
     where id = p_listener and lease_expires_at > zmesh.now();
    if not found then
        perform zmesh.fail('ZM410', 'the lease of this listener has run out', 'Stop its runs and register again.');
    end if;
    return query select q.id from zmesh.queue q
                  where q.status = 'running' and q.listener_id = p_listener and q.cancel_requested;
end $$;
comment on function zmesh.renew_lease(uuid, interval) is
    'Extends the lease of a listener; returns those of its invocations that are to be cancelled.';

create or replace function zmesh.report_sandbox(p_listener uuid, p_isolation text, p_gaps text[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    update zmesh.listeners set isolation = p_isolation, gaps = p_gaps where id = p_listener;
end;
comment on function zmesh.report_sandbox(uuid, text, text[]) is 'Records how well a listener isolates runs.';

create or replace function zmesh.report_blocked_loop(p_listener uuid, p_ms integer) returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    update zmesh.listeners set loop_held_ms = p_ms where id = p_listener and loop_held_ms <> p_ms;
end;
comment on function zmesh.report_blocked_loop(uuid, integer) is
    'Records the longest time that a listener''s event loop was blocked.';

create or replace function zmesh.give_back(p_listener uuid, p_known uuid[]) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
    v_unknown   uuid[];
    v_cancelled zmesh.outcome[];
begin
    v_unknown := array(
        select q.id from zmesh.queue q
         where q.status = 'running' and q.listener_id = p_listener and q.id <> all (p_known) order by q.id for update);
    if cardinality(v_unknown) = 0 then
        return 0;
    end if;
    v_cancelled := array(select zmesh.failure(q.id, q.attempt, 'cancelled', 'cancelled', 'cancelled on request')
                           from zmesh.queue q where q.id = any (v_unknown) and q.cancel_requested);
    perform zmesh.end_attempts(v_cancelled);
    update zmesh.queue set status = 'queued', listener_id = null, attempt = attempt - 1 where id = any (v_unknown);
    perform zmesh.notify_unless_congested('zmesh_queue');
    return cardinality(v_unknown);
end $$;
comment on function zmesh.give_back(uuid, uuid[]) is
    'Requeues invocations that a listener claimed but, because the reply was lost, never learned of, as if they had '
    'not been claimed.';

create or replace function zmesh.take_from_listeners(p_listeners uuid[]) returns integer
language plpgsql set enable_seqscan = off set jit = off as $$
declare
    v_lost zmesh.outcome[];
begin
    v_lost := array(
        select case when q.cancel_requested
                   then zmesh.failure(q.id, q.attempt, 'cancelled', 'cancelled', 'cancelled on request')
                   else zmesh.failure(
                       q.id, q.attempt, 'error', 'listener_lost',
                       format('The listener that ran attempt %s of %s stopped before the end. ', q.attempt, q.max_attempts)
                       || 'Allow more attempts (max_attempts) to have it run again by itself.') end
          from zmesh.queue q
         where q.status = 'running' and q.listener_id = any (p_listeners) order by q.id for update);
    perform zmesh.end_attempts(v_lost);
    perform zmesh.requeue_builds(p_listeners);
    delete from zmesh.listeners where id = any (p_listeners);
    if cardinality(v_lost) > 0 then
        perform zmesh.notify_unless_congested('zmesh_queue');   -- what they held back within the limits may start elsewhere
    end if;
    return cardinality(v_lost);
end $$;
comment on function zmesh.take_from_listeners(uuid[]) is
    'Ends everything that these listeners ran as a lost attempt, and deletes the listeners.';

create or replace function zmesh.reap() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
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
comment on function zmesh.reap() is 'Recovers the invocations of listeners whose lease has expired; returns how many.';

create or replace function zmesh.end_lease(p_listener uuid) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from zmesh.settings for update;
    return zmesh.take_from_listeners(array[p_listener]);
end $$;
comment on function zmesh.end_lease(uuid) is
    'Ends the lease of a listener that stops in an orderly way; what it still runs counts as lost.';

grant execute on function zmesh.register_listener(text, integer, interval), zmesh.renew_lease(uuid, interval),
      zmesh.report_sandbox(uuid, text, text[]),
      zmesh.report_blocked_loop(uuid, integer), zmesh.give_back(uuid, uuid[]), zmesh.reap(), zmesh.end_lease(uuid) to zmesh_listener;
