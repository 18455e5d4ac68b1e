-- Builds: requested by the API, claimed and finished by listeners. A listener that has lost its lease changes nothing.

create or replace function zmesh.most_build_attempts() returns smallint
language sql immutable parallel safe
return 3::smallint;
comment on function zmesh.most_build_attempts() is 'How often a build is started if it is interrupted each time.';

create or replace function zmesh.build_lines_per_attempt() returns integer
language sql immutable parallel safe
return 100000;
comment on function zmesh.build_lines_per_attempt() is
    'Distance between the first log lines of two attempts of a build, more than an attempt can print.';

create or replace function zmesh.request_build(
    p_project_id uuid, p_runtime text, p_manifest_hash text, p_manifest jsonb, p_fresh boolean, p_bundle text default null)
returns zmesh.builds
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_most_queued constant integer := 100;
    v_build zmesh.builds;
begin
    perform from zmesh.projects where id = p_project_id for no key update;   -- one request of a project at a time
    select b.* into v_build from zmesh.builds b
     where b.project_id = p_project_id and b.manifest_hash = p_manifest_hash
       and (b.status in ('queued', 'running') or b.status = 'succeeded' and not p_fresh)
     order by b.status = 'succeeded', b.created_at desc limit 1;
    if found and (p_bundle is null or p_bundle is not distinct from v_build.bundle) then
        return v_build;
    end if;
    if found and v_build.status <> 'succeeded' then
        perform zmesh.fail('ZM409', 'the packages of this manifest are being built',
            'Wait for that build, or cancel it: zmesh builds cancel ' || v_build.id);
    end if;
    if (select count(*) from zmesh.builds b
         where b.project_id = p_project_id and b.status in ('queued', 'running')) >= c_most_queued then
        perform zmesh.fail('ZM409', format('the project has %s unfinished builds', c_most_queued),
            'Wait until some have finished, or cancel them: zmesh builds cancel ID', 'builds_queued_are_at_most_100');
    end if;
    insert into zmesh.builds (project_id, runtime, manifest_hash, manifest, bundle, created_at)
    values (p_project_id, p_runtime, p_manifest_hash, p_manifest, p_bundle, zmesh.now())
    returning * into v_build;
    perform zmesh.notify_unless_congested('zmesh_builds');
    return v_build;
end $$;
comment on function zmesh.request_build(uuid, text, text, jsonb, boolean, text) is
    'The unfinished or the last successful build of this manifest, and of this bundle if one is named; a new one if there is '
    'none or a fresh one is requested.';

create or replace function zmesh.add_bundle_chunk(p_project_id uuid, p_hash text, p_number integer, p_data bytea)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_most_chunks constant integer := 1024;   -- of all bundles of a project
begin
    perform from zmesh.projects where id = p_project_id for no key update;   -- one change of a project at a time
    if (select count(*) from zmesh.bundle_chunks where project_id = p_project_id) >= c_most_chunks then
        delete from zmesh.bundle_chunks where project_id = p_project_id and hash <> p_hash;
    end if;
    insert into zmesh.bundle_chunks (project_id, created_at, number, hash, data)
    values (p_project_id, zmesh.now(), p_number, p_hash, p_data)
        on conflict do nothing;
end $$;
comment on function zmesh.add_bundle_chunk(uuid, text, integer, bytea) is
    'Adds a chunk of a bundle. If a project has too many, those of its other bundles make room.';

create or replace function zmesh.bundle_chunk(p_listener uuid, p_build uuid, p_number integer) returns bytea
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select c.data
      from zmesh.builds b
      join zmesh.bundle_chunks c on c.project_id = b.project_id and c.hash = b.bundle and c.number = p_number
     where b.id = p_build and b.status = 'running' and b.listener_id = p_listener;
end;
comment on function zmesh.bundle_chunk(uuid, uuid, integer) is 'One chunk of the bundle of a build that this listener runs.';

create or replace function zmesh.claim_build(p_listener uuid) returns setof zmesh.builds
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
begin
    perform from zmesh.listeners l where l.id = p_listener and l.lease_expires_at > zmesh.now() for key share;
    if not found then
        return;
    end if;
    -- The project whose last build started longest ago comes first, so that none waits for all builds of another.
    select b.id into v_id from zmesh.builds b
     where b.status = 'queued'
     order by (select max(o.started_at) from zmesh.builds o where o.project_id = b.project_id) nulls first, b.created_at
     limit 1 for update skip locked;
    return query
        update zmesh.builds b
           set status = 'running', listener_id = p_listener, attempts = b.attempts + 1, started_at = zmesh.now()
         where b.id = v_id
        returning b.*;
