-- What keeps the server usable for all projects: bounds on connections and projects, and deletion in steps.

alter table zmesh.settings
    add column max_projects_per_owner integer not null default 100,
    add constraint settings_max_projects_per_owner_is_not_negative check (max_projects_per_owner >= 0);
comment on column zmesh.settings.max_projects_per_owner is 'How many projects one user may own.';

alter table zmesh.projects
    add column max_connections integer,
    add constraint projects_max_connections_is_positive check (max_connections > 0);
comment on column zmesh.projects.max_connections is
    'How many database sessions the role of this project may have at once; null: a quarter of the server''s, at most 100.';

-- Records that retention deletes anyway. Deleting their parent must not take time in proportion to them.
alter table zmesh.schedule_runs drop constraint schedule_runs_schedule_id_fkey;
alter table zmesh.webhook_deliveries drop constraint webhook_deliveries_webhook_id_fkey;
alter table zmesh.callbacks drop constraint callbacks_project_id_fkey;

create table zmesh.deleted_functions (
    function_id uuid primary key,
    deleted_at  timestamptz not null,
    slug        text not null
);
comment on table zmesh.deleted_functions is
    'Functions that were deleted with more in the queue than one statement should cancel; zmesh.cancel_orphans() cancels the rest.';

create table zmesh.leftover_roles (
    role_name  name primary key,
    created_at timestamptz not null,
    reason     text not null
);
comment on table zmesh.leftover_roles is
    'Roles of deleted projects that could not be dropped, because of objects that the platform cannot reach. Nobody can log in as one.';
