-- Functions, their earlier versions, and the names that stand for versions.

create table zmesh.functions (
    id                      uuid        primary key default gen_random_uuid(),
    project_id              uuid        not null    references zmesh.projects on delete cascade,
    created_at              timestamptz not null    default now(),
    updated_at              timestamptz not null    default now(),
    name                    text        not null,
    slug                    text        not null,
    description             text        not null    default '',
    tags                    text[]      not null    default '{}',
    -- code
    language                text        not null,
    entry_point             text        not null    default 'handler',
    style                   text,
    init                    text,
    code                    text        not null,
    entry_file              text,
    files                   jsonb       not null    default '{}',
    file_sizes              jsonb       not null    default '{}',
    version                 integer     not null    default 1,
    revision                integer     not null    default 1,
    deployed_by             text,
    -- runs
    enabled                 boolean     not null    default true,
    timeout_ms              integer     not null    default 10000,
    memory_mb               integer     not null    default 256,
    env_vars                jsonb       not null    default '{}',
    network                 text        not null    default 'open',
    preload                 text[]      not null    default '{}',
    max_attempts            smallint    not null    default 3,
    retry_base_ms           integer     not null    default 1000,
    retry_max_ms            integer     not null    default 300000,
    max_concurrency         integer,
    max_concurrency_per_key integer     not null    default 1,
    -- public route
    auth                    text        not null    default 'api_key',
    methods                 text[]      not null    default '{GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS}',
    cors_origins            text[]      not null    default '{*}',
    anonymous_options       text[]      not null    default '{}',
    key_options             text[]      not null    default '{concurrency_key,delay,expires_at,idempotency_key}',
    public_errors           boolean     not null    default false,
    -- code that is not deployed
    draft_of                text,
    constraint functions_name_is_unique                    unique (project_id, name),
    constraint functions_slug_is_unique                    unique (project_id, slug),
    constraint functions_name_is_short                     check (length(name) between 1 and 100),
    constraint functions_slug_is_plain                     check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(slug) <= 100),
    constraint functions_description_is_short              check (length(description) <= 1000),
    constraint functions_tags_are_at_most_20
        check (cardinality(tags) <= 20 and array_position(tags, null) is null),
    constraint functions_language_is_known                 check (language in ('javascript', 'python', 'typescript')),
    constraint functions_entry_point_is_an_identifier      check (entry_point ~ '^[A-Za-z_$][A-Za-z0-9_$]{0,99}$'),
    constraint functions_style_is_known                    check (style = 'lambda'),
    constraint functions_init_is_known                     check (init = 'once'),
    constraint functions_code_is_at_most_1_mib             check (octet_length(code) <= 1048576),
    constraint functions_entry_file_is_sized               check ((file_sizes = '{}') = (entry_file is null)),
    constraint functions_version_is_positive               check (version > 0),
    constraint functions_timeout_is_1_ms_to_15_minutes     check (timeout_ms between 1 and 900000),
    constraint functions_memory_is_64_mb_to_8_gb           check (memory_mb between 64 and 8192),
    constraint functions_env_vars_is_an_object             check (jsonb_typeof(env_vars) = 'object'),
    constraint functions_network_is_known                  check (network in ('open', 'none')),
    constraint functions_preload_has_at_most_64_names
        check (cardinality(preload) <= 64 and array_position(preload, null) is null),
    constraint functions_max_attempts_is_1_to_100          check (max_attempts between 1 and 100),
    constraint functions_retry_base_is_1_ms_to_1_day       check (retry_base_ms between 1 and 86400000),
    constraint functions_retry_max_is_1_ms_to_7_days       check (retry_max_ms between 1 and 604800000),
    constraint functions_max_concurrency_is_positive       check (max_concurrency > 0),
    constraint functions_max_concurrency_per_key_is_positive check (max_concurrency_per_key > 0),
    constraint functions_auth_is_known                     check (auth in ('api_key', 'jwt', 'none')),
    constraint functions_methods_are_known
        check (methods <@ '{GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS}' and cardinality(methods) between 1 and 7),
    constraint functions_cors_origins_are_at_most_50
        check (cardinality(cors_origins) <= 50 and array_position(cors_origins, null) is null),
    constraint functions_anonymous_options_are_known
        check (anonymous_options <@ '{callback_url,concurrency_key,delay,expires_at,idempotency_key,max_attempts,priority,version}'
               and array_position(anonymous_options, null) is null),
    constraint functions_key_options_are_known
        check (key_options <@ '{callback_url,concurrency_key,delay,expires_at,idempotency_key,max_attempts,priority,version}'
               and array_position(key_options, null) is null)
);
create index functions_by_update on zmesh.functions (project_id, updated_at);
create unique index functions_of_drafts on zmesh.functions (project_id, draft_of) where draft_of is not null;
comment on table zmesh.functions is 'Functions with their current code. Earlier code is in function_versions.';
comment on column zmesh.functions.code is 'Source text; of a folder, that of its entry file.';
comment on column zmesh.functions.style is
    'How the handler is called: lambda, as AWS Lambda does, with event and context; null: as its form tells.';
comment on column zmesh.functions.init is
    'When top-level code is executed: once, in a process from which runs are then forked; null: in each run.';
comment on column zmesh.functions.entry_file is
    'Path of the file that is loaded first; null: the function is a single file without a path.';
comment on column zmesh.functions.files is
    'The other files of the folder: paths with their content, text or {"base64": text}. Paths are relative and normalized; 1000 '
    'files and 8 MiB at most, the entry file included.';
