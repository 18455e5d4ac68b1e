-- When a cron expression comes due. Time zones follow Debian's cron: a job at fixed times that falls into the hour
-- skipped in spring runs right after it, and runs once in the hour repeated in autumn; a job whose minute or hour
-- field begins with * follows the local clock: it does not run in a skipped hour, and runs twice in a repeated one.

create or replace function zmesh.cron_mask(p_text text, p_low integer, p_high integer, p_names text default '')
returns bigint
language plpgsql immutable parallel safe as $$
declare
    v_text text := lower(p_text);
    v_item text;
    v_part text[];
    v_from integer;
    v_to   integer;
    v_step integer;
    v_mask bigint := 0;
    v_name record;
begin
    if v_text ~ '[a-z]' then
        if p_names like 'sun %' then   -- at the end of a range, Sunday is the last day of the week
            v_text := regexp_replace(v_text, '(?<!sun)-sun\M', '-7', 'g');
        end if;
        for v_name in select name, n from unnest(string_to_array(p_names, ' ')) with ordinality as t (name, n) loop
            v_text := regexp_replace(v_text, '\m' || v_name.name || '\M', (v_name.n - 1 + p_low)::text, 'g');
        end loop;
    end if;
    foreach v_item in array string_to_array(v_text, ',') loop
        v_part := regexp_match(v_item, '^(?:(\*)|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,3}))?$');
        if v_part is null then
            perform zmesh.fail('ZM422', format('cron field %L is not understood', p_text),
                'Use *, numbers, ranges (1-5), steps (*/15) and lists (1,15)'
                || case p_names when '' then '.' else format('; names are %s.', replace(p_names, ' ', ', ')) end,
                p_column => 'cron');
        end if;
        v_from := coalesce(v_part[2]::integer, p_low);
        v_to := coalesce(v_part[3]::integer,
                         case when v_part[1] is not null or v_part[4] is not null then p_high else v_from end);
        v_step := coalesce(v_part[4]::integer, 1);
        if v_from > v_to and v_from <= p_high and v_to >= p_low then
            perform zmesh.fail('ZM422', format('cron field %L has a range that ends before it starts', p_text),
                               format('Write two ranges: %s-%s,%s-%s.', v_from, p_high, p_low, v_to),
                               p_column => 'cron');
        end if;
        if v_from < p_low or v_to > p_high then
            perform zmesh.fail('ZM422', format('cron field %L is out of range %s to %s', p_text, p_low, p_high),
                               p_column => 'cron');
        end if;
        if v_step not between 1 and p_high then
            perform zmesh.fail('ZM422', format('cron field %L has a step that does not fit into %s to %s',
                                               p_text, p_low, p_high),
                               'A step counts from the start of its field anew: */45 is minutes 0 and 45 of each hour.',
                               p_column => 'cron');
        end if;
        for v_value in v_from .. v_to by v_step loop
            v_mask := v_mask | (1::bigint << v_value);
        end loop;
    end loop;
    return v_mask;
end $$;
comment on function zmesh.cron_mask(text, integer, integer, text) is
    'The values that one field of a cron expression matches, as a bit mask.';

create or replace function zmesh.trimmed(p_text text) returns text
language sql immutable parallel safe
return pg_catalog.btrim(p_text, E' \t\r\n\f\v\u00a0\ufeff');
comment on function zmesh.trimmed(text) is
    'The text without surrounding white space, such as the newline of the file it came from.';

create or replace function zmesh.cron_plan(p_cron text) returns zmesh.cron_plan
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    v_text    text := coalesce(lower(zmesh.trimmed(p_cron)), '');
    v_seconds text := substring(v_text from '^(\d{1,5}) seconds?$');
    v_field   text[];
    v_plan    zmesh.cron_plan;
