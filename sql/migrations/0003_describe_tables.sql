-- Comments in plain English, as sql/schema has them.

comment on function zmesh.now() is
    'The current time for everything in this schema; tests replace it to stop the clock.';
comment on column zmesh.settings.max_depth is
    'How many invocations may be waiting, one for the next, above an invocation with a waiting caller.';
comment on column zmesh.settings.max_generations is
    'How many invocations in a row may enqueue the next one without a delay.';
comment on column zmesh.settings.max_schedule_payloads_mb is
    'Total size of the payloads of a project''s schedules, in MiB as stored.';
comment on column zmesh.settings.retention_days is
    'How long finished invocations are kept, with their payloads, results and logs.';
comment on table zmesh.projects is
    'A tenant. It owns functions, API keys, schedules, webhooks, a login role and a schema.';
comment on column zmesh.projects.max_queued is
    'How many ready invocations may be queued before the API refuses further ones for this project.';
comment on column zmesh.projects.max_connections is
    'How many database sessions the project''s role may have at once; null: a quarter of the server''s connections, at most 100.';
comment on column zmesh.projects.requests_per_second is
    'How many requests per second each API process accepts for this project; null: no limit.';
comment on table zmesh.project_databases is
    'Passwords of the projects'' roles, sealed with ZMESH_SECRET_KEY, so that a dump of the database does not reveal them.';
comment on table zmesh.leftover_roles is
    'Roles of deleted projects that could not be dropped because the platform cannot reach objects that depend on them. They cannot log in.';
comment on table zmesh.users is 'People who can sign in, with argon2 hashes of their passwords.';
comment on table zmesh.memberships is 'The role of a user in a project.';
comment on table zmesh.invitations is
    'Pending invitations, by the SHA-256 of their token. They do not reveal whether the address has an account.';
comment on table zmesh.sessions is 'Logins. A session lasts from login to logout; its tokens end with it.';
comment on column zmesh.sessions.ended_by is
    'logout; reuse: a refresh token was used twice, so it may have been stolen; password: the password was changed.';
comment on table zmesh.refresh_tokens is 'SHA-256 of every refresh token of a session. Each can be exchanged once.';
comment on table zmesh.functions is 'Functions with their current code. Earlier code is in function_versions.';
comment on column zmesh.functions.version is
    'Incremented by a database trigger with every change of code, entry point or language, including a rollback.';
comment on column zmesh.functions.revision is
    'Incremented by a database trigger with every change. A client that sends it back cannot overwrite somebody else''s change.';
comment on column zmesh.functions.max_attempts is
    'Attempts of an invocation that nobody waits for, unless the invocation sets its own number.';
comment on column zmesh.functions.retry_base_ms is
    'Delay after the first failed attempt, in milliseconds. It doubles with each further one, up to retry_max_ms.';
comment on column zmesh.functions.max_concurrency is
    'How many invocations of this function may run at once; null: only the project''s limit applies.';
comment on column zmesh.functions.auth is
    'Who may call the public route: holders of an API key, members with a token, or anybody.';
comment on column zmesh.functions.methods is 'HTTP methods that the public route accepts.';
comment on column zmesh.functions.cors_origins is 'Origins whose web pages may call the public route; * allows any.';
comment on column zmesh.functions.public_errors is
    'Whether callers without credentials see the type, message and stack of an error.';
comment on table zmesh.function_versions is
    'Every version of a function before its current one, written by a database trigger only.';
comment on column zmesh.function_versions.retired_at is
    'When the version was retired: no attempt runs it since. null: it may run.';
comment on table zmesh.function_aliases is
    'Aliases: one row for each version an alias stands for, with its share of the invocations in percent.';
comment on table zmesh.deleted_functions is
    'Deleted functions with more queued invocations than one statement should cancel; zmesh.cancel_orphans() cancels the rest.';
comment on table zmesh.api_keys is
    'API keys, by SHA-256 and a visible prefix. The key itself is shown once and never stored.';
comment on column zmesh.api_keys.all_functions is
    'Whether the key may invoke every function of the project; otherwise those in api_key_functions, possibly none.';
comment on column zmesh.api_keys.requests_per_second is
    'How many requests per second each API process accepts with this key; null: no limit.';
comment on table zmesh.api_key_functions is 'Functions that a key may invoke, for keys that may not invoke all.';
comment on table zmesh.secrets is
    'Values that only runs receive, in zmesh.env. They are sealed with ZMESH_SECRET_KEY and bound to their scope and name.';
comment on column zmesh.secrets.function_id is
    'The one function that receives it; null: every function of the project.';
comment on table zmesh.invocations is
    'Every invocation, queued, running or finished. To enqueue one: insert into zmesh.invocations (function, payload) values (…).';
comment on column zmesh.invocations.version is
    'Version of the code: on insert, the one to run instead of the current one; afterwards, the one that ran.';
comment on column zmesh.invocations.pinned is
    'Whether every attempt runs this version, whatever is deployed in the meantime.';
comment on column zmesh.invocations.run_at is 'Earliest start.';
comment on column zmesh.invocations.expires_at is
    'Latest start: after this time the invocation fails with an error of type expired.';
comment on column zmesh.invocations.due is 'Whether run_at had passed when a claim last looked at the row.';
comment on column zmesh.invocations.waited is
    'Whether a caller waits for the result; such invocations go before background work.';
comment on column zmesh.invocations.lane is
    'Hash of the function and the concurrency_key: the unit to which concurrency limits apply.';
comment on column zmesh.invocations.idempotency_scope is
    'Set on insert by the API only: the credential to which idempotency_key belongs; kept in zmesh.idempotency_keys.';
