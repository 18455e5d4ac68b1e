-- Schedules fire what is due, each due time once, however many clocks call.

create or replace function zmesh.record_skipped_due_times(p_schedule zmesh.schedules, p_now timestamptz) returns void
language plpgsql as $$
declare
    v_last timestamptz;
begin
    if p_schedule.next_due_at <= p_now then
        v_last := zmesh.last_due(p_schedule.plan, p_schedule.timezone, p_schedule.next_due_at, p_now);
        insert into zmesh.schedule_runs (schedule_id, due_at, last_due_at, outcome, created_at)
        values (p_schedule.id, p_schedule.next_due_at, nullif(v_last, p_schedule.next_due_at),
                case when p_schedule.enabled then 'skipped_changed' else 'skipped_paused' end, p_now)
            on conflict do nothing;
    end if;
end $$;
comment on function zmesh.record_skipped_due_times(zmesh.schedules, timestamptz) is
    'Records the due times that a schedule leaves behind when it goes on after a pause, or is changed.';

create or replace function zmesh.prepare_schedule() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_old  zmesh.schedules := case tg_op when 'UPDATE' then old end;
    v_slug text;
begin
    if new.project_id is null then
        perform zmesh.fail('ZM403', 'this role belongs to no project',
                           'Connect as the project''s role, or name the project_id.');
    end if;
    if new.function_id is null or new.function is distinct from v_old.function then
        select f.id into new.function_id from zmesh.functions f
         where f.project_id = new.project_id and f.slug = new.function;
    end if;
    select f.slug into v_slug from zmesh.functions f
     where f.id = new.function_id and f.project_id = new.project_id;
    if not found then
        perform zmesh.fail('ZM404', case when new.function is null then 'function does not exist in this project'
            else format('function "%s" does not exist in this project', new.function) end,
            'Deploy it first, or look up its slug: zmesh functions list');
    end if;
    -- Not a constraint: that would be looked at, and the payload unpacked, whenever the schedule fires.
    if octet_length(new.payload::text) > 8388608 then
        perform zmesh.fail('check_violation', 'the payload is larger than 8 MiB',
                           'Put the data into a table and send what identifies it.', 'schedules_payload_is_at_most_8_mib',
                           'payload');
    end if;
    new.function := v_slug;
    new.name := coalesce(new.name, left(v_slug, 90) || '-' || left(md5(gen_random_uuid()::text), 6));
    -- The list of time zones is slow to read: only for one that no schedule has yet.
    if not exists (select from zmesh.schedules s where s.timezone = new.timezone) then
        perform zmesh.check_timezone(new.timezone);
    end if;
    new.cron := zmesh.trimmed(new.cron);
    new.plan := zmesh.cron_plan(new.cron);
    new.updated_at := zmesh.now();
    if v_old.id is null or not v_old.enabled
        or (new.cron, new.timezone) is distinct from (v_old.cron, v_old.timezone) then
        new.next_due_at := zmesh.next_due(new.plan, new.timezone, new.updated_at);
        perform zmesh.record_skipped_due_times(v_old, new.updated_at);
    end if;
    return new;
end $$;
comment on function zmesh.prepare_schedule() is 'Refuses a schedule that cannot fire, and sets when it is next due.';

create or replace trigger schedules_prepare
    before insert or update of project_id, function_id, function, name, cron, timezone, payload, overlap, missed, enabled
    on zmesh.schedules
    for each row execute function zmesh.prepare_schedule();

create or replace function zmesh.create_schedule(
    p_project_id uuid, p_function_id uuid, p_name text, p_cron text, p_timezone text, p_payload jsonb, p_overlap text,
    p_missed text, p_enabled boolean)
returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
begin
    insert into zmesh.schedules (project_id, function_id, name, cron, timezone, payload, overlap, missed, enabled)
    values (p_project_id, p_function_id, p_name, p_cron, p_timezone, p_payload, p_overlap, p_missed, p_enabled)
    returning id into v_id;
    return v_id;
end $$;
comment on function zmesh.create_schedule(uuid, uuid, text, text, text, jsonb, text, text, boolean) is
    'Creates a schedule and returns its id.';

