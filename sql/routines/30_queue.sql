-- From an insert to the queue. Claims: 31_claims.sql. Ends: 32_ends.sql. Leases: 33_leases.sql.

create or replace function zmesh.check_time(p_column text, p_time timestamptz) returns void
language plpgsql as $$
begin
    if p_time not between '0001-01-02 00:00Z' and '9999-12-30 00:00Z' then
        perform zmesh.fail('check_violation', format('%s %s is out of range', p_column, p_time),
                           'Leave it out where there is no limit.', 'invocations_times_are_of_years_1_to_9999', p_column);
    end if;
end $$;
comment on function zmesh.check_time(text, timestamptz) is
    'Rejects times that not every language can represent, including infinity, so that every invocation can be listed.';

create or replace function zmesh.prepare_invocation() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_function record;
    v_new      zmesh.invocations;
begin
    if new.project_id is null then
        perform zmesh.fail('ZM403', 'this role belongs to no project',
                           'Connect as the project''s role, or name the project_id.');
    end if;
    if new.function is null then
        perform zmesh.fail('ZM404', 'an insert has to name the function', 'Set the column function to its slug.');
    end if;
    select f.id, f.enabled, f.max_attempts,
           exists (select from zmesh.function_aliases a where a.function_id = f.id and a.name = 'live') as aliased
      into v_function
      from zmesh.functions f where f.project_id = new.project_id and f.slug = new.function;
    if not found then
        perform zmesh.fail('ZM404', format('function "%s" does not exist in this project', new.function),
                           'Deploy it first, or look up its slug: zmesh functions list');
    end if;
    if not v_function.enabled then
        perform zmesh.fail('ZM409', format('function "%s" is disabled', new.function), 'Enable it first.');
    end if;
    if octet_length(new.payload::text) > 8388608 then
        perform zmesh.fail('check_violation', 'the payload is larger than 8 MiB',
                           'Put the data into a table and send what identifies it.', 'invocations_payload_is_at_most_8_mib',
                           'payload');
    end if;
    if new.run_at is not null or new.expires_at is not null then
        perform zmesh.check_time('run_at', new.run_at), zmesh.check_time('expires_at', new.expires_at);
    end if;
    new.function_id := v_function.id;
    new.created_at := zmesh.now();
    new.run_at := coalesce(new.run_at, new.created_at);
    new.due := new.run_at <= new.created_at;
    new.waited := new.reply_channel is not null;
    new.max_attempts := coalesce(new.max_attempts, case when new.waited then 1 else v_function.max_attempts end);
    new.lane := zmesh.lane(new.function_id, new.concurrency_key);
    v_new := new;   -- a row of the parent: what is called gets the same type on every way, and plans it once
    if v_new.parent_id is not null then
        v_new := zmesh.below_parent(v_new);
    end if;
    -- Most inserts ask for no version and repeat nothing: the calls alone would be half of what a row of a bulk insert costs.
    if v_new.version is not null or v_new.alias is not null or v_function.aliased then
        v_new := zmesh.choose_version(v_new);
    end if;
    if v_new.idempotency_key is null and v_new.reply_channel is null and v_new.source not in ('api', 'webhook') then
        return v_new;
    end if;
    return zmesh.insert_once(v_new);
end $$;
comment on function zmesh.prepare_invocation() is
    'Rejects an unknown or disabled function, fills in the columns that follow from it, and skips an invocation '
    'that was inserted before.';

create or replace function zmesh.lane(p_function_id uuid, p_concurrency_key text) returns bigint
language sql immutable parallel safe
return case when p_concurrency_key is null then uuid_hash_extended(p_function_id, 0)
            else hashtextextended(p_concurrency_key, uuid_hash_extended(p_function_id, 0)) end;
comment on function zmesh.lane(uuid, text) is
    'The lane in which an invocation queues: one for each function and concurrency key.';

create or replace function zmesh.insert_once(p_new zmesh.invocations) returns zmesh.invocations
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Only the API chooses ids. It repeats an insert whose outcome it missed, maybe after the invocation has ended.
    if p_new.source in ('api', 'webhook') and exists (select from zmesh.invocations i where i.id = p_new.id) then
        return null;
    end if;
    if p_new.idempotency_key is not null then
        insert into zmesh.idempotency_keys (function_id, scope, key, invocation_id, created_at)
        values (p_new.function_id, coalesce(p_new.idempotency_scope, ''), p_new.idempotency_key, p_new.id, p_new.created_at)
            on conflict do nothing;
        if not found then
            return null;
        end if;
    end if;
    p_new.idempotency_scope := null;
    if p_new.reply_channel is not null then
        insert into zmesh.waiters (invocation_id, channel) values (p_new.id, p_new.reply_channel)
            on conflict do nothing;   -- waits for the same insert, should that still be under way
        if not found then
            return null;
        end if;
        p_new.reply_channel := null;
    end if;
    return p_new;
end $$;
comment on function zmesh.insert_once(zmesh.invocations) is
    'The row to insert, with its reply channel moved to a table that only the platform reads; null if it was '
    'inserted before.';

create or replace function zmesh.await_end(p_id uuid, p_channel text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from zmesh.queue where id = p_id for update;   -- its end waits for us, and tells us
    if not found then
        return;
    end if;
    insert into zmesh.waiters (invocation_id, channel) values (p_id, p_channel) on conflict do nothing;
    update zmesh.queue set waited = true where id = p_id and not waited;
end $$;
comment on function zmesh.await_end(uuid, text) is
    'Adds a channel to notify when a queued or running invocation ends. Read the row afterwards: it may already '
    'have ended.';

create or replace trigger invocations_prepare before insert on zmesh.queue
    for each row when (new.function_id is null) execute function zmesh.prepare_invocation();

create or replace function zmesh.notify_unless_congested(p_channel text, p_payload text default '') returns void
language plpgsql as $$
begin
    -- One session that listens and stays in a transaction keeps all notifications, until sending more is an error.
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify(p_channel, p_payload);
    end if;
end $$;
comment on function zmesh.notify_unless_congested(text, text) is
    'Notifies, unless the server''s notification queue is filling up; waiting callers then find out by polling.';

create or replace function zmesh.wake_listeners() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from zmesh.listeners where waiting) then
        perform zmesh.notify_unless_congested('zmesh_queue');
    end if;
    return null;
end $$;
comment on function zmesh.wake_listeners() is
    'Notifies the listeners, once per statement, unless all are busy: a commit that notifies is expensive.';

create or replace trigger invocations_wake after insert on zmesh.invocations
    for each statement execute function zmesh.wake_listeners();

grant execute on function zmesh.await_end(uuid, text) to zmesh_api;
