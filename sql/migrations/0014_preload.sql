-- Packages that are imported before runs are forked: declared by a function, or learned from its runs instead of from the
-- first run of any function with the same layer.

alter table zmesh.functions add column preload text[] not null default '{}',
    add constraint functions_preload_has_at_most_64_names
        check (cardinality(preload) <= 64 and array_position(preload, null) is null);
comment on column zmesh.functions.preload is
    'Packages that are imported before runs are forked; empty: those that runs of the function were seen to import.';

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

-- Their arguments or results change.
drop function if exists zmesh.layer_of(uuid, uuid);
drop function if exists zmesh.layers_to_load(text[], integer);
drop function if exists zmesh.learn_imports(uuid, text, jsonb);
drop function if exists zmesh.claim_round(uuid, integer);
drop function if exists zmesh.claim(uuid, integer);

alter table zmesh.layers drop column imported;