begin
    if v_seconds is not null then
        if v_seconds::integer not between 1 and 86400 then
            perform zmesh.fail('ZM422', format('cron expression %L is not 1 to 86400 seconds', p_cron),
                               p_column => 'cron');
        end if;
        v_plan.every_seconds := v_seconds::integer;
        return v_plan;
    end if;
    v_text := case v_text
                  when '@hourly' then '0 * * * *' when '@daily' then '0 0 * * *' when '@midnight' then '0 0 * * *'
                  when '@weekly' then '0 0 * * 0' when '@monthly' then '0 0 1 * *' when '@yearly' then '0 0 1 1 *'
                  when '@annually' then '0 0 1 1 *' else v_text end;
    if v_text like '@%' then
        perform zmesh.fail('ZM422', format('cron macro %L is unknown', p_cron),
                           'Use @hourly, @daily, @weekly, @monthly or @yearly; for intervals, 30 seconds or */5 * * * *.',
                           p_column => 'cron');
    end if;
    v_field := regexp_split_to_array(v_text, '\s+');
    if cardinality(v_field) <> 5 then
        perform zmesh.fail('ZM422',
            format('cron expression %L has %s fields instead of 5', p_cron, case v_text when '' then 0 else cardinality(v_field) end),
            'Write: minute hour day-of-month month day-of-week, such as 30 6 * * 1-5; or @daily; or 30 seconds.',
            p_column => 'cron');
    end if;
    v_plan.minutes := zmesh.cron_mask(v_field[1], 0, 59);
    v_plan.hours := zmesh.cron_mask(v_field[2], 0, 23);
    v_plan.days := zmesh.cron_mask(v_field[3], 1, 31);
    v_plan.months := zmesh.cron_mask(v_field[4], 1, 12, 'jan feb mar apr may jun jul aug sep oct nov dec');
    v_plan.weekdays := zmesh.cron_mask(v_field[5], 0, 7, 'sun mon tue wed thu fri sat');
    v_plan.weekdays := (v_plan.weekdays | (v_plan.weekdays >> 7)) & 127;   -- 0 and 7 are Sunday
    -- As in every cron since Vixie's: when both day fields are restricted, either may match.
    v_plan.either_day := v_field[3] !~ '^\*' and v_field[5] !~ '^\*';
    v_plan.by_wall_clock := v_field[1] ~ '^\*' or v_field[2] ~ '^\*';
    return v_plan;
end $$;
comment on function zmesh.cron_plan(text) is
    'Parses a cron expression, a macro such as @daily, or an interval such as 30 seconds.';

create or replace function zmesh.lowest_bit(p_mask bigint) returns integer
language sql immutable parallel safe
return bit_count(((p_mask & -p_mask) - 1)::bit(64))::integer;
comment on function zmesh.lowest_bit(bigint) is 'Number of the lowest set bit.';

create or replace function zmesh.next_local(p_plan zmesh.cron_plan, p_from timestamp) returns timestamp
language plpgsql immutable parallel safe as $$
declare
    v_day    date := p_from::date;
    v_hour   integer := extract(hour from p_from);
    v_minute integer := extract(minute from p_from);
    v_last   date := v_day + 18263;   -- fifty years: 29 February may fall on a given weekday only after forty
    v_mask   bigint;
    v_is_day boolean;
begin
    while v_day <= v_last loop
        if (p_plan.months >> extract(month from v_day)::integer) & 1 = 0 then
            v_day := (date_trunc('month', v_day::timestamp) + interval '1 month')::date;
            v_hour := 0;
            v_minute := 0;
            continue;
        end if;
        v_is_day := (p_plan.days >> extract(day from v_day)::integer) & 1 = 1;
        if v_is_day is distinct from p_plan.either_day then   -- the weekday decides
            v_is_day := (p_plan.weekdays >> extract(dow from v_day)::integer) & 1 = 1;
        end if;
        if v_is_day then
            v_mask := case when (p_plan.hours >> v_hour) & 1 = 1 then p_plan.minutes >> v_minute << v_minute else 0 end;
            if v_mask <> 0 then
                return v_day + make_time(v_hour, zmesh.lowest_bit(v_mask), 0);
            end if;
            v_mask := p_plan.hours >> (v_hour + 1) << (v_hour + 1);
            if v_mask <> 0 then
                return v_day + make_time(zmesh.lowest_bit(v_mask), zmesh.lowest_bit(p_plan.minutes), 0);
            end if;
        end if;
        v_day := v_day + 1;
        v_hour := 0;
        v_minute := 0;
    end loop;
    perform zmesh.fail('ZM422', 'cron expression never comes due', 'No month has such a day.', p_column => 'cron');
    return null;
