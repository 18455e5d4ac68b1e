-- Lists of a project's timeouts and cancelled invocations, which are few among many errors or successes.

create index history_timeouts on zmesh.history (project_id, id desc) where status = 'timeout';
create index history_cancelled on zmesh.history (project_id, id desc) where status = 'cancelled';