create or replace function zmesh.change_schedule(
    p_id uuid, p_function_id uuid, p_name text, p_cron text, p_timezone text, p_payload jsonb, p_overlap text,
    p_missed text, p_enabled boolean)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.schedules
       set function_id = coalesce(p_function_id, function_id), name = coalesce(p_name, name),
           cron = coalesce(p_cron, cron), timezone = coalesce(p_timezone, timezone),
           payload = coalesce(p_payload, payload), overlap = coalesce(p_overlap, overlap),
           missed = coalesce(p_missed, missed), enabled = coalesce(p_enabled, enabled)
     where id = p_id;
end $$;
comment on function zmesh.change_schedule(uuid, uuid, text, text, text, jsonb, text, text, boolean) is
    'Changes a schedule; null leaves a column as it is.';

create or replace function zmesh.delete_schedule(p_project_id uuid, p_id uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from zmesh.schedules where project_id = p_project_id and id = p_id;
    return found;
end $$;
comment on function zmesh.delete_schedule(uuid, uuid) is 'Deletes a schedule of a project; returns whether there was one.';

create or replace function zmesh.bound_schedules(p_project_ids uuid[]) returns void
language plpgsql as $$
declare
    v_many record;
begin
    -- One at a time, so that each sees what the others have added.
    perform from zmesh.projects p where p.id = any (p_project_ids) order by p.id for no key update;
    select n.schedules, n.bytes, z.max_schedules, z.max_schedule_payloads_mb as max_mb into v_many
      from zmesh.settings z,
           (select count(*) as schedules, sum(pg_column_size(s.payload)) as bytes
              from zmesh.schedules s where s.project_id = any (p_project_ids) group by s.project_id) n
     where n.schedules > z.max_schedules or n.bytes > z.max_schedule_payloads_mb * 1048576::bigint limit 1;
    if v_many.schedules > v_many.max_schedules then
        perform zmesh.fail('check_violation', format('a project can have %s schedules', v_many.max_schedules),
                           'Delete some, or let one schedule start a function that looks up what is due.',
                           'schedules_of_a_project_are_bounded');
    elsif v_many.schedules is not null then
        perform zmesh.fail('check_violation',
                           format('the payloads of a project''s schedules can have %s MiB together', v_many.max_mb),
                           'Put the data into a table and send what identifies it.',
                           'schedules_of_a_project_are_bounded', 'payload');
    end if;
end $$;
comment on function zmesh.bound_schedules(uuid[]) is
    'Refuses more schedules, or larger payloads of them, than a project may have: all of them may come due in one tick.';

create or replace function zmesh.bound_new_schedules() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform zmesh.bound_schedules(array(select distinct n.project_id from new_rows n));
    return null;
end $$;
comment on function zmesh.bound_new_schedules() is 'Bounds what projects add, once per statement.';

create or replace trigger schedules_bound_new after insert on zmesh.schedules
    referencing new table as new_rows for each statement execute function zmesh.bound_new_schedules();

create or replace function zmesh.bound_changed_schedule() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform zmesh.bound_schedules(array[new.project_id]);
    return null;
end $$;
comment on function zmesh.bound_changed_schedule() is 'Bounds what a project puts into a schedule.';

-- For each row, since triggers of single columns see no table of rows; a tick names neither column.
create or replace trigger schedules_bound_changed after update of payload, project_id on zmesh.schedules
    for each row execute function zmesh.bound_changed_schedule();

create or replace function zmesh.missed_limit() returns integer
language sql immutable parallel safe
return 100;
comment on function zmesh.missed_limit() is 'How many missed due times a schedule that asks for all of them makes up for.';

create or replace function zmesh.missed_after() returns interval
language sql immutable parallel safe
return interval '90 seconds';
comment on function zmesh.missed_after() is 'A due time that is older has been missed: a clock that runs comes by each minute.';

create or replace function zmesh.verdict(p_enabled boolean, p_late boolean, p_busy boolean) returns text
language sql immutable parallel safe
return case when not p_enabled then 'skipped_disabled' when p_late then 'skipped_missed'
            when p_busy then 'skipped_overlap' else 'fired' end;
comment on function zmesh.verdict(boolean, boolean, boolean) is 'What becomes of a due time.';

-- Not the schedule's row: as a value, it would carry its payload, fetched and unpacked.
create or replace function zmesh.missed_times(
    p_plan zmesh.cron_plan, p_timezone text, p_first timestamptz, p_missed text, p_overlap text,
    p_enabled boolean, p_busy boolean, p_now timestamptz)
returns table (due_at timestamptz, last_due_at timestamptz, outcome text)
language plpgsql stable rows 2 as $$
#variable_conflict use_variable
declare
    v_due    timestamptz := zmesh.last_due(p_plan, p_timezone, p_first, p_now);
    v_limit  integer := case p_missed when 'all' then zmesh.missed_limit() else 1 end;
    v_chosen timestamptz[] := array[v_due];
begin
    while v_due > p_first and cardinality(v_chosen) < v_limit loop   -- the latest ones are worth most
        v_due := zmesh.last_due(p_plan, p_timezone, p_first, v_due - interval '1 microsecond');
        v_chosen := v_due || v_chosen;
    end loop;
    if v_due > p_first then
        due_at := p_first;
        last_due_at := nullif(zmesh.last_due(p_plan, p_timezone, p_first,
                                             v_due - interval '1 microsecond'), p_first);
        outcome := 'skipped_missed';
        return next;
    end if;
    last_due_at := null;
    foreach due_at in array v_chosen loop
        outcome := zmesh.verdict(p_enabled, p_missed = 'skip' and due_at < p_now - zmesh.missed_after(), p_busy);
        p_busy := p_busy or (p_overlap = 'skip' and outcome = 'fired');
        return next;
    end loop;
end $$;
comment on function zmesh.missed_times(zmesh.cron_plan, text, timestamptz, text, text, boolean, boolean, timestamptz) is
    'What becomes of each due time of a schedule that has several: one row stands for those that go unmade.';

create or replace function zmesh.fire_due_schedules(p_intervals_only boolean, p_limit integer, p_only uuid default null)
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    v_now   timestamptz := zmesh.now();
    v_count integer;
begin
    with due as materialized (
        select s.id, s.project_id, s.function_id, s.function, s.payload, s.plan, s.timezone, s.missed, s.overlap,
               s.next_due_at, f.enabled, f.max_attempts,
               case when exists (select from zmesh.function_aliases a where a.function_id = f.id and a.name = 'live')
                    then zmesh.version_by_alias(f.id, 'live') end as live,
               zmesh.next_due(s.plan, s.timezone, s.next_due_at) as following,
               s.overlap = 'skip' and exists (select from zmesh.queue q where q.schedule_id = s.id) as busy
          from zmesh.schedules s join zmesh.functions f on f.id = s.function_id
         where s.enabled and s.next_due_at <= v_now
           and (not p_intervals_only or (s.plan).every_seconds is not null)
           and (p_only is null or s.id = p_only)
         order by s.next_due_at
         limit p_limit
           for update of s skip locked
    ), times as materialized (
        select d.id, d.next_due_at as due_at, null::timestamptz as last_due_at,
               zmesh.verdict(d.enabled, d.missed = 'skip' and d.next_due_at < v_now - zmesh.missed_after(), d.busy) as outcome
          from due d where d.following > v_now
        union all
        select d.id, t.due_at, t.last_due_at, t.outcome
          from due d cross join lateral
               zmesh.missed_times(d.plan, d.timezone, d.next_due_at, d.missed, d.overlap, d.enabled, d.busy, v_now) t
         where d.following <= v_now
    ), runs as (
        insert into zmesh.schedule_runs (schedule_id, due_at, last_due_at, invocation_id, outcome, created_at)
        select t.id, t.due_at, t.last_due_at, case t.outcome when 'fired' then zmesh.new_id() end, t.outcome, v_now
          from times t
            on conflict do nothing
        returning schedule_id, due_at, invocation_id
    ), fired as (   -- with what zmesh.prepare_invocation() would add, so that nothing is looked up twice
        insert into zmesh.invocations (id, project_id, function_id, function, schedule_id, lane, created_at, run_at,
                                       due, max_attempts, source, payload, version, pinned, alias)
        select r.invocation_id, d.project_id, d.function_id, d.function, d.id,
               zmesh.lane(d.function_id, null), v_now, r.due_at, true, d.max_attempts, 'schedule', d.payload,
               d.live, d.live is not null, case when d.live is not null then 'live' end
          from runs r join due d on d.id = r.schedule_id
         where r.invocation_id is not null
         order by r.due_at
    )
    update zmesh.schedules s
       set next_due_at = case when d.following > v_now then d.following
                              else zmesh.next_due(d.plan, d.timezone, v_now) end
      from due d where s.id = d.id;
    get diagnostics v_count = row_count;
    return v_count;
end $$;
comment on function zmesh.fire_due_schedules(boolean, integer, uuid) is
    'Fires due schedules in one statement, and sets when they are next due; returns how many were due.';

create or replace function zmesh.next_due_or_same(p_schedule zmesh.schedules, p_now timestamptz) returns timestamptz
language plpgsql stable as $$
begin
    return zmesh.next_due(p_schedule.plan, p_schedule.timezone, p_now);
exception when others then
    return p_schedule.next_due_at;   -- its failure shows when it comes due
end $$;
comment on function zmesh.next_due_or_same(zmesh.schedules, timestamptz) is
    'When a schedule is next due after a time, or what it said before where that cannot be told.';

create or replace function zmesh.detect_clock_set_back() returns void
language plpgsql as $$
declare
    v_now  timestamptz := zmesh.now();
    v_seen timestamptz := (select c.seen_at from zmesh.clock c);
begin
    if v_seen > v_now then   -- what would now wait for the wrong time comes due at the right one
        delete from zmesh.schedule_runs r where r.due_at > v_now and r.outcome like 'skipped%';
        update zmesh.schedule_runs r set last_due_at = v_now where r.last_due_at > v_now and r.due_at < v_now;
        update zmesh.schedules s set next_due_at = zmesh.next_due_or_same(s, v_now)
         where s.enabled and s.next_due_at > v_now;
    end if;
    if v_seen is null or v_seen > v_now or v_seen <= v_now - interval '1 minute' then
        update zmesh.clock set seen_at = v_now;
    end if;
end $$;
comment on function zmesh.detect_clock_set_back() is
    'Notices a clock that was set back, within a minute: what it skipped while it was ahead comes due after all.';

create or replace function zmesh.pause_broken_schedule(p_schedule zmesh.schedules, p_error text) returns void
language plpgsql as $$
begin
    update zmesh.schedules set enabled = false, next_due_at = null where id = p_schedule.id;
    insert into zmesh.schedule_runs (schedule_id, due_at, outcome, error, created_at)
    values (p_schedule.id, p_schedule.next_due_at, 'skipped_failed', p_error, zmesh.now())
        on conflict do nothing;
    raise warning 'schedule % is paused: %', p_schedule.id, p_error;
end $$;
comment on function zmesh.pause_broken_schedule(zmesh.schedules, text) is
    'Pauses a schedule that cannot fire any more: its time zone has gone with an update of the system, for one.';

create or replace function zmesh.fire_singly(p_intervals_only boolean) returns integer
language plpgsql as $$
declare
    v_schedule zmesh.schedules;
    v_count    integer := 0;
begin
    loop
        select s.* into v_schedule from zmesh.schedules s
         where s.enabled and s.next_due_at <= zmesh.now()
           and (not p_intervals_only or (s.plan).every_seconds is not null)
         order by s.next_due_at limit 1 for update skip locked;
        if not found then
            return v_count;
        end if;
        v_count := v_count + 1;
        begin
            perform zmesh.fire_due_schedules(p_intervals_only, 1, v_schedule.id);
        exception when others then
            if sqlstate ~ '^(40|53|57|58|XX)' then   -- the server is to blame, and not the schedule
                raise;
            end if;
            perform zmesh.pause_broken_schedule(v_schedule, sqlerrm);
            return v_count;
        end;
    end loop;
end $$;
comment on function zmesh.fire_singly(boolean) is
    'Fires due schedules one by one, up to the one that makes all fail, which is paused; returns how many it dealt with.';

create or replace function zmesh.fire_all_due(p_intervals_only boolean) returns integer
language plpgsql as $$
declare
    v_count integer;
    v_full  integer := 10000;
    v_total integer := 0;
begin
    perform zmesh.detect_clock_set_back();
    loop
        begin
            v_count := zmesh.fire_due_schedules(p_intervals_only, v_full);
            exit when v_count < v_full;
        exception when others then   -- one schedule must not stop those of everybody
            v_count := zmesh.fire_singly(p_intervals_only);
            exit when v_count = 0;
        end;
        v_total := v_total + v_count;
    end loop;
    return v_total + v_count;
end $$;
comment on function zmesh.fire_all_due(boolean) is 'Fires every schedule that is due, or only those with intervals of seconds.';

create or replace function zmesh.tick() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.clock set cron_ticked_at = zmesh.now();
    return zmesh.fire_all_due(false);
end $$;
comment on function zmesh.tick() is
    'Fires every schedule that is due: what pg_cron calls. Any number of clocks may: each due time fires exactly once.';

create or replace function zmesh.listener_tick() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    return zmesh.fire_all_due(p_intervals_only => exists (
        select from zmesh.clock where source = 'pg_cron' and cron_ticked_at > zmesh.now() - interval '75 seconds'));
end $$;
comment on function zmesh.listener_tick() is
    'A listener as the clock, each second: it leaves whole minutes to pg_cron, unless that is absent or has stopped.';

create or replace function zmesh.prepare_run_now() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.due_at := zmesh.now();
    new.created_at := new.due_at;
    new.outcome := 'run_now';
    new.invocation_id := zmesh.new_id();
    insert into zmesh.invocations (id, project_id, function, payload, source, schedule_id)
    select new.invocation_id, s.project_id, s.function, s.payload, 'schedule', s.id
      from zmesh.schedules s where s.id = new.schedule_id;
    return new;
end $$;
comment on function zmesh.prepare_run_now() is 'Invokes what a schedule would, when a run without an outcome is inserted.';

create or replace trigger schedule_runs_prepare before insert on zmesh.schedule_runs
    for each row when (new.outcome is null) execute function zmesh.prepare_run_now();

create or replace function zmesh.run_schedule(p_schedule_id uuid) returns uuid
language plpgsql as $$
declare
    v_invocation_id uuid;
begin
    perform from zmesh.schedules s where s.id = p_schedule_id;
    if not found then
        perform zmesh.fail('ZM404', 'schedule does not exist');
    end if;
    insert into zmesh.schedule_runs (schedule_id) values (p_schedule_id) returning invocation_id into v_invocation_id;
    return v_invocation_id;
end $$;
comment on function zmesh.run_schedule(uuid) is
    'Invokes what a schedule would, now and whatever its state; returns the invocation.';

create or replace function zmesh.use_pg_cron() returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if to_regnamespace('cron') is null then
        update zmesh.clock set source = 'listener';
        return false;
    end if;
    -- A job that came with a backup still names the database that it was made in, and scheduling does not change that.
    execute $cron$
        select cron.unschedule(jobid) from cron.job
         where jobname = 'zmesh tick' and username = 'zmesh_listener'
           and (database <> current_database() or nodeport <> current_setting('port')::integer) $cron$;
    execute $cron$
        select cron.schedule_in_database('zmesh tick', '* * * * *', 'select zmesh.tick()',
                                         current_database(), 'zmesh_listener') $cron$;
    begin
        grant usage on schema cron to zmesh_listener;
        grant select, delete on cron.job_run_details to zmesh_listener;
    exception when insufficient_privilege then null;   -- the extension is another role's: forget_ticks() sees what it may
    end;
    update zmesh.clock set source = 'pg_cron';
    return true;
end $$;
comment on function zmesh.use_pg_cron() is
    'Makes pg_cron the clock where the extension is installed; called by every migration. Returns whether it is.';

create or replace function zmesh.forget_ticks() returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$   -- as the caller: pg_cron shows everybody only their own rows
declare
    v_count bigint := 0;
begin
    if to_regclass('cron.job_run_details') is not null and has_schema_privilege('cron', 'usage')
       and has_table_privilege('cron.job_run_details', 'select, delete') then
        execute $cron$
            delete from cron.job_run_details
             where username = current_user and command = 'select zmesh.tick()'
               and coalesce(end_time, start_time) < now() - interval '1 day' $cron$;
        get diagnostics v_count = row_count;
    end if;
    return v_count;
end $$;
comment on function zmesh.forget_ticks() is
    'Deletes pg_cron''s run history of ticks older than a day, which it never does itself; for the role that owns the job.';

grant execute on function zmesh.create_schedule(uuid, uuid, text, text, text, jsonb, text, text, boolean),
      zmesh.change_schedule(uuid, uuid, text, text, text, jsonb, text, text, boolean),
      zmesh.delete_schedule(uuid, uuid) to zmesh_api;
grant execute on function zmesh.run_schedule(uuid) to zmesh_api, zmesh_project;
grant execute on function zmesh.tick(), zmesh.listener_tick(), zmesh.forget_ticks() to zmesh_listener;