end $$;
comment on function zmesh.next_local(zmesh.cron_plan, timestamp) is
    'The first local time, not before this one, that the cron expression matches.';

create or replace function zmesh.offset_change(p_timezone text, p_from timestamptz, p_to timestamptz) returns timestamptz
language plpgsql stable parallel safe as $$
declare
    v_from timestamptz := p_from;
    v_to   timestamptz := p_to;
    v_mid  timestamptz;
begin
    while v_to - v_from > interval '1 minute' loop
        v_mid := v_from + make_interval(mins => (extract(epoch from v_to - v_from) / 120)::integer);
        if (v_mid at time zone p_timezone) - (p_from at time zone p_timezone) = v_mid - p_from then
            v_from := v_mid;
        else
            v_to := v_mid;
        end if;
    end loop;
    return v_to;
end $$;
comment on function zmesh.offset_change(text, timestamptz, timestamptz) is
    'The minute in which a zone''s offset from UTC changes, given two times between which it changes once.';

create or replace function zmesh.first_instant(p_local timestamp, p_timezone text) returns timestamptz
language plpgsql stable parallel safe as $$
declare
    v_at    timestamptz := p_local at time zone p_timezone;
    v_eve   timestamptz := v_at - interval '24 hours';
    v_first timestamptz;
begin
    if ((v_at + interval '24 hours') at time zone p_timezone) - (v_eve at time zone p_timezone) = interval '48 hours' then
        return v_at;
    end if;
    v_first := (p_local - ((v_eve at time zone p_timezone) - (v_eve at time zone 'UTC'))) at time zone 'UTC';
    return case p_local when v_first at time zone p_timezone then v_first
                        when v_at at time zone p_timezone then v_at
                        else zmesh.offset_change(p_timezone, v_eve, v_at) end;
end $$;
comment on function zmesh.first_instant(timestamp, text) is
    'When a clock in this zone first shows this time; if it never does, the end of the skipped hour.';

create or replace function zmesh.next_local_minute(p_plan zmesh.cron_plan, p_timezone text, p_after timestamptz)
returns timestamptz
language plpgsql stable parallel safe as $$
declare
    v_from    timestamptz := date_trunc('minute', p_after) + interval '1 minute';
    v_local   timestamp;
    v_due     timestamptz;
    v_morrow  timestamptz;
    v_change  timestamptz;
begin
    loop
        v_local := v_from at time zone p_timezone;
        -- With the offset of v_from. In UTC, since days do not always have 24 hours in the session's time zone.
        v_due := ((v_from at time zone 'UTC') + (zmesh.next_local(p_plan, v_local) - v_local)) at time zone 'UTC';
        v_morrow := v_from + interval '24 hours';
        if (v_morrow at time zone p_timezone) - v_local = interval '24 hours' then
            if v_due <= v_morrow then
                return v_due;
            end if;
            -- Offsets differ by up to 26 hours, so the clock may show the time that much earlier than v_due.
            v_from := greatest(v_morrow, v_due - interval '27 hours');
        else
            v_change := zmesh.offset_change(p_timezone, v_from, v_morrow);
            if v_due < v_change then
                return v_due;
            end if;
            v_from := v_change;
        end if;
    end loop;
end $$;
comment on function zmesh.next_local_minute(zmesh.cron_plan, text, timestamptz) is
    'The first minute after a time in which a clock in this zone shows a time that the cron expression matches.';

create or replace function zmesh.next_due(p_plan zmesh.cron_plan, p_timezone text, p_after timestamptz)
returns timestamptz
language plpgsql stable parallel safe as $$
declare
    v_local timestamp;
    v_due   timestamptz;
