create or replace function zmesh.cron_field(p_text text, p_low integer, p_high integer, p_names text default '')
returns integer[]
language plpgsql immutable parallel safe set search_path = pg_catalog as $$
declare
    v_text   text := lower(p_text);
    v_item   text;
    v_part   text[];
    v_from   integer;
    v_to     integer;
    v_values integer[] := '{}';
    v_name   record;
begin
    for v_name in select name, n from unnest(string_to_array(p_names, ' ')) with ordinality as t (name, n) loop
        v_text := regexp_replace(v_text, '\m' || v_name.name || '\M', (v_name.n - 1 + p_low)::text, 'g');
    end loop;
    foreach v_item in array string_to_array(v_text, ',') loop
        v_part := regexp_match(v_item, '^(?:(\*)|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?$');
        if v_part is null then
            perform zmesh.fail('ZM422', format('cron field %L is not understood', p_text),
                               'Use *, numbers, ranges (1-5), steps (*/15) and lists (1,15).');
        end if;
        v_from := coalesce(v_part[2]::integer, p_low);
        v_to := coalesce(v_part[3]::integer,
                         case when v_part[1] is not null or v_part[4] is not null then p_high else v_from end);
        if v_from < p_low or v_to > p_high or v_from > v_to or v_part[4]::integer = 0 then
            perform zmesh.fail('ZM422', format('cron field %L is out of range %s to %s', p_text, p_low, p_high));
        end if;
        v_values := v_values || array(select generate_series(v_from, v_to, coalesce(v_part[4]::integer, 1)));
    end loop;
    if cardinality(v_values) = 0 then
        perform zmesh.fail('ZM422', 'a cron field is empty');
    end if;
    return array(select distinct v from unnest(v_values) v order by v);
end $$;
comment on function zmesh.cron_field(text, integer, integer, text) is 'The values one field of a cron expression stands for.';

create or replace function zmesh.cron_next(p_cron text, p_timezone text, p_after timestamptz) returns timestamptz
language plpgsql stable set search_path = pg_catalog as $$
declare
    v_text    text := case lower(trim(p_cron))
                          when '@hourly' then '0 * * * *' when '@daily' then '0 0 * * *'
                          when '@midnight' then '0 0 * * *' when '@weekly' then '0 0 * * 0'
                          when '@monthly' then '0 0 1 * *' when '@yearly' then '0 0 1 1 *'
                          when '@annually' then '0 0 1 1 *' else trim(p_cron) end;
    v_field   text[] := regexp_split_to_array(v_text, '\s+');
    v_minutes integer[];
    v_hours   integer[];
    v_days    integer[];
    v_months  integer[];
    v_weekdays integer[];
    v_either  boolean;
    v_start   timestamp;
    v_day     date;
    v_due     timestamptz;
begin
    if cardinality(v_field) <> 5 then
        perform zmesh.fail('ZM422', format('cron expression %L has %s fields instead of 5', p_cron, cardinality(v_field)),
                           'Write: minute hour day-of-month month day-of-week, such as 30 6 * * 1-5.');
    end if;
    v_minutes := zmesh.cron_field(v_field[1], 0, 59);
    v_hours := zmesh.cron_field(v_field[2], 0, 23);
    v_days := zmesh.cron_field(v_field[3], 1, 31);
    v_months := zmesh.cron_field(v_field[4], 1, 12, 'jan feb mar apr may jun jul aug sep oct nov dec');
    v_weekdays := zmesh.cron_field(v_field[5], 0, 7, 'sun mon tue wed thu fri sat');
    -- As in every cron since Vixie's: when both day fields are restricted, either may match.
    v_either := v_field[3] !~ '^\*' and v_field[5] !~ '^\*';
    v_start := date_trunc('minute', p_after at time zone p_timezone) + interval '1 minute';
    for v_offset in 0 .. 366 * 8 loop   -- 29 February comes at least once in eight years
        v_day := v_start::date + v_offset;
        continue when extract(month from v_day)::integer <> all (v_months);
        continue when case when v_either
            then extract(day from v_day)::integer <> all (v_days) and not zmesh.is_weekday(v_day, v_weekdays)
            else extract(day from v_day)::integer <> all (v_days) or not zmesh.is_weekday(v_day, v_weekdays) end;
        select min(t.due) into v_due
          from unnest(v_hours) h cross join unnest(v_minutes) m
          cross join lateral (select v_day + make_interval(hours => h, mins => m) as local) l
          cross join lateral (select l.local at time zone p_timezone as due) t
         where l.local >= v_start and t.due > p_after;
        if v_due is not null then
            return v_due;
        end if;
    end loop;
    perform zmesh.fail('ZM422', format('cron expression %L never comes due', p_cron));
    return null;
end $$;
comment on function zmesh.cron_next(text, text, timestamptz) is
    'When a cron expression next comes due, strictly after a time, in an IANA time zone.';

