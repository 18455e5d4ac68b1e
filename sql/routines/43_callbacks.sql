-- Callbacks: written in the transaction in which their invocation ends, then tried until they are delivered. Whoever
-- tries one has it for a minute; when it is not heard of, another one tries.

create or replace function zmesh.callback_body(p_invocation zmesh.invocations, p_longest integer) returns text
language sql stable
return json_build_object(
    'type', 'invocation.' || (p_invocation).status,
    'timestamp', (p_invocation).finished_at,
    'data', json_build_object(
        'invocation_id', (p_invocation).id, 'function', (p_invocation).function, 'status', (p_invocation).status,
        'result', case when octet_length((p_invocation).result::text) <= p_longest then (p_invocation).result end,
        'response', case when octet_length((p_invocation).response::text) <= p_longest then (p_invocation).response end,
        'left_out', coalesce(octet_length((p_invocation).result::text) > p_longest
                             or octet_length((p_invocation).response::text) > p_longest, false),
        'error', (p_invocation).error, 'duration_ms', (p_invocation).duration_ms, 'version', (p_invocation).version,
        'attempt', (p_invocation).attempt, 'created_at', (p_invocation).created_at,
        'finished_at', (p_invocation).finished_at))::text;
comment on function zmesh.callback_body(zmesh.invocations, integer) is
    'The body of the callback for an ended invocation; a result or response larger than p_longest bytes is omitted.';

create or replace function zmesh.claim_callbacks(p_limit integer, p_busy uuid[])
returns table (invocation_id uuid, project_id uuid, message_id uuid, attempt integer, url text, body text,
               traceparent text, sealed_secret bytea, sealed_previous_secret bytea)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
declare
    c_most constant integer := 12;
    v_now  timestamptz := zmesh.now();
begin
    update zmesh.callbacks c
       set status = 'failed', next_attempt_at = null, last_error = coalesce(c.last_error, 'nothing is known of its tries')
     where c.status = 'pending' and c.next_attempt_at <= v_now
       and (c.attempts >= c_most or not exists (select from zmesh.projects p where p.id = c.project_id));
    return query
        with due as materialized (
            select c.invocation_id from zmesh.callbacks c
             where c.status = 'pending' and c.next_attempt_at <= v_now and c.project_id <> all (p_busy)
             order by c.next_attempt_at limit p_limit for update skip locked
        ), claimed as (
            update zmesh.callbacks c set attempts = c.attempts + 1, next_attempt_at = v_now + interval '1 minute'
              from due where c.invocation_id = due.invocation_id
            returning c.*
        )
        select c.invocation_id, c.project_id, c.message_id, c.attempts, c.url,
               case when i.id is not null then zmesh.callback_body(i, 1048576) end, zmesh.traceparent_of(i.id, i.traceparent), s.sealed_secret,
               case when s.previous_secret_valid_until > v_now then s.sealed_previous_secret end
          from claimed c
          left join zmesh.invocations i on i.id = c.invocation_id and i.finished_at is not null
          left join zmesh.signing_secrets s on s.project_id = c.project_id;
end $$;
comment on function zmesh.claim_callbacks(integer, uuid[]) is
    'Claims up to this many due callbacks, to be sent now, except those of projects that have enough in progress. There '
    'is no body where the invocation is no longer kept, or was retried and has not ended again.';

create or replace function zmesh.end_callback(
    p_invocation uuid, p_attempt integer, p_status_code integer, p_error text, p_for_good boolean)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_most constant integer := 12;
    v_now  timestamptz := zmesh.now();
begin
    update zmesh.callbacks c
       set last_status_code = p_status_code, last_error = left(p_error, 1000),
           status = case when p_error is null then 'delivered'
                         when p_for_good or c.attempts >= c_most then 'failed'
                         else 'pending' end,
           delivered_at = case when p_error is null then v_now end,
           next_attempt_at = case when p_error is not null and not p_for_good and c.attempts < c_most
               then v_now + least(5 * power(4, c.attempts - 1), 21600) * (0.75 + random() / 2) * interval '1 second' end
     where c.invocation_id = p_invocation and c.attempts = p_attempt and c.status = 'pending';
end $$;
comment on function zmesh.end_callback(uuid, integer, integer, text, boolean) is
    'Records the result of a try: delivered if there is no error; otherwise tried again after 5, 20, 80 seconds and '
    'so on, up to 6 hours apart, 12 times in all.';

create or replace function zmesh.seconds_to_next_callback() returns double precision
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
    return (select extract(epoch from c.next_attempt_at - zmesh.now()) from zmesh.callbacks c
             where c.status = 'pending' order by c.next_attempt_at limit 1);
end $$;
comment on function zmesh.seconds_to_next_callback() is
    'Seconds until the next callback is due; null if there is none.';

create or replace function zmesh.keep_signing_secret(p_project_id uuid, p_sealed bytea) returns bytea
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into zmesh.signing_secrets (project_id, sealed_secret, created_at)
    values (p_project_id, p_sealed, zmesh.now()) on conflict do nothing;
    return (select sealed_secret from zmesh.signing_secrets where project_id = p_project_id);
end $$;
comment on function zmesh.keep_signing_secret(uuid, bytea) is
    'The signing secret of a project; stores this one if the project has none yet.';

create or replace function zmesh.rotate_signing_secret(p_project_id uuid, p_sealed bytea, p_grace interval) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_until timestamptz := case when p_grace > interval '0' then zmesh.now() + p_grace end;
begin
    insert into zmesh.signing_secrets as s (project_id, sealed_secret, created_at)
    values (p_project_id, p_sealed, zmesh.now())
        on conflict (project_id) do update
       set sealed_previous_secret = case when v_until is not null then s.sealed_secret end,
           previous_secret_valid_until = v_until, sealed_secret = p_sealed, created_at = zmesh.now();
end $$;
comment on function zmesh.rotate_signing_secret(uuid, bytea, interval) is
    'Replaces the signing secret of a project; callbacks are also signed with the previous one until it expires.';

grant execute on function zmesh.rotate_signing_secret(uuid, bytea, interval) to zmesh_api;
grant execute on function zmesh.claim_callbacks(integer, uuid[]), zmesh.end_callback(uuid, integer, integer, text, boolean),
      zmesh.seconds_to_next_callback(), zmesh.keep_signing_secret(uuid, bytea) to zmesh_listener;