end $$;
comment on function zmesh.claim_build(uuid) is
    'Starts a queued build on this listener, if there is one and the lease has not expired.';

create or replace function zmesh.tell_build(
    p_listener uuid, p_build uuid, p_lines integer[], p_at timestamptz[], p_messages text[])
returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_cancel boolean;
    v_before integer;   -- numbers of lines that belong to earlier attempts
begin
    select b.cancel_requested, (b.attempts - 1) * zmesh.build_lines_per_attempt() into v_cancel, v_before from zmesh.builds b
     where b.id = p_build and b.status = 'running' and b.listener_id = p_listener for share;
    if not found then
        return false;
    end if;
    insert into zmesh.build_logs (build_id, line, at, message)
    select p_build, v_before + l.line, l.at, l.message from unnest(p_lines, p_at, p_messages) l (line, at, message)
        on conflict do nothing;   -- the answer to an earlier call was lost
    return not v_cancel;
end $$;
comment on function zmesh.tell_build(uuid, uuid, integer[], timestamptz[], text[]) is
    'Writes log lines of a build that this listener runs, by their numbers within the attempt; returns whether the build '
    'should continue.';

create or replace function zmesh.add_layer(p_listener uuid, p_build uuid, p_hash text, p_platform text, p_bytes bigint, p_files integer)
returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_project uuid := (select b.project_id from zmesh.builds b
                        where b.id = p_build and b.status = 'running' and b.listener_id = p_listener);
begin
    if v_project is null then
        perform zmesh.fail('ZM410', 'this listener does not run the build', 'Drop its result.');
    end if;
    -- Touch an existing layer, so that zmesh.forget_builds() keeps it until the build refers to it.
    insert into zmesh.layers as l (project_id, hash, platform, bytes, files, created_at)
    values (v_project, p_hash, p_platform, p_bytes, p_files, zmesh.now())
        on conflict (project_id, hash) do update set created_at = excluded.created_at;
    return not exists (select from zmesh.layer_chunks c where c.project_id = v_project and c.hash = p_hash);
end $$;
comment on function zmesh.add_layer(uuid, uuid, text, text, bigint, integer) is
    'Creates a layer in the project of a build that this listener runs; returns whether its chunks must be added, in the '
    'same transaction.';

create or replace function zmesh.add_layer_chunk(p_listener uuid, p_build uuid, p_hash text, p_number integer, p_data bytea)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into zmesh.layer_chunks (project_id, hash, number, data)
    select b.project_id, p_hash, p_number, p_data from zmesh.builds b
     where b.id = p_build and b.status = 'running' and b.listener_id = p_listener;
end $$;
comment on function zmesh.add_layer_chunk(uuid, uuid, text, integer, bytea) is 'Adds the next chunk of a layer.';

create or replace function zmesh.finish_build(
    p_listener uuid, p_build uuid, p_status text, p_lock text, p_packages jsonb, p_layer_hash text, p_error jsonb)
returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.builds
       set status = p_status, listener_id = null, finished_at = zmesh.now(), lock = p_lock,
           packages = coalesce(p_packages, '[]'), layer_hash = p_layer_hash, error = p_error
     where id = p_build and status = 'running' and listener_id = p_listener;
    return found;
end $$;
comment on function zmesh.finish_build(uuid, uuid, text, text, jsonb, text, jsonb) is
    'Ends a build that this listener runs; returns whether this listener was still running it.';

create or replace function zmesh.interrupt_builds(p_builds uuid[], p_type text, p_why text) returns void
language plpgsql as $$
declare
    c_most constant smallint := zmesh.most_build_attempts();
    v_requeued integer;
begin
    update zmesh.builds
       set status = 'cancelled', listener_id = null, finished_at = zmesh.now()
     where id = any (p_builds) and status = 'running' and cancel_requested;
    insert into zmesh.build_logs (build_id, line, at, message)
    select b.id, b.attempts * zmesh.build_lines_per_attempt(), zmesh.now(),
           format('Attempt %s of %s was interrupted: %s', b.attempts, c_most, p_why)
           || case when b.attempts < c_most then ' The build is queued again.' else '' end
      from zmesh.builds b where b.id = any (p_builds) and b.status = 'running'
        on conflict do nothing;
    update zmesh.builds
       set status = 'failed', listener_id = null, finished_at = zmesh.now(),
           error = jsonb_build_object('type', p_type, 'message',
               format('Each of %s attempts was interrupted. Reason for the last interruption: %s ', attempts, p_why)
               || 'The packages are not the cause: ask the operator to read the listener''s log, then deploy again.')
     where id = any (p_builds) and status = 'running' and attempts >= c_most;
    update zmesh.builds set status = 'queued', listener_id = null where id = any (p_builds) and status = 'running';
    get diagnostics v_requeued = row_count;
    if v_requeued > 0 then
        perform zmesh.notify_unless_congested('zmesh_builds');
    end if;