create or replace function zmesh.is_weekday(p_day date, p_weekdays integer[]) returns boolean
language sql immutable parallel safe
return extract(dow from p_day)::integer = any (p_weekdays)
       or (extract(dow from p_day) = 0 and 7 = any (p_weekdays));
comment on function zmesh.is_weekday(date, integer[]) is 'Whether a day is one of these weekdays; 0 and 7 are Sunday.';

create or replace function zmesh.prepare_schedule() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    perform from pg_timezone_names where name = new.timezone;
    if not found then
        perform zmesh.fail('ZM422', format('time zone %L is unknown', new.timezone),
                           'Use an IANA name such as Europe/Berlin or UTC.');
    end if;
    perform from zmesh.functions where id = new.function_id and project_id = new.project_id;
    if not found then
        perform zmesh.fail('ZM404', 'function does not exist in this project');
    end if;
    new.updated_at := zmesh.now();
    if tg_op = 'INSERT' or not old.enabled
        or (new.cron, new.timezone) is distinct from (old.cron, old.timezone) then
        new.next_due_at := zmesh.cron_next(new.cron, new.timezone, zmesh.now());
    end if;
    return new;
end $$;
comment on function zmesh.prepare_schedule() is 'Refuses a schedule that cannot fire, and sets when it is next due.';

create or replace trigger schedules_prepare
    before insert or update of project_id, function_id, cron, timezone, enabled on zmesh.schedules
    for each row execute function zmesh.prepare_schedule();

create or replace function zmesh.fire_due_schedules() returns integer
language plpgsql security definer set search_path = pg_catalog as $$
declare
    v_now   timestamptz := zmesh.now();
    v_fired integer;
begin
    with due as materialized (
        select s.id, s.project_id, s.payload, s.cron, s.timezone, s.missed, s.next_due_at, f.slug,
               zmesh.new_id() as invocation_id,
               case when not f.enabled then 'skipped_disabled'
                    when s.missed = 'skip' and s.next_due_at < v_now - interval '90 seconds' then 'skipped_missed'
                    when s.overlap = 'skip' and exists (select from zmesh.queue q where q.schedule_id = s.id)
                        then 'skipped_overlap'
                    else 'fired' end as outcome
          from zmesh.schedules s join zmesh.functions f on f.id = s.function_id
         where s.enabled and s.next_due_at <= v_now
           for update of s skip locked
    ), runs as (
        insert into zmesh.schedule_runs (schedule_id, due_at, invocation_id, outcome, created_at)
        select id, next_due_at, case when outcome = 'fired' then invocation_id end, outcome, v_now from due
            on conflict do nothing
        returning invocation_id
    ), fired as (
        insert into zmesh.invocations (id, project_id, function, payload, source, schedule_id)
        select d.invocation_id, d.project_id, d.slug, d.payload, 'schedule', d.id
          from due d join runs r on r.invocation_id = d.invocation_id
    ), moved as (
        update zmesh.schedules s
           set next_due_at = zmesh.cron_next(d.cron, d.timezone,
                                             case d.missed when 'all' then d.next_due_at else v_now end)
          from due d where s.id = d.id
    )
    select count(*) into v_fired from due;
    return v_fired;
end $$;
comment on function zmesh.fire_due_schedules() is 'Fires each due schedule once, in one statement, and sets when it is next due.';

create or replace function zmesh.tick() returns integer
language plpgsql security definer set search_path = pg_catalog as $$
declare
    v_count integer;
    v_total integer := 0;
begin
    update zmesh.clock set last_tick_at = zmesh.now();
    for v_round in 1 .. 1000 loop   -- more than one round only for schedules that fire each missed time
        v_count := zmesh.fire_due_schedules();
        exit when v_count = 0;
        v_total := v_total + v_count;
    end loop;
    return v_total;
end $$;
comment on function zmesh.tick() is
    'Fires every schedule that is due. Any number of clocks may call it: each due time fires exactly once.';

create or replace function zmesh.listener_tick() returns integer
language plpgsql security definer set search_path = pg_catalog as $$
begin
    perform from zmesh.clock
      where source = 'pg_cron' and last_tick_at > zmesh.now() - interval '75 seconds';
    if found then
        return 0;
    end if;
    return zmesh.tick();
end $$;
comment on function zmesh.listener_tick() is 'A listener as the clock: ticks where pg_cron does not, or has stopped to.';

create or replace function zmesh.use_pg_cron() returns boolean
language plpgsql set search_path = pg_catalog as $$
begin
    if to_regnamespace('cron') is null then
        update zmesh.clock set source = 'listener';
        return false;
    end if;
    execute $cron$
        select cron.schedule_in_database('zmesh tick', '* * * * *', 'select zmesh.tick()',
                                         current_database(), 'zmesh_listener') $cron$;
    update zmesh.clock set source = 'pg_cron';
    return true;
end $$;
comment on function zmesh.use_pg_cron() is
    'Makes pg_cron the clock where the extension is installed; called by every migration. Returns whether it is.';
