-- Schedules: functions that are invoked at times.

create type zmesh.cron_plan as (
    every_seconds integer,
    minutes       bigint,
    hours         bigint,
    days          bigint,
    months        bigint,
    weekdays      bigint,
    either_day    boolean,
    by_wall_clock boolean
);
comment on type zmesh.cron_plan is
    'A parsed cron expression: the seconds between two due times, or one bit for each value of each field.';

create table zmesh.clock (
    only_row       boolean     primary key default true,
    source         text        not null    default 'listener',
    seen_at        timestamptz,
    cron_ticked_at timestamptz,
    constraint clock_is_one_row      check (only_row),
    constraint clock_source_is_known check (source in ('pg_cron', 'listener'))
);
comment on table zmesh.clock is 'Who calls zmesh.tick(), and the time up to which schedules were checked.';
comment on column zmesh.clock.seen_at is
    'When schedules were last checked; if it lies in the future, the server''s clock was set back.';
comment on column zmesh.clock.cron_ticked_at is 'When pg_cron last called zmesh.tick().';
insert into zmesh.clock default values;

create table zmesh.schedules (
    id          uuid            primary key default gen_random_uuid(),
    project_id  uuid            not null    default zmesh.project_of(current_user) references zmesh.projects on delete cascade,
    function_id uuid            not null    references zmesh.functions on delete cascade,
    created_at  timestamptz     not null    default now(),
    updated_at  timestamptz     not null    default now(),
    next_due_at timestamptz,
    name        text            not null,
    function    text,
    cron        text            not null,
    timezone    text            not null    default 'UTC',
    plan        zmesh.cron_plan,
    payload     jsonb           not null    default '{}',
    overlap     text            not null    default 'skip',
    missed      text            not null    default 'once',
    enabled     boolean         not null    default true,
    constraint schedules_name_is_unique    unique (project_id, name),
    constraint schedules_name_is_short     check (length(name) between 1 and 100),
    constraint schedules_overlap_is_known  check (overlap in ('skip', 'queue')),
    constraint schedules_missed_is_known   check (missed in ('skip', 'once', 'all'))
);
create index schedules_due on zmesh.schedules (next_due_at) where enabled;
create index schedules_by_function on zmesh.schedules (function_id);
comment on table zmesh.schedules is 'Cron expressions that invoke functions; zmesh.tick() fires what is due.';
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
comment on column zmesh.schedules.function is 'Slug of the function to invoke.';
comment on column zmesh.schedules.plan is
    'The parsed cron expression that zmesh.next_due() reads; set by a database trigger.';
comment on column zmesh.schedules.overlap is
    'What to do when the previous invocation has not finished: skip this one, or queue it too.';
comment on column zmesh.schedules.missed is
    'What to do about due times that passed while no clock ran: skip them, fire once for all, or fire each one.';

-- No foreign key, as for all rows that retention deletes: deleting the parent must not take time in proportion to them.
create table zmesh.schedule_runs (
    schedule_id   uuid        not null,
    invocation_id uuid,
    due_at        timestamptz not null,
    last_due_at   timestamptz,
    created_at    timestamptz not null default now(),
    outcome       text        not null,
    error         text,
    primary key (schedule_id, due_at),
    constraint schedule_runs_outcome_is_known
        check (outcome in ('fired', 'run_now', 'skipped_overlap', 'skipped_missed', 'skipped_disabled',
                           'skipped_paused', 'skipped_changed', 'skipped_failed')),
    constraint schedule_runs_only_skips_span_many    check (last_due_at is null or outcome like 'skipped%'),
    constraint schedule_runs_last_is_after_first     check (last_due_at > due_at),
    constraint schedule_runs_failed_ones_say_why     check ((outcome = 'skipped_failed') = (error is not null))
);
create index schedule_runs_by_age on zmesh.schedule_runs using brin (created_at);
comment on table zmesh.schedule_runs is 'Due times of schedules. The primary key ensures that each one fires once.';
comment on column zmesh.schedule_runs.schedule_id is 'The schedule.';
comment on column zmesh.schedule_runs.invocation_id is 'The invocation, where there is one.';
comment on column zmesh.schedule_runs.due_at is 'When it came due.';
comment on column zmesh.schedule_runs.created_at is 'When that was noticed.';
comment on column zmesh.schedule_runs.last_due_at is
    'Last due time of the span, where one row stands for several skipped due times.';
comment on column zmesh.schedule_runs.outcome is 'Fired, run on request at this time, or why it was skipped.';
comment on column zmesh.schedule_runs.error is 'Why the schedule could not fire.';

grant select on zmesh.clock to zmesh_api;
grant select, delete,
      insert (name, function, cron, timezone, payload, overlap, missed, enabled),
      update (name, function, cron, timezone, payload, overlap, missed, enabled)
      on zmesh.schedules to zmesh_project;
grant select on zmesh.schedules to zmesh_api;
grant select, insert (schedule_id) on zmesh.schedule_runs to zmesh_project, zmesh_api;

alter table zmesh.schedules enable row level security;
create policy platform on zmesh.schedules to zmesh_api using (true) with check (true);
create policy own_project on zmesh.schedules to zmesh_project
    using      (project_id = (select zmesh.project_of(current_user)))
    with check (project_id = (select zmesh.project_of(current_user)));
alter table zmesh.schedule_runs enable row level security;
create policy platform on zmesh.schedule_runs to zmesh_api using (true) with check (true);
create policy own_project on zmesh.schedule_runs to zmesh_project   -- only for schedules that the role can see
    using      (schedule_id in (select id from zmesh.schedules))
    with check (schedule_id in (select id from zmesh.schedules));
