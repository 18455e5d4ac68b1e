-- Who may do what. Nothing is granted to public; the project roles see their own rows only.

revoke all on all functions in schema zmesh from public;
revoke all on all tables in schema zmesh from public, zmesh_api, zmesh_listener, zmesh_project;
grant usage on schema zmesh to zmesh_api, zmesh_listener, zmesh_project;

grant execute on function zmesh.now(), zmesh.new_id(), zmesh.project_of(name),
      zmesh.traceparent_of(uuid, text) to zmesh_project, zmesh_api, zmesh_listener;

grant insert (function, payload, run_at, expires_at, priority, max_attempts, retry_base_ms, retry_max_ms, reply_channel,
              parent_id, idempotency_key, concurrency_key, traceparent, callback_url),
      select on zmesh.invocations to zmesh_project;
grant select on zmesh.logs, zmesh.dead_invocations, zmesh.callbacks to zmesh_project;

grant select on zmesh.projects, zmesh.users, zmesh.memberships, zmesh.api_keys, zmesh.functions,
      zmesh.function_versions, zmesh.invocations, zmesh.queue, zmesh.logs, zmesh.schedules, zmesh.schedule_runs,
      zmesh.webhooks, zmesh.webhook_deliveries, zmesh.dead_invocations, zmesh.listeners, zmesh.clock, zmesh.settings,
      zmesh.idempotency_keys, zmesh.migrations to zmesh_api;
grant insert (project_id, name, slug, language, entry_point, code, timeout_ms, memory_mb, env_vars, enabled,
              max_attempts, retry_base_ms, retry_max_ms, max_concurrency, max_concurrency_per_key),
      update (name, language, entry_point, code, timeout_ms, memory_mb, env_vars, enabled,
              max_attempts, retry_base_ms, retry_max_ms, max_concurrency, max_concurrency_per_key),
      delete on zmesh.functions to zmesh_api;
grant insert (id, project_id, function, payload, request, source, run_at, expires_at, priority, max_attempts,
              retry_base_ms, retry_max_ms, reply_channel, idempotency_key, idempotency_scope, concurrency_key, traceparent,
              callback_url)
      on zmesh.invocations to zmesh_api;
grant insert, delete, update (name, function_id, preset, sealed_secret, sealed_previous_secret, previous_secret_valid_until,
              replay_window_seconds, signature_header, answer, enabled) on zmesh.webhooks to zmesh_api;
grant insert on zmesh.webhook_deliveries, zmesh.api_keys to zmesh_api;
grant update (last_used_at, revoked_at, name) on zmesh.api_keys to zmesh_api;
grant update (password_hash) on zmesh.users to zmesh_api;
grant execute on function zmesh.queue_ms(timestamptz, timestamptz, timestamptz),
      zmesh.start_ms(timestamptz, timestamptz, integer), zmesh.rollback(uuid, integer, integer[]), zmesh.cancel(uuid[], text),
      zmesh.retry(uuid[]), zmesh.await_end(uuid, text), zmesh.slug_of(text),
      zmesh.fail(text, text, text) to zmesh_api;

grant select on zmesh.projects, zmesh.project_databases, zmesh.migrations to zmesh_listener;
grant execute on function zmesh.claim_callbacks(integer, uuid[]), zmesh.seconds_to_next_callback(),
      zmesh.end_callback(uuid, integer, integer, text, boolean), zmesh.keep_signing_secret(uuid, bytea) to zmesh_listener;
grant execute on function zmesh.rotate_signing_secret(uuid, bytea, interval) to zmesh_api;
grant select on zmesh.callbacks to zmesh_api;
grant select (project_id, created_at, previous_secret_valid_until) on zmesh.signing_secrets to zmesh_api;
grant execute on function zmesh.register_listener(text, integer, interval), zmesh.renew_lease(uuid, interval),
      zmesh.tell_loop_held(uuid, integer),
      zmesh.claim(uuid, integer), zmesh.finish(uuid, zmesh.outcome[]), zmesh.give_back(uuid, uuid[]), zmesh.reap(), zmesh.leave(uuid),
      zmesh.seconds_to_next(), zmesh.end_expired(), zmesh.maintain(), zmesh.end_hoarders(), zmesh.end_harmful_sessions(),
      zmesh.cancel_orphans(), zmesh.end_slow_workers(interval), zmesh.end_vacuum_blockers(), zmesh.neglected_tables(), zmesh.warnings(),
      zmesh.tick(), zmesh.forget_ticks(), zmesh.listener_tick() to zmesh_listener;
grant usage on type zmesh.outcome to zmesh_listener;

alter table zmesh.invocations enable row level security;
alter table zmesh.logs enable row level security;
drop policy if exists platform on zmesh.invocations;
drop policy if exists own_project on zmesh.invocations;
drop policy if exists platform on zmesh.logs;
drop policy if exists own_project on zmesh.logs;
create policy platform on zmesh.invocations to zmesh_api using (true) with check (true);
create policy own_project on zmesh.invocations to zmesh_project
    using (project_id = (select zmesh.project_of(current_user)))
    with check (project_id = (select zmesh.project_of(current_user)));   -- once for a statement, not for each row
create policy platform on zmesh.logs to zmesh_api using (true) with check (true);
create policy own_project on zmesh.logs to zmesh_project
    using (project_id = (select zmesh.project_of(current_user)));
alter table zmesh.invocations alter column project_id set default zmesh.project_of(current_user);
alter table zmesh.invocations alter column id set default zmesh.new_id();
