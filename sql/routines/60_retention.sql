-- History and logs in partitions by time: made ahead, dropped when they have been kept long enough. Nothing here
-- locks what an enqueue needs, and nothing waits for a lock for longer than a moment: it comes back a minute later.

create or replace function zmesh.id_at(p_at timestamptz) returns uuid
language sql immutable parallel safe
return (substr(encode(int8send((extract(epoch from p_at) * 1000)::bigint), 'hex'), 5) || repeat('0', 20))::uuid;
comment on function zmesh.id_at(timestamptz) is 'The least id (UUID version 7) of a time.';

create or replace function zmesh.period_name(p_table text, p_starts_at timestamptz) returns text
language sql stable parallel safe
return p_table || to_char(p_starts_at at time zone 'UTC', '_YYYYMMDD');
comment on function zmesh.period_name(text, timestamptz) is 'Name of the partition of a table for a period.';

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
    -- Attached, not created in place: that would lock the whole table against everybody.
    execute format('alter table zmesh.%I attach partition zmesh.%I for values from (%L) to (%L)',
                   p_table, v_name, zmesh.id_at(p_starts_at), zmesh.id_at(p_ends_at));
end $$;
comment on function zmesh.make_partition(text, text, timestamptz, timestamptz) is
    'Makes the partition for a period, with the rows that came before it.';

create or replace function zmesh.make_periods() returns integer
language plpgsql as $$
declare
    -- About ten partitions whatever the retention: few to look into, and few days kept too long.
    v_span   interval := make_interval(days => (select ceil(retention_days / 10.0)::integer from zmesh.settings));
    v_today  timestamptz := date_trunc('day', zmesh.now(), 'UTC');
    v_starts timestamptz := (select max(ends_at) from zmesh.periods);
    v_count  integer := 0;
begin
    -- A day back at first: ids are made by clients, whose clocks may differ.
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
comment on function zmesh.make_periods() is 'Makes the partitions of the time to come; returns for how many periods.';

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
comment on function zmesh.drop_periods() is 'Drops the partitions whose time to be kept is over; returns for how many periods.';

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
    delete from zmesh.callbacks where ctid = any (array(
        select ctid from zmesh.callbacks where created_at < v_kept_since limit 10000));
    update zmesh.webhooks set sealed_previous_secret = null, previous_secret_valid_until = null
     where previous_secret_valid_until < zmesh.now();
end $$;
comment on function zmesh.delete_rest() is 'Deletes what is as old as dropped history and has no partitions, some at a time.';

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
    begin
        perform zmesh.make_periods();
    exception when lock_not_available then null;
    end;
    begin
        perform zmesh.drop_periods();
    exception when lock_not_available then null;
    end;
    perform zmesh.delete_rest();
    perform zmesh.forget_streams();
    return true;
end $$;
comment on function zmesh.maintain() is
    'Once a minute, whoever calls: makes partitions ahead, drops and deletes what has been kept long enough. Returns whether it did.';

select zmesh.make_periods();