end $$;
comment on function zmesh.interrupt_builds(uuid[], text, text) is
    'Requeues running builds that were interrupted through no fault of their own, and says so in their logs; a build that '
    'was started too often fails. The caller has locked them.';

create or replace function zmesh.requeue_builds(p_listeners uuid[]) returns void
language plpgsql as $$
begin
    perform zmesh.interrupt_builds(
        array(select b.id from zmesh.builds b
               where b.status = 'running' and b.listener_id = any (p_listeners) order by b.id for update),
        'listener_lost', 'The listener stopped.');
end $$;
comment on function zmesh.requeue_builds(uuid[]) is 'Requeues the builds that these listeners were running.';

create or replace function zmesh.requeue_build(p_listener uuid, p_build uuid, p_type text, p_why text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from zmesh.builds where id = p_build and status = 'running' and listener_id = p_listener for update;
    if found then
        perform zmesh.interrupt_builds(array[p_build], p_type, p_why);
    end if;
    return (select b.status from zmesh.builds b where b.id = p_build);
end $$;
comment on function zmesh.requeue_build(uuid, uuid, text, text) is
    'Requeues a build that was interrupted on this listener, which goes on; returns the status of the build.';

create or replace function zmesh.cancel_build(p_project_id uuid, p_build uuid) returns setof zmesh.builds
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.builds b set status = 'cancelled', finished_at = zmesh.now()
     where b.id = p_build and b.project_id = p_project_id and b.status = 'queued';
    update zmesh.builds b set cancel_requested = true
     where b.id = p_build and b.project_id = p_project_id and b.status = 'running';
    return query select b.* from zmesh.builds b where b.id = p_build and b.project_id = p_project_id;
end $$;
comment on function zmesh.cancel_build(uuid, uuid) is
    'Cancels a queued build, and asks the listener of a running one to stop it; a finished one does not change.';

create or replace function zmesh.layer_of(p_project_id uuid, p_build uuid)
returns table (hash text, platform text, bytes bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select l.hash, l.platform, l.bytes
      from zmesh.builds b
      join zmesh.layers l on l.project_id = b.project_id and l.hash = b.layer_hash
     where b.id = p_build and b.project_id = p_project_id;
end;
comment on function zmesh.layer_of(uuid, uuid) is
    'The layer that a build of this project created; no row if it needed no packages.';

create or replace function zmesh.imports_of(p_function_id uuid, p_hash text)
returns table (version integer, names text[])
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select i.version, i.names from zmesh.function_imports i where i.function_id = p_function_id and i.hash = p_hash;
end;
comment on function zmesh.imports_of(uuid, text) is
    'Which packages of a layer a function imports, and the version that was seen to; no row if that is not known.';

create or replace function zmesh.learn_imports(p_function_id uuid, p_hash text, p_version integer, p_names text[])
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into zmesh.function_imports as i (function_id, hash, version, names)
    select f.id, p_hash, p_version, p_names from zmesh.functions f where f.id = p_function_id
        on conflict (function_id, hash) do update
       set version = excluded.version, names = excluded.names where i.version < excluded.version;
end $$;
comment on function zmesh.learn_imports(uuid, text, integer, text[]) is
    'Stores which packages of a layer a run of this version imported, unless it is known of the version or a later one.';

create or replace function zmesh.tell_fork_refusal(p_listener uuid, p_function_id uuid, p_hash text, p_reason text)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if p_reason is null then
        delete from zmesh.fork_refusals where function_id = p_function_id and listener_id = p_listener;
        return;
    end if;
    insert into zmesh.fork_refusals as r (function_id, listener_id, hash, since, reason)
    select f.id, l.id, p_hash, zmesh.now(), left(p_reason, 1000)
      from zmesh.functions f, zmesh.listeners l where f.id = p_function_id and l.id = p_listener
        on conflict (function_id, listener_id) do update
       set hash = excluded.hash, since = excluded.since, reason = excluded.reason
     where (r.hash, r.reason) <> (excluded.hash, excluded.reason);
end $$;
comment on function zmesh.tell_fork_refusal(uuid, uuid, text, text) is
    'Stores why this listener cannot fork the function''s runs; without a reason, that it can.';

create or replace function zmesh.not_forked_because(p_function_id uuid, p_at timestamptz) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select r.reason
      from zmesh.fork_refusals r
      join zmesh.functions f on f.id = r.function_id
      left join zmesh.builds b on b.id = f.build_id
     where r.function_id = p_function_id and r.since <= p_at and r.hash = coalesce(b.layer_hash, '')
     order by r.since desc
     limit 1;
end;
comment on function zmesh.not_forked_because(uuid, timestamptz) is
    'Why runs of the function import its packages, or execute its code, themselves, as known at that time; null: they need not.';

create or replace function zmesh.layers_to_load(p_hashes text[], p_most integer)
returns table (project_id uuid, runtime text, memory_mb integer, network text, hash text, platform text, bytes bigint, names text[])
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select distinct f.project_id, b.runtime, f.memory_mb, case when 'none' in (p.network, f.network) then 'none' else 'open' end,
           l.hash, l.platform, l.bytes, coalesce(nullif(f.preload, '{}'), i.names)
      from zmesh.layers l
      join zmesh.builds b on b.project_id = l.project_id and b.layer_hash = l.hash
      join zmesh.functions f on f.build_id = b.id
      join zmesh.projects p on p.id = f.project_id
      left join zmesh.function_imports i on i.function_id = f.id and i.hash = l.hash
     where l.hash = any(p_hashes) and f.init is null and (f.preload <> '{}' or i.names is not null)
     limit p_most;
end;
comment on function zmesh.layers_to_load(text[], integer) is
    'Which of these layers current functions use, how, and what is imported beforehand: for a listener that has just started.';

create or replace function zmesh.layer_chunk(p_project_id uuid, p_hash text, p_number integer) returns bytea
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select c.data from zmesh.layer_chunks c
     where c.project_id = p_project_id and c.hash = p_hash and c.number = p_number;
end;
comment on function zmesh.layer_chunk(uuid, text, integer) is 'One chunk of a layer.';

create or replace function zmesh.forget_builds() returns void
language plpgsql as $$
begin
    delete from zmesh.builds where id = any (array(
        select b.id from zmesh.builds b
         where b.finished_at < zmesh.now() - interval '1 day'
           and not exists (select from zmesh.functions f where f.build_id = b.id)
           and not exists (select from zmesh.function_versions v where v.build_id = b.id)
         limit 1000 for update skip locked));
    delete from zmesh.fork_refusals r where not exists (select from zmesh.listeners l where l.id = r.listener_id);
    delete from zmesh.bundle_chunks c where c.created_at < zmesh.now() - interval '1 day';
    delete from zmesh.layers l
     where l.created_at < zmesh.now() - interval '1 hour'
       and not exists (select from zmesh.builds b where b.project_id = l.project_id and b.layer_hash = l.hash);
exception when foreign_key_violation then null;   -- a function was just deployed with one of them: the next round tries again
end $$;
comment on function zmesh.forget_builds() is
    'Deletes builds that finished a day ago and that no function or version refers to, layers that no build refers to, and '
    'what listeners said that are gone.';

create or replace function zmesh.check_build_of_function() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if new.build_id is not null and not exists (
        select from zmesh.builds b
         where b.id = new.build_id and b.project_id = new.project_id and b.status = 'succeeded') then
        perform zmesh.fail('ZM422', 'the build does not exist in this project or has not succeeded',
                           p_constraint => 'functions_build_has_succeeded', p_column => 'build_id');
    end if;
    return null;
end $$;
comment on function zmesh.check_build_of_function() is 'Rejects a build of another project, or one without packages to run.';

create or replace trigger functions_check_build after insert or update of build_id on zmesh.functions
    for each row when (new.build_id is not null) execute function zmesh.check_build_of_function();

grant execute on function zmesh.request_build(uuid, text, text, jsonb, boolean, text), zmesh.cancel_build(uuid, uuid),
      zmesh.add_bundle_chunk(uuid, text, integer, bytea), zmesh.not_forked_because(uuid, timestamptz) to zmesh_api;
grant execute on function zmesh.claim_build(uuid), zmesh.tell_build(uuid, uuid, integer[], timestamptz[], text[]),
      zmesh.add_layer(uuid, uuid, text, text, bigint, integer), zmesh.add_layer_chunk(uuid, uuid, text, integer, bytea),
      zmesh.finish_build(uuid, uuid, text, text, jsonb, text, jsonb),
      zmesh.requeue_build(uuid, uuid, text, text), zmesh.layer_of(uuid, uuid),
      zmesh.layer_chunk(uuid, text, integer), zmesh.bundle_chunk(uuid, uuid, integer), zmesh.imports_of(uuid, text),
      zmesh.learn_imports(uuid, text, integer, text[]), zmesh.tell_fork_refusal(uuid, uuid, text, text),
      zmesh.layers_to_load(text[], integer) to zmesh_listener;