comment on column zmesh.functions.file_sizes is
    'Set by a database trigger: the size in bytes of every file, the entry file included; empty without an entry file.';
comment on column zmesh.functions.version is
    'Incremented by a database trigger with every change of code, files, entry file, entry point, style, init or language, including a rollback.';
comment on column zmesh.functions.deployed_by is
    'Set by a database trigger: who deployed the current version: the address of a member, the name of an API key, or the role with which a '
    'client of the database logged in. null: deployed before this was recorded.';
comment on column zmesh.functions.revision is
    'Incremented by a database trigger with every change. A client that sends it back cannot overwrite somebody else''s change.';
comment on column zmesh.functions.network is
    'What runs may connect to beside the project''s database: open, anything; none, nothing. The project''s none applies to all.';
comment on column zmesh.functions.preload is
    'Packages that are imported before runs are forked; empty: those that runs of the function were seen to import.';
comment on column zmesh.functions.max_attempts is
    'Attempts of an invocation that nobody waits for, unless the invocation sets its own number.';
comment on column zmesh.functions.retry_base_ms is
    'Delay after the first failed attempt, in milliseconds. It doubles with each further one, up to retry_max_ms.';
comment on column zmesh.functions.max_concurrency is
    'How many invocations of this function may run at once; null: only the project''s limit applies.';
comment on column zmesh.functions.max_concurrency_per_key is 'How many invocations with the same concurrency_key may run at once.';
comment on column zmesh.functions.auth is
    'Who may call the public route: holders of an API key, members with a token, or anybody.';
comment on column zmesh.functions.methods is 'HTTP methods that the public route accepts.';
comment on column zmesh.functions.cors_origins is 'Origins whose web pages may call the public route; * allows any.';
comment on column zmesh.functions.anonymous_options is
    'Invocation options that a caller without credentials may set on the public route.';
comment on column zmesh.functions.key_options is
    'Invocation options that an API key, or the token of a viewer, may set on the public route. Developers and owners may set all.';
comment on column zmesh.functions.public_errors is
    'Whether callers without credentials see the type, message and stack of an error.';
comment on column zmesh.functions.draft_of is
    'Set where nothing is deployed: the row only holds the drafts of a function that does not exist yet, by its name. No list has it, and '
    'it is deleted with the last of them.';

create table zmesh.function_versions (
    function_id uuid        not null references zmesh.functions on delete cascade,
    version     integer     not null,
    created_at  timestamptz not null default now(),
    retired_at  timestamptz,
    language    text        not null,
    entry_point text        not null,
    style       text,
    init        text,
    code        text        not null,
    entry_file  text,
    files       jsonb       not null default '{}',
    file_sizes  jsonb       not null default '{}',
    settings    jsonb,
    deployed_by text,
    primary key (function_id, version)
);
create index function_versions_drafts on zmesh.function_versions (created_at) where version < 0;
comment on table zmesh.function_versions is
    'Every version of a function before its current one, written by a database trigger only. Numbers below zero are drafts: code that is tried, not deployed, and deleted after an hour.';
comment on column zmesh.function_versions.retired_at is
    'When the version was retired: no attempt runs it since. null: it may run.';
comment on column zmesh.function_versions.deployed_by is 'Who deployed the version, as in functions; null for drafts.';
comment on column zmesh.function_versions.settings is
    'Of drafts: timeout_ms, memory_mb, env_vars and network in place of the function''s, and whether it is a dry_run.';

create table zmesh.draft_numbers (
    function_id uuid    primary key references zmesh.functions on delete cascade,
    last        integer not null
);
comment on table zmesh.draft_numbers is
    'The number of each function''s latest draft. None is given twice: invocations and listeners remember drafts by number after they were deleted.';

create table zmesh.function_aliases (
    function_id uuid        not null references zmesh.functions on delete cascade,
    name        text        not null,
    version     integer     not null,
    weight      smallint    not null,
    updated_at  timestamptz not null,
    primary key (function_id, name, version),
    constraint function_aliases_name_is_plain              check (name ~ '^[a-z][a-z0-9-]{0,62}$'),
    constraint function_aliases_weight_is_1_to_100_percent check (weight between 1 and 100)
);
comment on table zmesh.function_aliases is
    'Aliases: one row for each version an alias stands for, with its share of the invocations in percent.';

create table zmesh.deleted_functions (
    function_id uuid        primary key,
    deleted_at  timestamptz not null,
    slug        text        not null
);
comment on table zmesh.deleted_functions is
    'Deleted functions with more queued invocations than one statement should cancel; zmesh.cancel_orphans() cancels the rest.';

create table zmesh.version_messages (
    function_id uuid    not null references zmesh.functions on delete cascade,
    version     integer not null,
    message     text    not null,
    primary key (function_id, version),
    constraint version_messages_message_is_short check (length(message) between 1 and 1000)
);
comment on table zmesh.version_messages is 'What people said about a version when they deployed it.';

create table zmesh.deployed_projects (
    project_id  uuid        primary key references zmesh.projects on delete cascade,
    deployed_at timestamptz not null,
    state       jsonb       not null default '{}'
);
comment on table zmesh.deployed_projects is
    'The latest deployment of a project folder. Its row is locked by each, so that one comes after the other.';
comment on column zmesh.deployed_projects.state is
    'Hashes of what the deployment left, by kind and name: what differs from them was changed by something else.';

grant select on zmesh.functions, zmesh.function_versions, zmesh.function_aliases, zmesh.version_messages to zmesh_api;
