-- Figures of functions. The end of an invocation writes one row to zmesh.endings, in the statement that moves it to
-- history; a listener adds those rows to the statistics every few seconds, so that no two ends wait for one another.

create or replace function zmesh.bucket_of(p_value numeric) returns integer
language sql immutable parallel safe
return case when p_value is null then null when p_value <= 1 then 1
            else least(100, 1 + ceil(3 * ln(p_value::float8) / ln(2::float8) - 1e-9))::integer end;
comment on function zmesh.bucket_of(numeric) is
    'The element of a histogram that counts a value: the n-th is for values up to 2^((n-1)/3).';

create or replace function zmesh.histogram_of(p_buckets integer[]) returns integer[]
language plpgsql immutable parallel safe as $$
declare
    v_counts integer[] := '{}';
    v_bucket integer;
begin
    foreach v_bucket in array p_buckets loop
        if v_bucket > cardinality(v_counts) then
            v_counts := v_counts || array_fill(0, array[v_bucket - cardinality(v_counts)]);
        end if;
        if v_bucket is not null then
            v_counts[v_bucket] := v_counts[v_bucket] + 1;
        end if;
    end loop;
    return v_counts;
end $$;
comment on function zmesh.histogram_of(integer[]) is 'How often each bucket occurs; null is not counted.';

create or replace function zmesh.sum_of_histograms(p_one integer[], p_other integer[]) returns integer[]
language plpgsql immutable parallel safe as $$
declare
    v_sum   integer[] := case when cardinality(p_one) >= cardinality(p_other) then p_one else p_other end;
    v_added integer[] := case when cardinality(p_one) >= cardinality(p_other) then p_other else p_one end;
begin
    for v_bucket in 1..cardinality(v_added) loop
        v_sum[v_bucket] := v_sum[v_bucket] + v_added[v_bucket];
    end loop;
    return v_sum;
end $$;
comment on function zmesh.sum_of_histograms(integer[], integer[]) is 'The histogram of the values of both.';

create or replace function zmesh.error_fingerprint(p_type text, p_message text) returns uuid
language sql immutable parallel safe
return md5(concat_ws(E'\n', left(p_type, 100), regexp_replace(
    left(p_message, 500),
    '"[^"]*"|''[^'']*''|`[^`]*`|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|0x[0-9a-fA-F]+|[0-9]+', '#', 'g')))::uuid;
comment on function zmesh.error_fingerprint(text, text) is
    'The same for errors of one type whose messages differ in numbers, ids and quoted parts only.';

create or replace function zmesh.add_statistics(p_ended zmesh.endings[], p_unit text) returns void
language plpgsql as $$
begin
    execute format($sql$
        insert into zmesh.statistics_by_%1$s as s (
            function_id, starts_at, version, project_id, success, error, timeout, cancelled, run_ms, cpu_ms, duration_ms,
            queue_ms, start_ms, peak_memory_mb)
        select o.function_id, date_trunc(%1$L, e.ended_at, 'UTC') as starts_at, o.version,
               (array_agg(e.project_id))[1], count(*) filter (where e.status = 'success'),
               count(*) filter (where e.status = 'error'), count(*) filter (where e.status = 'timeout'),
               count(*) filter (where e.status = 'cancelled'), coalesce(sum(e.duration_ms), 0),
               coalesce(sum(e.cpu_ms), 0), zmesh.histogram_of(array_agg(zmesh.bucket_of(e.duration_ms))),
               zmesh.histogram_of(array_agg(zmesh.bucket_of(e.queue_ms))),
               zmesh.histogram_of(array_agg(zmesh.bucket_of(e.start_ms))),
               zmesh.histogram_of(array_agg(zmesh.bucket_of(e.peak_memory_mb)))
          from unnest($1) e
          cross join lateral (values (e.function_id, coalesce(e.version, 0)), (e.project_id, 0)) o (function_id, version)
         group by o.function_id, 2, o.version
            on conflict (function_id, starts_at, version) do update
           set success = s.success + excluded.success, error = s.error + excluded.error,
               timeout = s.timeout + excluded.timeout, cancelled = s.cancelled + excluded.cancelled,
               run_ms = s.run_ms + excluded.run_ms, cpu_ms = s.cpu_ms + excluded.cpu_ms,
               duration_ms = zmesh.sum_of_histograms(s.duration_ms, excluded.duration_ms),
               queue_ms = zmesh.sum_of_histograms(s.queue_ms, excluded.queue_ms),
               start_ms = zmesh.sum_of_histograms(s.start_ms, excluded.start_ms),
               peak_memory_mb = zmesh.sum_of_histograms(s.peak_memory_mb, excluded.peak_memory_mb)
        $sql$, p_unit) using p_ended;
end $$;
comment on function zmesh.add_statistics(zmesh.endings[], text) is
    'Adds ended invocations to the statistics by minute or by hour.';

create or replace function zmesh.add_errors(p_ended zmesh.endings[]) returns void
language plpgsql as $$
declare
    c_kinds constant integer := 100;   -- of a function in an hour: its messages may be anything
    c_other constant uuid := '00000000-0000-0000-0000-000000000000';