begin
    if p_plan.every_seconds is not null then
        return to_timestamp((div(extract(epoch from p_after), p_plan.every_seconds) + 1) * p_plan.every_seconds);
    end if;
    if p_plan.by_wall_clock then
        return zmesh.next_local_minute(p_plan, p_timezone, p_after);
    end if;
    v_local := date_trunc('minute', p_after at time zone p_timezone);
    loop
        v_local := zmesh.next_local(p_plan, v_local + interval '1 minute');
        v_due := zmesh.first_instant(v_local, p_timezone);
        if v_due > p_after then
            return v_due;
        end if;
    end loop;
end $$;
comment on function zmesh.next_due(zmesh.cron_plan, text, timestamptz) is
    'When the parsed cron expression next comes due, strictly after a time.';

create or replace function zmesh.last_due(p_plan zmesh.cron_plan, p_timezone text, p_due timestamptz, p_until timestamptz)
returns timestamptz
language plpgsql stable parallel safe as $$
declare
    v_found timestamptz := p_due;
    v_next  timestamptz;
    v_from  timestamptz := p_due;   -- there is a due time after v_from and not after p_until, or v_found is the last
    v_to    timestamptz := p_until;
    v_mid   timestamptz;
begin
    while v_to - v_from > interval '1 second' loop
        v_mid := v_from + make_interval(secs => extract(epoch from v_to - v_from) / 2);
        v_next := zmesh.next_due(p_plan, p_timezone, v_mid);
        if v_next <= p_until then
            v_found := v_next;
            v_from := v_next;
        else
            v_to := v_mid;
        end if;
    end loop;
    v_next := zmesh.next_due(p_plan, p_timezone, v_from);
    return case when v_next <= p_until then v_next else v_found end;
end $$;
comment on function zmesh.last_due(zmesh.cron_plan, text, timestamptz, timestamptz) is
    'The last due time from p_due, which is one itself, up to p_until.';

create or replace function zmesh.cron_next(p_cron text, p_timezone text, p_after timestamptz) returns timestamptz
language sql stable parallel safe security definer set search_path = pg_catalog, pg_temp
return zmesh.next_due(zmesh.cron_plan(p_cron), p_timezone, p_after);
comment on function zmesh.cron_next(text, text, timestamptz) is
    'When a cron expression next comes due, strictly after a time, in an IANA time zone.';

create or replace function zmesh.check_timezone(p_timezone text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_plain text := lower(replace(zmesh.trimmed(p_timezone), ' ', '_'));
    v_meant text;
begin
    perform from pg_timezone_names where name = p_timezone;
    if found then
        return;
    end if;
    -- A name in different case, or only a city.
    select name into v_meant from pg_timezone_names
     where lower(name) = v_plain or split_part(lower(name), '/', -1) = v_plain and name !~ '^(posix|right|Etc|US)/'
     order by lower(name) <> v_plain, name limit 1;
    perform zmesh.fail('ZM422', format('time zone %L is unknown', p_timezone),
        coalesce('Did you mean ' || v_meant || '?', 'Use an IANA name such as Europe/Berlin or UTC.'),
        p_column => 'timezone');
end $$;
comment on function zmesh.check_timezone(text) is 'Rejects an unknown time zone.';

create or replace function zmesh.cron_preview(
    p_cron text, p_timezone text default 'UTC', p_count integer default 5, p_after timestamptz default null)
returns setof timestamptz
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_plan zmesh.cron_plan := zmesh.cron_plan(p_cron);
    v_due  timestamptz := coalesce(p_after, zmesh.now());
begin
    perform zmesh.check_timezone(p_timezone);
    for v_n in 1 .. least(p_count, 100) loop
        v_due := zmesh.next_due(v_plan, p_timezone, v_due);
        return next v_due;
    end loop;
end $$;
comment on function zmesh.cron_preview(text, text, integer, timestamptz) is
    'The next due times of a cron expression, for checking it before saving.';

grant execute on function zmesh.cron_next(text, text, timestamptz), zmesh.cron_preview(text, text, integer, timestamptz)
   to zmesh_api, zmesh_project;
