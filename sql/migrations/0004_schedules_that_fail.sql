-- A schedule that cannot fire any more, because its time zone has gone for one, is paused and says why.

alter table zmesh.schedule_runs
    add column error text,
    drop constraint schedule_runs_outcome_is_known,
    add constraint schedule_runs_outcome_is_known
        check (outcome in ('fired', 'run_now', 'skipped_overlap', 'skipped_missed', 'skipped_disabled',
                           'skipped_paused', 'skipped_changed', 'skipped_failed')),
    add constraint schedule_runs_failed_ones_say_why check ((outcome = 'skipped_failed') = (error is not null));
comment on column zmesh.schedule_runs.error is 'Why it could not fire.';
