-- Tenants: a project owns functions, keys, schedules, webhooks, and a schema of the database with a login role.

create table zmesh.projects (
    id                  uuid        primary key     default gen_random_uuid(),
    created_at          timestamptz not null        default now(),
    name                text        not null,
    slug                text        not null unique,
    role_name           name        not null unique,
    schema_name         name        not null unique,
    max_running         integer     not null        default 64,
    max_queued          integer     not null        default 100000,
    max_connections     integer,
    requests_per_second integer,
    network             text        not null        default 'open',
    allow_scripts       text[]      not null        default '{}',
    constraint projects_name_is_short                   check (length(name) between 1 and 100),
    constraint projects_slug_is_plain                   check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(slug) <= 63),
    constraint projects_max_running_is_positive         check (max_running > 0),
    constraint projects_max_queued_is_positive          check (max_queued > 0),
    constraint projects_max_connections_is_positive     check (max_connections > 0),
    constraint projects_requests_per_second_is_positive check (requests_per_second > 0),
    constraint projects_network_is_known                check (network in ('open', 'none'))
);
comment on table zmesh.projects is
    'A tenant. It owns functions, API keys, schedules, webhooks, a login role and a schema.';
comment on column zmesh.projects.max_running is 'How many invocations of this project may run at once, over all listeners.';
comment on column zmesh.projects.max_queued is
    'How many ready invocations may be queued before the API refuses further ones for this project.';
comment on column zmesh.projects.max_connections is
    'How many database sessions the project''s role may have at once; null: a quarter of the server''s connections, at most 100.';
comment on column zmesh.projects.requests_per_second is
    'How many requests per second each API process accepts for this project; null: no limit.';

comment on column zmesh.projects.network is
    'What runs may connect to beside the project''s database: open, what their function may; none, nothing.';
comment on column zmesh.projects.allow_scripts is
    'npm packages whose install scripts run when they are built, by name.';

-- Row security of every table rests on this.
create function zmesh.project_of(role name) returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select id from zmesh.projects where role_name = role;
end;
comment on function zmesh.project_of(name) is 'The project whose login role this is, or null.';

create table zmesh.project_databases (
    project_id      uuid  primary key references zmesh.projects on delete cascade,
    sealed_password bytea not null
);
comment on table zmesh.project_databases is
    'Passwords of the projects'' roles, sealed with ZMESH_SECRET_KEY, so that a dump of the database does not reveal them.';

create table zmesh.leftover_roles (
    role_name  name        primary key,
    created_at timestamptz not null,
    reason     text        not null
);
comment on table zmesh.leftover_roles is
    'Roles of deleted projects that could not be dropped because the platform cannot reach objects that depend on them. They cannot log in.';

-- The API creates and drops triggers on projects' tables as their owner, the project's role, whose password it unseals.
grant select on zmesh.projects, zmesh.project_databases to zmesh_api, zmesh_listener;
