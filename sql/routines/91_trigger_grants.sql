-- Who may do what with schedules, webhooks and changes of tables. Project roles manage their own by plain SQL.

grant select on zmesh.schedule_runs to zmesh_project;
grant select, delete, insert (name, function, cron, timezone, payload, overlap, missed, enabled),
      update (name, function, cron, timezone, payload, overlap, missed, enabled) on zmesh.schedules to zmesh_project;
grant delete, insert (project_id, name, function_id, cron, timezone, payload, overlap, missed, enabled),
      update (name, function_id, cron, timezone, payload, overlap, missed, enabled) on zmesh.schedules to zmesh_api;
grant insert (schedule_id) on zmesh.schedule_runs to zmesh_project, zmesh_api;
grant execute on function zmesh.cron_next(text, text, timestamptz), zmesh.run_schedule(uuid),
      zmesh.cron_preview(text, text, integer, timestamptz) to zmesh_project, zmesh_api;

grant select on zmesh.own_functions, zmesh.changes to zmesh_project;
grant execute on function zmesh.path_of_caller(), zmesh.is_own_function(text), zmesh.owned_table(regclass),
      zmesh.change_arguments(bytea), zmesh.change_triggers(oid), zmesh.change_columns(oid, jsonb),
      zmesh.watched_table(oid, name), zmesh.count_statement(), zmesh.is_of_the_server(text),
      zmesh.change_source(text, text, text, text), zmesh.change_record(text, text, text),
      zmesh.has_changed(jsonb, jsonb, text[]), zmesh.change_insert(text, text, text, boolean, text),
      zmesh.readable_rows(oid, text), zmesh.primary_key(oid, text), zmesh.large_row(jsonb, jsonb, jsonb),
      zmesh.change_with_care(oid, jsonb, jsonb, text[], text, text, text),
      zmesh.change_of_row(text, text, text, boolean, text), zmesh.change_body(text, text[], text, boolean, text),
      zmesh.create_change_triggers(regclass, text[], jsonb, text),
      zmesh.watch_table(regclass, text, text[], text, text[], text), zmesh.check_condition(regclass, text, text[]),
      zmesh.on_change(regclass, text, text[], text, text[]), zmesh.off_change(regclass, text),
      zmesh.plain_path(text), zmesh.renew_change(regclass, jsonb) to zmesh_project;

-- The API makes and drops triggers as the owner of the table, the project's role, whose password it unseals.
grant select on zmesh.project_databases to zmesh_api;

alter table zmesh.schedules alter column project_id set default zmesh.project_of(current_user);
alter table zmesh.schedules enable row level security;
alter table zmesh.schedule_runs enable row level security;
drop policy if exists platform on zmesh.schedules;
drop policy if exists own_project on zmesh.schedules;
drop policy if exists platform on zmesh.schedule_runs;
drop policy if exists own_project on zmesh.schedule_runs;
create policy platform on zmesh.schedules to zmesh_api using (true) with check (true);
create policy own_project on zmesh.schedules to zmesh_project
    using (project_id = (select zmesh.project_of(current_user)))
    with check (project_id = (select zmesh.project_of(current_user)));
create policy platform on zmesh.schedule_runs to zmesh_api using (true) with check (true);
create policy own_project on zmesh.schedule_runs to zmesh_project   -- those of the schedules it sees
    using (schedule_id in (select id from zmesh.schedules))
    with check (schedule_id in (select id from zmesh.schedules));
