-- How functions are configured beside their code, aliases of their versions, and what an invocation remembers of both.

alter table zmesh.functions
    add column revision     integer not null default 1,
    add column description  text not null default '',
    add column tags         text[] not null default '{}',
    add column auth         text not null default 'api_key',
    add column methods      text[] not null default '{GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS}',
    add column cors_origins text[] not null default '{*}',
    add constraint functions_description_is_short check (length(description) <= 1000),
    add constraint functions_tags_are_at_most_20 check (cardinality(tags) <= 20 and array_position(tags, null) is null),
    add constraint functions_auth_is_known check (auth in ('api_key', 'jwt', 'none')),
    add constraint functions_methods_are_known
        check (methods <@ '{GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS}' and cardinality(methods) between 1 and 7),
    add constraint functions_cors_origins_are_at_most_50
        check (cardinality(cors_origins) <= 50 and array_position(cors_origins, null) is null);
comment on column zmesh.functions.revision is 'Grows by one with every change of anything; set by trigger. Who sends it back overwrites nobody.';
comment on column zmesh.functions.auth is 'Who may call the public route: who has an API key, a member''s token, or anybody.';
comment on column zmesh.functions.methods is 'HTTP methods that the public route takes.';
comment on column zmesh.functions.cors_origins is 'Origins of web pages that may call the public route; * is any.';

create table zmesh.function_aliases (
    function_id uuid not null references zmesh.functions on delete cascade,
    name        text not null,
    version     integer not null,
    weight      smallint not null,
    updated_at  timestamptz not null,
    primary key (function_id, name, version),
    constraint function_aliases_name_is_plain check (name ~ '^[a-z][a-z0-9-]{0,62}$'),
    constraint function_aliases_weight_is_1_to_100_percent check (weight between 1 and 100)
);
comment on table zmesh.function_aliases is
    'Names of versions: one row for each version an alias stands for, with its share of the invocations in percent.';

alter table zmesh.invocations
    add column pinned            boolean not null default false,
    add column alias             text,
    add column earlier_attempts  jsonb;
comment on column zmesh.invocations.version is
    'Version of the code: on insert the one to run, in place of the current one; then the one that ran.';
comment on column zmesh.invocations.pinned is 'Every attempt runs this version, whatever is deployed meanwhile.';
comment on column zmesh.invocations.alias is 'The alias that chose the version.';
comment on column zmesh.invocations.earlier_attempts is 'How the attempts before the last one ended, oldest first.';
alter table zmesh.queue
    add constraint invocations_pinned_ones_have_a_version check (not pinned or version is not null);

create index history_unsuccessful on zmesh.history (function_id, status, id desc) where status <> 'success';
