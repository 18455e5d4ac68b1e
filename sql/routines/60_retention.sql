-- History and logs in partitions by time: created ahead, dropped when their retention ends. Nothing here locks what an
-- enqueue needs, and nothing waits long for a lock: it is tried again a minute later.

create or replace function zmesh.id_at(p_at timestamptz) returns uuid
language sql immutable parallel safe
return (substr(encode(int8send((extract(epoch from p_at) * 1000)::bigint), 'hex'), 5) || repeat('0', 20))::uuid;
comment on function zmesh.id_at(timestamptz) is 'The lowest id (UUID version 7) for a time.';

create or replace function zmesh.period_name(p_table text, p_starts_at timestamptz) returns text
language sql stable parallel safe
return p_table || to_char(p_starts_at at time zone 'UTC', '_YYYYMMDD');
comment on function zmesh.period_name(text, timestamptz) is 'Name of a table''s partition for a period.';

create or replace function zmesh.make_partition(p_table text, p_key text, p_starts_at timestamptz, p_ends_at timestamptz)
returns void
language plpgsql as $$
declare
    v_name text := zmesh.period_name(p_table, p_starts_at);
begin
    execute format('create table zmesh.%I (like zmesh.%I including all)', v_name, p_table);
    execute format('with moved as (delete from zmesh.%I where %I >= $1 and %2$I < $2 returning *) '
                   'insert into zmesh.%I select * from moved', p_table || '_rest', p_key, v_name)
      using zmesh.id_at(p_starts_at), zmesh.id_at(p_ends_at);
    -- Attached, not created in place, which would lock the whole table against everybody.
    execute format('alter table zmesh.%I attach partition zmesh.%I for values from (%L) to (%L)',
                   p_table, v_name, zmesh.id_at(p_starts_at), zmesh.id_at(p_ends_at));
end $$;
comment on function zmesh.make_partition(text, text, timestamptz, timestamptz) is
    'Creates the partition for a period, and moves rows into it that arrived before it existed.';

create or replace function zmesh.make_periods() returns integer
language plpgsql as $$
declare
    -- About ten partitions whatever the retention: few to search, and few days kept too long.
    v_span   interval := make_interval(days => (select ceil(retention_days / 10.0)::integer from zmesh.settings));
    v_today  timestamptz := date_trunc('day', zmesh.now(), 'UTC');
    v_starts timestamptz := (select max(ends_at) from zmesh.periods);
    v_count  integer := 0;
begin
    -- Start a day back: clients generate ids, and their clocks may differ.
    v_starts := case when v_starts is null then v_today - interval '1 day' else greatest(v_starts, v_today) end;
    while v_starts < zmesh.now() + 2 * v_span loop
        perform zmesh.make_partition('history', 'id', v_starts, v_starts + v_span);
        perform zmesh.make_partition('logs', 'invocation_id', v_starts, v_starts + v_span);
        insert into zmesh.periods (starts_at, ends_at) values (v_starts, v_starts + v_span);
        v_starts := v_starts + v_span;
        v_count := v_count + 1;
    end loop;
    return v_count;
end $$;
comment on function zmesh.make_periods() is
    'Creates the partitions for the coming periods; returns the number of periods.';

create or replace function zmesh.drop_periods() returns integer
language plpgsql as $$
declare
    v_kept_since timestamptz := zmesh.now() - make_interval(days => (select retention_days from zmesh.settings));
    v_period     record;
    v_count      integer := 0;
begin
    for v_period in select * from zmesh.periods where ends_at <= v_kept_since order by starts_at loop
        execute format('drop table zmesh.%I', zmesh.period_name('history', v_period.starts_at));
        execute format('drop table zmesh.%I', zmesh.period_name('logs', v_period.starts_at));
        delete from zmesh.periods where starts_at = v_period.starts_at;
        v_count := v_count + 1;
    end loop;
    return v_count;
end $$;
comment on function zmesh.drop_periods() is
    'Drops the partitions whose retention has ended; returns the number of periods.';

create or replace function zmesh.delete_rest() returns void
language plpgsql as $$
declare
    v_kept_since timestamptz := zmesh.now() - make_interval(days => (select retention_days from zmesh.settings));
begin
    delete from zmesh.history_rest where id = any (array(
        select id from zmesh.history_rest where finished_at < v_kept_since limit 10000));
    delete from zmesh.logs_rest where ctid = any (array(
        select ctid from zmesh.logs_rest where at < v_kept_since limit 10000));
    delete from zmesh.idempotency_keys where ctid = any (array(
        select ctid from zmesh.idempotency_keys where created_at < v_kept_since limit 10000));
    delete from zmesh.schedule_runs where ctid = any (array(
        select ctid from zmesh.schedule_runs where created_at < v_kept_since limit 10000));
    delete from zmesh.webhook_deliveries where ctid = any (array(
        select ctid from zmesh.webhook_deliveries where received_at < v_kept_since limit 10000));
    delete from zmesh.webhook_requests where ctid = any (array(
        select ctid from zmesh.webhook_requests where received_at < zmesh.now() - interval '7 days' limit 10000));
    perform zmesh.delete_old_drafts();
    delete from zmesh.callbacks where ctid = any (array(
        select ctid from zmesh.callbacks where created_at < v_kept_since limit 10000));
    update zmesh.webhooks set sealed_previous_secret = null, previous_secret_valid_until = null
     where previous_secret_valid_until < zmesh.now();
