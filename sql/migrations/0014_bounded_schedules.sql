-- What one tick has to do is bounded, and does not unpack any payload: they all fire in one statement.

alter table zmesh.schedules drop constraint schedules_payload_is_at_most_8_mib;

alter table zmesh.settings
    add column max_schedules integer not null default 10000,
    add column max_schedule_payloads_mb integer not null default 16,
    add constraint settings_max_schedules_is_not_negative check (max_schedules >= 0),
    add constraint settings_max_schedule_payloads_mb_is_not_negative check (max_schedule_payloads_mb >= 0);
comment on column zmesh.settings.max_schedules is 'How many schedules one project may have.';
comment on column zmesh.settings.max_schedule_payloads_mb is
    'How many megabytes (MiB, as stored) the payloads of all schedules of one project may have.';
