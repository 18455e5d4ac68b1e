-- Invocations that a table change inserted say so. The triggers that are there already are renewed by zmesh.renew_changes().

alter table zmesh.queue drop constraint invocations_source_is_known,
    add constraint invocations_source_is_known check (source in ('api', 'sql', 'schedule', 'webhook', 'change', 'function'));
grant insert (source) on zmesh.invocations to zmesh_project;
alter policy own_project on zmesh.invocations
    with check (project_id = (select zmesh.project_of(current_user)) and source in ('sql', 'change', 'function'));
