-- Invocations that a table change inserted have their own source. zmesh.renew_changes() renews existing database triggers.

alter table zmesh.queue drop constraint invocations_source_is_known,
    add constraint invocations_source_is_known check (source in ('api', 'sql', 'schedule', 'webhook', 'change', 'function'));
grant insert (source) on zmesh.invocations to zmesh_project;
alter policy own_project on zmesh.invocations
    with check (project_id = (select zmesh.project_of(current_user)) and source in ('sql', 'change', 'function'));
