-- The platform's database, told in files: this one and the following define the tables as they are now. Objects that can
-- be replaced at any time (functions, triggers, views) are in sql/routines/; sql/migrations/ turns a database of an
-- earlier release into this one.
--
-- The life of an invocation. An insert into zmesh.invocations, whoever makes it, goes to its partition zmesh.queue, which
-- holds what is queued or running and stays small. A listener holds a lease (zmesh.listeners); it claims rows of the
-- queue, runs them, and writes their outcomes. The outcome moves a row from the queue to zmesh.history, which is
-- partitioned by time, append-only, and dropped partition by partition when its retention ends.
-- Callers that wait for an outcome are in zmesh.waiters, what runs printed in zmesh.logs.
--
-- Privileges are listed below each table. Nothing is granted to PUBLIC. zmesh_api and zmesh_listener read what their
-- programs need and write through routines, except that the API inserts invocations as everybody does. zmesh_project is
-- the group of all projects' roles, which see only rows of their own project.

grant usage on schema zmesh to zmesh_api, zmesh_listener, zmesh_project;
grant select on zmesh.migrations to zmesh_api, zmesh_listener;

-- Functions that tables use in defaults and row security.

create function zmesh.now() returns timestamptz
language sql volatile parallel safe
return clock_timestamp();
comment on function zmesh.now() is
    'The current time for everything in this schema; tests replace it to stop the clock.';

-- RFC 9562 version 7: 48 bits of milliseconds, then random bits.
create function zmesh.new_id() returns uuid
language sql volatile parallel safe
return encode(
    set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid())
                placing substring(int8send((extract(epoch from zmesh.now()) * 1000)::bigint) from 3)
                from 1 for 6),
        52, 1), 53, 1), 'hex')::uuid;
comment on function zmesh.new_id() is 'A UUID that sorts by time of creation (version 7).';

create table zmesh.settings (
    only_row                 boolean primary key default true,
    max_running              integer not null    default 256,
    max_depth                integer not null    default 10,
    max_generations          integer not null    default 1000,
    max_schedules            integer not null    default 10000,
    max_schedule_payloads_mb integer not null    default 16,
    max_projects_per_owner   integer not null    default 100,
    retention_days           integer not null    default 30,
    constraint settings_is_one_row                                 check (only_row),
    constraint settings_max_running_is_positive                    check (max_running > 0),
    constraint settings_max_depth_is_up_to_32                      check (max_depth between 0 and 32),
    constraint settings_max_generations_is_not_negative            check (max_generations >= 0),
    constraint settings_max_schedules_is_not_negative              check (max_schedules >= 0),
    constraint settings_max_schedule_payloads_mb_is_not_negative   check (max_schedule_payloads_mb >= 0),
    constraint settings_max_projects_per_owner_is_not_negative     check (max_projects_per_owner >= 0),
    constraint settings_retention_is_1_day_to_10_years             check (retention_days between 1 and 3650)
);
comment on table zmesh.settings is 'One row of platform-wide limits. Its row lock serialises claims, which makes the semaphores exact.';
comment on column zmesh.settings.max_running is 'How many invocations may run at once on the whole platform.';
comment on column zmesh.settings.max_depth is
    'How many invocations may be waiting, one for the next, above an invocation with a waiting caller.';
comment on column zmesh.settings.max_generations is
    'How many invocations in a row may enqueue the next one without a delay.';
comment on column zmesh.settings.max_schedules is 'How many schedules one project may have.';
comment on column zmesh.settings.max_schedule_payloads_mb is
    'Total size of the payloads of a project''s schedules, in MiB as stored.';
comment on column zmesh.settings.max_projects_per_owner is 'How many projects one user may own.';
comment on column zmesh.settings.retention_days is
    'How long finished invocations are kept, with their payloads, results and logs.';
insert into zmesh.settings default values;

grant select on zmesh.settings to zmesh_api;
