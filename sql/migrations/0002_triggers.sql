-- What starts functions besides calls: schedules, webhooks, changes of tables, other functions.

create type zmesh.cron_plan as (
    every_seconds integer, minutes bigint, hours bigint, days bigint, months bigint, weekdays bigint,
    either_day boolean, by_wall_clock boolean);
comment on type zmesh.cron_plan is
    'A cron expression as computed with: seconds between two due times, or one bit for each value of each field.';

alter table zmesh.schedules
    add column function text,
    add column plan zmesh.cron_plan,
    add constraint schedules_payload_is_at_most_8_mib check (octet_length(payload::text) <= 8388608);
comment on column zmesh.schedules.function is 'Slug of the function to invoke.';
comment on column zmesh.schedules.plan is 'The cron expression as zmesh.next_due() reads it; set by trigger.';

alter table zmesh.schedule_runs
    add column last_due_at timestamptz,
    drop constraint schedule_runs_outcome_is_known,
    add constraint schedule_runs_outcome_is_known
        check (outcome in ('fired', 'run_now', 'skipped_overlap', 'skipped_missed', 'skipped_disabled')),
    add constraint schedule_runs_only_skips_span_many check (last_due_at is null or outcome like 'skipped%'),
    add constraint schedule_runs_last_is_after_first check (last_due_at > due_at);
comment on column zmesh.schedule_runs.last_due_at is
    'Where one row stands for all due times of a span that were skipped: the last of them.';
comment on column zmesh.schedule_runs.outcome is 'Fired, run on request at this time, or why it was skipped.';

alter table zmesh.clock rename column last_tick_at to seen_at;
alter table zmesh.clock add column cron_ticked_at timestamptz;
comment on table zmesh.clock is 'Who calls zmesh.tick(), and how far time has come.';
comment on column zmesh.clock.seen_at is 'A recent time at which schedules were looked at; when it lies ahead, the clock was set back.';
comment on column zmesh.clock.cron_ticked_at is 'When pg_cron last called zmesh.tick().';
