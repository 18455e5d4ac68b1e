-- Packages of functions: builds install what a manifest asks for, layers hold what was installed.
--
-- A build is a job, as an invocation is: queued by the API, claimed by a listener under its lease, and finished with a
-- lock and a layer, or with an error. A function, and each of its versions, refers to the build whose packages it runs
-- with; zmesh.forget_builds() deletes builds that nothing refers to, and then layers that no build refers to.

create table zmesh.layers (
    project_id uuid        not null references zmesh.projects on delete cascade,
    hash       text        not null,
    platform   text        not null,
    bytes      bigint      not null,
    files      integer     not null,
    created_at timestamptz not null,
    primary key (project_id, hash),
    constraint layers_hash_is_sha256     check (hash ~ '^[0-9a-f]{64}$'),
    constraint layers_bytes_is_positive  check (bytes > 0),
    constraint layers_files_is_positive  check (files > 0)
);
comment on table zmesh.layers is
    'Installed packages, by the SHA-256 of their archive. Projects do not share rows: packages may be private.';
comment on column zmesh.layers.platform is 'Runtime, its version and the machine that the packages were installed for.';
comment on column zmesh.layers.bytes is 'Size of the archive before compression.';

create table zmesh.layer_chunks (
    project_id uuid    not null,
    hash       text    not null,
    number     integer not null,
    data       bytea   not null,
    primary key (project_id, hash, number),
    constraint layer_chunks_belong_to_a_layer
        foreign key (project_id, hash) references zmesh.layers on delete cascade,
    constraint layer_chunks_are_small check (octet_length(data) <= 1114112)
);
comment on table zmesh.layer_chunks is 'The archives of layers, a MiB at a time, each compressed by zlib.';
alter table zmesh.layer_chunks alter column data set storage external;

create table zmesh.function_imports (
    function_id uuid    not null references zmesh.functions on delete cascade,
    hash        text    not null,
    version     integer not null,
    names       text[]  not null,
    primary key (function_id, hash),
    constraint function_imports_has_at_most_64_names check (cardinality(names) between 1 and 64)
);
comment on table zmesh.function_imports is
    'Which packages of a layer runs of a function import, by their own account: listeners load them beforehand.';
comment on column zmesh.function_imports.version is 'The version whose first run said so; that of a later one replaces it.';

create table zmesh.builds (
    id               uuid        primary key default gen_random_uuid(),
    project_id       uuid        not null references zmesh.projects on delete cascade,
    listener_id      uuid,
    created_at       timestamptz not null,
    started_at       timestamptz,
    finished_at      timestamptz,
    attempts         smallint    not null default 0,
    cancel_requested boolean     not null default false,
    status           text        not null default 'queued',
    runtime          text        not null,
    manifest_hash    text        not null,
    manifest         jsonb       not null,
    lock             text,
    packages         jsonb       not null default '[]',
    layer_hash       text,
    error            jsonb,
    bundle           text,
    constraint builds_status_is_known          check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    constraint builds_runtime_is_known         check (runtime in ('python', 'node')),
    constraint builds_manifest_hash_is_sha256  check (manifest_hash ~ '^[0-9a-f]{64}$'),
    constraint builds_manifest_is_small        check (octet_length(manifest::text) <= 4194304),
    constraint builds_running_have_a_listener  check ((status = 'running') = (listener_id is not null)),
    constraint builds_finished_have_a_time     check ((status in ('queued', 'running')) = (finished_at is null)),
    constraint builds_failed_have_an_error     check ((status = 'failed') = (error is not null)),
    constraint builds_have_a_layer_of_their_project
        foreign key (project_id, layer_hash) references zmesh.layers (project_id, hash)
);
comment on table zmesh.builds is 'Jobs that resolve a manifest to exact packages and install them into a layer.';
comment on column zmesh.builds.listener_id is 'The listener that runs it, under the lease of that listener.';
comment on column zmesh.builds.manifest is 'Texts that say which packages are wanted, by file name.';
comment on column zmesh.builds.manifest_hash is 'SHA-256 of what matters in the manifest: equal ones need no second build.';
comment on column zmesh.builds.lock is 'Exact versions and hashes of all packages, in the format of the runtime''s installer.';
comment on column zmesh.builds.packages is 'Name, version and hash of each installed package.';
comment on column zmesh.builds.layer_hash is 'The installed packages; null where there are none.';
comment on column zmesh.builds.bundle is
    'SHA-256 of the uploaded archive that the packages come from; null: they come from registries.';
create unique index builds_one_at_a_time_per_manifest
    on zmesh.builds (project_id, manifest_hash) where status in ('queued', 'running');
create index builds_by_manifest on zmesh.builds (project_id, manifest_hash, created_at desc);
create index builds_unfinished on zmesh.builds (created_at) where status in ('queued', 'running');
create index builds_by_layer on zmesh.builds (project_id, layer_hash);

create table zmesh.build_logs (
    build_id uuid        not null references zmesh.builds on delete cascade,
    line     integer     not null,
    at       timestamptz not null,
    message  text        not null,
    primary key (build_id, line)
);
comment on table zmesh.build_logs is 'What builds print, written while they run.';

alter table zmesh.functions add column build_id uuid references zmesh.builds;
comment on column zmesh.functions.build_id is 'The build whose packages the code runs with; null: it needs none.';
create index functions_by_build on zmesh.functions (build_id) where build_id is not null;

alter table zmesh.function_versions add column build_id uuid references zmesh.builds;
comment on column zmesh.function_versions.build_id is 'The build whose packages this version runs with.';
create index function_versions_by_build on zmesh.function_versions (build_id) where build_id is not null;

create table zmesh.bundle_chunks (
    project_id uuid        not null references zmesh.projects on delete cascade,
    created_at timestamptz not null,
    number     integer     not null,
    hash       text        not null,
    data       bytea       not null,
    primary key (project_id, hash, number),
    constraint bundle_chunks_hash_is_sha256 check (hash ~ '^[0-9a-f]{64}$'),
    constraint bundle_chunks_are_few        check (number between 0 and 511),
    constraint bundle_chunks_are_small      check (octet_length(data) <= 1114112)
);
comment on table zmesh.bundle_chunks is
    'Installed packages that were uploaded for a build, a MiB at a time, each compressed by zlib; kept for a day.';
comment on column zmesh.bundle_chunks.hash is 'SHA-256 of the archive, as the uploader says; the build verifies it.';
alter table zmesh.bundle_chunks alter column data set storage external;
create index bundle_chunks_by_age on zmesh.bundle_chunks (created_at);

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

-- The API never reads a token; listeners get it through zmesh.registries_of_build().
grant select (id, project_id, created_at, updated_at, runtime, packages, url, has_token) on zmesh.registries to zmesh_api;
grant select (project_id, number, hash) on zmesh.bundle_chunks to zmesh_api;
grant select on zmesh.builds, zmesh.build_logs, zmesh.layers to zmesh_api;