comment on column zmesh.invocations.reply_channel is
    'On insert: the random channel on which the caller waits for the outcome. It moves to zmesh.waiters and cannot be read back.';
comment on column zmesh.invocations.callback_url is
    'Where a signed callback with the outcome goes; see zmesh.callbacks.';
comment on column zmesh.invocations.depth is
    'How many invocations wait above this one, each for the one that it called.';
comment on column zmesh.invocations.generation is
    'How many invocations in a row enqueued the next one without a delay before this one.';
comment on column zmesh.invocations.traceparent is 'W3C trace context of the call, including the caller''s span.';
comment on column zmesh.invocations.earlier_attempts is 'Outcomes of all attempts before the last one, oldest first.';
comment on table zmesh.queue is
    'Queued and running invocations. A row moves to zmesh.history when the invocation finishes.';
comment on table zmesh.history is
    'Finished invocations. Ids grow with time, so a partition by id is a partition by time.';
comment on table zmesh.history_rest is 'Finished invocations whose id belongs to a time without a partition.';
comment on table zmesh.idempotency_keys is
    'The invocation for each idempotency key of a function; kept as long as history is.';
comment on column zmesh.idempotency_keys.scope is
    'The credential to which the key belongs: key:<id>, user:<id> or anonymous; empty for SQL.';
comment on table zmesh.waiters is
    'Channels of callers that wait for an outcome. Only the platform can read them: whoever knows a channel can listen on it.';
comment on type zmesh.outcome is 'How one attempt of an invocation ended.';
comment on table zmesh.listeners is
    'Live listeners. Each renews one lease for all of its runs; when the lease expires, others take over its invocations.';
comment on column zmesh.listeners.waiting is
    'Whether the listener has free slots and found nothing to claim, so that an insert must notify it.';
comment on column zmesh.listeners.loop_held_ms is
    'Longest time within the last minute for which the listener''s event loop was blocked; 0 if 50 ms or less.';
comment on table zmesh.horizon is
    'Where claims start to look, so that they do not read dead rows. Written under the row lock of zmesh.settings only.';
comment on column zmesh.horizon.ready_since is 'No ready invocation has a run_at before this, as of looked_at.';
comment on column zmesh.horizon.running_since is 'No running invocation has a started_at before this.';
comment on column zmesh.horizon.looked_at is 'When the whole queue was last read from its beginning.';
comment on table zmesh.logs is 'Log lines of runs, partitioned as zmesh.history is.';
comment on table zmesh.logs_rest is 'Log lines of invocations whose id belongs to a time without a partition.';
comment on table zmesh.streams is
    'Responses that a run sends in chunks and an API process forwards. Without a row nobody reads the response.';
comment on column zmesh.streams.sent is
    'Bytes that the listener has written; what the reader has not fetched yet is in zmesh.stream_chunks.';
comment on column zmesh.streams.full_since is
    'Since when the listener has been waiting for the reader to fetch a chunk.';
comment on column zmesh.streams.channel is 'Channel on which the reading API process is notified of new chunks.';
comment on table zmesh.stream_chunks is
    'Chunks of responses that the listener has written and the API deletes once it has them.';
comment on table zmesh.callbacks is 'Callbacks to the callback_url of finished invocations, pending and delivered.';
comment on column zmesh.callbacks.message_id is
    'webhook-id of the message: the same in every attempt, so that the receiver can discard duplicates.';
comment on column zmesh.callbacks.next_attempt_at is
    'When the next attempt is due; during an attempt, when another listener may try instead.';
comment on table zmesh.signing_secrets is
    'Secrets with which a project''s callbacks are signed; two during a rotation.';
comment on type zmesh.cron_plan is
    'A parsed cron expression: the seconds between two due times, or one bit for each value of each field.';
comment on table zmesh.clock is 'Who calls zmesh.tick(), and the time up to which schedules were checked.';
comment on column zmesh.clock.seen_at is
    'When schedules were last checked; if it lies in the future, the server''s clock was set back.';
comment on column zmesh.schedules.plan is
    'The parsed cron expression that zmesh.next_due() reads; set by a database trigger.';
comment on column zmesh.schedules.overlap is
    'What to do when the previous invocation has not finished: skip this one, or queue it too.';
comment on column zmesh.schedules.missed is
    'What to do about due times that passed while no clock ran: skip them, fire once for all, or fire each one.';
comment on table zmesh.schedule_runs is 'Due times of schedules. The primary key ensures that each one fires once.';
comment on column zmesh.schedule_runs.last_due_at is
    'Last due time of the span, where one row stands for several skipped due times.';
comment on column zmesh.schedule_runs.error is 'Why the schedule could not fire.';
comment on table zmesh.webhooks is
    'Inbound webhooks. The token in the URL cannot be guessed; the preset determines how the sender signs.';
comment on column zmesh.webhooks.signature_header is 'Header with the signature or secret; null: the preset''s header.';
comment on column zmesh.webhooks.sealed_previous_secret is
    'The previous secret, which senders may use until previous_secret_valid_until.';
comment on column zmesh.webhooks.replay_window_seconds is
    'How far a signed timestamp may differ from the current time, in seconds.';
comment on column zmesh.webhooks.answer is
    'How the sender is answered: accepted at once, or with the result when the function has finished.';
comment on table zmesh.webhook_deliveries is
    'Message ids of senders, so that a message that is delivered twice is invoked once.';
comment on table zmesh.periods is 'Periods for which zmesh.history and zmesh.logs have a partition each.';
comment on table zmesh.upkeep is 'When zmesh.maintain() last ran; its row lock allows one at a time.';
