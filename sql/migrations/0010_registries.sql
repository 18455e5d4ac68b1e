-- Registries of projects, and packages that may run scripts.

create table zmesh.registries (
    id           uuid        primary key default gen_random_uuid(),
    project_id   uuid        not null references zmesh.projects on delete cascade,
    created_at   timestamptz not null,
    updated_at   timestamptz not null,
    runtime      text        not null,
    packages     text        not null,
    url          text        not null,
    sealed_token bytea,
    has_token    boolean     not null generated always as (sealed_token is not null) stored,
    constraint registries_are_one_for_some_packages   unique (project_id, runtime, packages),
    constraint registries_runtime_is_known            check (runtime in ('python', 'node')),
    constraint registries_packages_are_of_the_runtime check (
        case runtime when 'node' then packages ~ '^(@[a-z0-9_.~-]+)?$'
                     else packages ~ '^([a-z0-9]+(-[a-z0-9]+)*(-\*)?)?$' end and length(packages) <= 214),
    constraint registries_url_is_http                 check (url ~ '^https?://[^[:space:]]+$' and length(url) <= 1000),
    constraint registries_token_is_at_most_8_kib      check (octet_length(sealed_token) <= 8192 + 64)
);
comment on table zmesh.registries is
    'Where builds of a project find packages, in place of the registry of the installation.';
comment on column zmesh.registries.packages is
    'Which packages it has, and no other registry is asked for: a scope (@acme) of npm, a name (acme-core) or prefix (acme-*) '
    'of Python packages; empty: all that no other registry of the project has.';
comment on column zmesh.registries.sealed_token is
    'The token, sealed with ZMESH_SECRET_KEY and bound to project, packages and URL; null: it needs none.';

alter table zmesh.projects add column allow_scripts text[] not null default '{}';
comment on column zmesh.projects.allow_scripts is
    'npm packages whose install scripts run when they are built, by name.';

-- The API never reads a token; listeners get it through zmesh.registries_of_build().
grant select (id, project_id, created_at, updated_at, runtime, packages, url, has_token) on zmesh.registries to zmesh_api;

comment on column zmesh.builds.packages is 'Name, version and hash of each installed package.';
