-- Every column that a project's role sees says what it is: docs/reference/sql.md is made of that.

comment on column zmesh.invocations.id is 'Sorts by time of creation (version 7).';
comment on column zmesh.invocations.project_id is 'The project of the function.';
comment on column zmesh.invocations.function_id is 'The function, whatever its name becomes.';
comment on column zmesh.invocations.listener_id is 'The listener that claimed it.';
comment on column zmesh.invocations.schedule_id is 'The schedule that fired it.';
comment on column zmesh.invocations.created_at is 'When it was inserted.';
comment on column zmesh.invocations.started_at is 'When the latest attempt started.';
comment on column zmesh.invocations.finished_at is 'When it ended; null before that.';
comment on column zmesh.invocations.duration_ms is 'Wall-clock time of the last attempt.';
comment on column zmesh.invocations.cpu_ms is 'CPU time of the last attempt.';
comment on column zmesh.invocations.peak_memory_mb is 'The most memory that the last attempt used.';
comment on column zmesh.invocations.retry_base_ms is 'Wait after the first failed attempt; doubles with each one. By default, as the function says.';
comment on column zmesh.invocations.retry_max_ms is 'The longest wait between two attempts. By default, as the function says.';
comment on column zmesh.invocations.priority is 'From -100 to 100; higher goes first within the project.';
comment on column zmesh.invocations.max_attempts is 'How many attempts there may be. By default, as the function says.';
comment on column zmesh.invocations.attempt is 'How many attempts have started.';
comment on column zmesh.invocations.cancel_requested is 'Whether somebody asked for the end of a running invocation.';
comment on column zmesh.invocations.status is 'queued, running, success, error, timeout or cancelled.';
comment on column zmesh.invocations.source is 'What inserted it: api, sql, schedule, webhook, change or function. SQL clients may set change instead of sql.';
comment on column zmesh.invocations.payload is 'What the handler is called with; any JSON value.';
comment on column zmesh.invocations.request is 'The HTTP request, for invocations by the public route or a webhook.';
comment on column zmesh.invocations.result is 'What the handler returned.';
comment on column zmesh.invocations.response is 'What zmesh.response() made: status, headers and body.';
comment on column zmesh.invocations.error is 'Type, message and stack of the last attempt''s error.';

comment on column zmesh.logs.invocation_id is 'The invocation that printed it.';
comment on column zmesh.logs.attempt is 'The attempt that printed it.';
comment on column zmesh.logs.line is 'Its number within the attempt.';
comment on column zmesh.logs.project_id is 'The project of the function.';
comment on column zmesh.logs.at is 'When it was printed.';
comment on column zmesh.logs.level is 'debug, info, warning or error.';
comment on column zmesh.logs.message is 'The text, which may have several lines.';

comment on column zmesh.schedules.id is 'Sorts by time of creation (version 7).';
comment on column zmesh.schedules.project_id is 'The project of the function.';
comment on column zmesh.schedules.function_id is 'The function, whatever its name becomes.';
comment on column zmesh.schedules.created_at is 'When it was created.';
comment on column zmesh.schedules.updated_at is 'When it was last changed.';
comment on column zmesh.schedules.next_due_at is 'When it comes due next; null while it is paused.';
comment on column zmesh.schedules.name is 'Unique within the project.';
comment on column zmesh.schedules.cron is 'Five fields, or a short form such as @daily.';
comment on column zmesh.schedules.timezone is 'IANA name of the time zone in which the expression is read.';
comment on column zmesh.schedules.payload is 'Payload of its invocations.';
comment on column zmesh.schedules.enabled is 'false: it is paused.';

comment on column zmesh.schedule_runs.schedule_id is 'The schedule.';
comment on column zmesh.schedule_runs.invocation_id is 'The invocation, where there is one.';
comment on column zmesh.schedule_runs.due_at is 'When it came due.';
comment on column zmesh.schedule_runs.created_at is 'When that was noticed.';

comment on column zmesh.callbacks.invocation_id is 'The invocation whose outcome is sent.';
comment on column zmesh.callbacks.project_id is 'The project of the function.';
comment on column zmesh.callbacks.created_at is 'When the invocation ended.';
comment on column zmesh.callbacks.delivered_at is 'When the receiver answered with a status of success.';
comment on column zmesh.callbacks.attempts is 'How many attempts have started.';
comment on column zmesh.callbacks.last_status_code is 'Status of the last answer.';
comment on column zmesh.callbacks.status is 'pending, delivered or failed.';
comment on column zmesh.callbacks.url is 'Where it is sent.';
comment on column zmesh.callbacks.last_error is 'Why the last attempt failed.';