begin
    with failed as materialized (
        select e.invocation_id, e.project_id, e.function_id, e.ended_at, coalesce(e.version, 0) as version,
               date_trunc('hour', e.ended_at, 'UTC') as hour, coalesce(e.error_type, e.status) as type,
               coalesce(e.error_message, '') as message,
               zmesh.error_fingerprint(coalesce(e.error_type, e.status), coalesce(e.error_message, '')) as fingerprint
          from unnest(p_ended) e where e.status in ('error', 'timeout')
    ), present as materialized (
        select f.function_id, f.hour, k.fingerprint
          from (select distinct function_id, hour from failed) f
          join zmesh.errors_by_hour k on k.function_id = f.function_id and k.starts_at = f.hour
         group by 1, 2, 3
    ), kinds as (
        select n.function_id, n.hour, n.fingerprint,
               p.fingerprint is not null
               or row_number() over (partition by n.function_id, n.hour, p.fingerprint is null order by n.fingerprint)
                  + (select count(*) from present o where o.function_id = n.function_id and o.hour = n.hour)
                  <= c_kinds as own
          from (select distinct function_id, hour, fingerprint from failed) n
          left join present p using (function_id, hour, fingerprint)
    )
    insert into zmesh.errors_by_hour as k (
        function_id, starts_at, fingerprint, version, project_id, calls, first_at, last_at, last_invocation_id, type, message)
    select f.function_id, f.hour, case when own then f.fingerprint else c_other end, f.version,
           (array_agg(f.project_id))[1], count(*), min(f.ended_at), max(f.ended_at),
           (array_agg(f.invocation_id order by f.ended_at desc))[1],
           case when bool_and(own) then (array_agg(f.type order by f.ended_at desc))[1] else 'other' end,
           (array_agg(f.message order by f.ended_at desc))[1]
      from failed f join kinds using (function_id, hour, fingerprint)
     group by 1, 2, 3, 4
        on conflict (function_id, starts_at, fingerprint, version) do update
       set calls = k.calls + excluded.calls, last_at = excluded.last_at, message = excluded.message,
           last_invocation_id = excluded.last_invocation_id;
end $$;
comment on function zmesh.add_errors(zmesh.endings[]) is
    'Adds failed invocations to the kinds of errors by hour; beyond 100 kinds of a function they count as other.';

create or replace function zmesh.sweep_statistics() returns void
language plpgsql as $$
begin
    delete from zmesh.statistics_by_minute where ctid = any (array(
        select ctid from zmesh.statistics_by_minute where starts_at < zmesh.now() - interval '25 hours' limit 50000));
    delete from zmesh.statistics_by_hour where ctid = any (array(
        select ctid from zmesh.statistics_by_hour where starts_at < zmesh.now() - interval '31 days' limit 50000));
    delete from zmesh.errors_by_hour where ctid = any (array(
        select ctid from zmesh.errors_by_hour where starts_at < zmesh.now() - interval '31 days' limit 50000));
end $$;
comment on function zmesh.sweep_statistics() is 'Deletes statistics that are past their time, in batches.';

create or replace function zmesh.fold_statistics() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    c_seen   constant interval := interval '3 seconds';   -- so long every end can be seen in zmesh.endings itself
    v_state  zmesh.statistics_folding;
    v_swept  boolean;
    v_ended  zmesh.endings[];
begin
    select * into v_state from zmesh.statistics_folding for update skip locked;
    if not found then
        return 0;
    end if;
    v_swept := v_state.swept_at < zmesh.now() - interval '1 minute';
    -- From a recent time on: index entries of rows that were deleted stay while another session holds an old snapshot.
    -- The sweep looks at the older ones, too.
    with gone as (
        delete from zmesh.endings e
         where e.ctid = any (array(
                   select ctid from zmesh.endings
                    where ended_at <= zmesh.now() - c_seen
                      and ended_at > case when v_swept then '-infinity' else v_state.folded_at - interval '30 seconds' end
                    order by ended_at limit 20000))
        returning e.*
    )
    select array_agg(row(g.*)::zmesh.endings) into v_ended from gone g where g.version is null or g.version > 0;   -- no drafts
    if v_ended is not null then
        perform zmesh.add_statistics(v_ended, 'minute'), zmesh.add_statistics(v_ended, 'hour'), zmesh.add_errors(v_ended);
    end if;
    if v_swept then
        perform zmesh.sweep_statistics();
    end if;
    update zmesh.statistics_folding
       set folded_at = case when cardinality(v_ended) = 20000 then (select max(e.ended_at) from unnest(v_ended) e) else zmesh.now() end,
           swept_at = case when v_swept then zmesh.now() else swept_at end;
    return coalesce(cardinality(v_ended), 0);
end $$;
comment on function zmesh.fold_statistics() is
    'Adds invocations that ended more than three seconds ago to the statistics, whichever listener calls it; returns how many.';

grant execute on function zmesh.error_fingerprint(text, text) to zmesh_api;
grant execute on function zmesh.fold_statistics() to zmesh_listener;
