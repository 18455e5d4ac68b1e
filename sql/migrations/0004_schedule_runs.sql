-- Due times that passed while a schedule was paused, or that it had before it was changed, are recorded as well.

alter table zmesh.schedule_runs
    drop constraint schedule_runs_outcome_is_known,
    add constraint schedule_runs_outcome_is_known
        check (outcome in ('fired', 'run_now', 'skipped_overlap', 'skipped_missed', 'skipped_disabled',
                           'skipped_paused', 'skipped_changed'));