end $$;
comment on function zmesh.delete_rest() is
    'Deletes rows as old as dropped history from unpartitioned tables, in batches.';

-- Adding or dropping a partition takes a lock that every reader of history blocks, and there may always be one.
create or replace function zmesh.end_readers(p_tables regclass[]) returns integer
language sql volatile security definer set search_path = pg_catalog, pg_temp
begin atomic
    select count(zmesh.end_session(a.pid, p.role_name, 'prevented history from being dropped', false))::integer
      from pg_stat_get_activity(null) a
      join zmesh.projects p on p.role_name = pg_get_userbyid(a.usesysid)
     where a.pid in (select l.pid from pg_lock_status() l
                      where l.granted and l.relation = any (p_tables::oid[])
                        and l.database = (select oid from pg_database where datname = current_database()));
end;
comment on function zmesh.end_readers(regclass[]) is
    'Ends sessions of projects that hold a lock on one of these tables; returns how many.';

create or replace function zmesh.overdue_tables() returns regclass[]
language plpgsql stable as $$
declare
    c_patience constant interval := interval '15 minutes';   -- longer than any run
    v_dropped  timestamptz := zmesh.now() - make_interval(days => (select retention_days from zmesh.settings)) - c_patience;
begin
    if exists (select from zmesh.periods where ends_at <= v_dropped) then
        return array(select c.oid::regclass from pg_class c
                      where c.relnamespace = 'zmesh'::regnamespace
                        and c.relname in ('history', 'logs', 'history_rest', 'logs_rest'))
            || array(select to_regclass('zmesh.' || zmesh.period_name(t, p.starts_at))
                       from zmesh.periods p, unnest('{history,logs}'::text[]) t where p.ends_at <= v_dropped);
    end if;
    if not exists (select from zmesh.periods where ends_at > zmesh.now() + c_patience) then
        return '{zmesh.history,zmesh.history_rest,zmesh.logs,zmesh.logs_rest}';
    end if;
    return '{}';
end $$;
comment on function zmesh.overdue_tables() is
    'Tables to lock in order to drop a partition overdue by 15 minutes, or to create one that is needed within that'
    ' time.';

create or replace function zmesh.keep_periods() returns void
language plpgsql as $$
declare
    v_overdue regclass[] := zmesh.overdue_tables();
    v_ended   integer;
    v_made    boolean := false;
    v_dropped boolean := false;
begin
    -- The request waits in the lock's queue, so later readers wait behind it; one may slip in before that.
    for v_try in 1..5 loop
        if cardinality(v_overdue) > 0 then
            v_ended := zmesh.end_readers(v_overdue);
            raise log 'zmesh: ended % sessions of projects that blocked retention', v_ended;
        end if;
        begin
            perform zmesh.make_periods();
            v_made := true;
        exception when lock_not_available then null;
        end;
        begin
            perform zmesh.drop_periods();
            v_dropped := true;
        exception when lock_not_available then null;
        end;
        exit when v_made and v_dropped or cardinality(v_overdue) = 0;
    end loop;
end $$;
comment on function zmesh.keep_periods() is
    'Creates and drops partitions unless sessions block that; ends sessions of projects that have blocked it for '
    'too long.';

create or replace function zmesh.remember_horizon() returns void
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
    update zmesh.upkeep set horizon_at = zmesh.now(), horizon = pg_snapshot_xmin(pg_current_snapshot()), former_horizon = horizon
     where horizon_at is null or horizon_at <= zmesh.now() - interval '1 hour';
end;
comment on function zmesh.remember_horizon() is
    'Once an hour, records the oldest transaction that is running, for zmesh.harmful_sessions().';

create or replace function zmesh.maintain() returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
begin
    update zmesh.upkeep set last_run_at = zmesh.now()
     where only_row = (select only_row from zmesh.upkeep
                        where last_run_at is null or last_run_at <= zmesh.now() - interval '1 minute'
                           for update skip locked);
    if not found then
        return false;
    end if;
    perform zmesh.remember_horizon();
    begin   -- a failing step does not undo another
        perform zmesh.delete_rest(), zmesh.forget_streams(), zmesh.forget_builds(), zmesh.forget_ended_sessions();
    exception when lock_not_available or deadlock_detected then null;
    end;
    perform zmesh.renew_connection_limits();
    perform zmesh.end_owners_of_old_temporary_tables(current_setting('autovacuum_freeze_max_age')::bigint);
    perform zmesh_roles.drop_strays(1000);
    perform zmesh.keep_periods();   -- last, as its locks block many
    return true;
end $$;
comment on function zmesh.maintain() is
    'Runs once a minute, whoever calls it: creates partitions in advance, and drops and deletes what is past its '
    'retention. Returns whether it ran.';

grant execute on function zmesh.id_at(timestamptz) to zmesh_api;
grant execute on function zmesh.maintain() to zmesh_listener;
