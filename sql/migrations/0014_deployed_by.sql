-- Who deployed each version; unknown for versions from before this migration.

alter table zmesh.functions add column deployed_by text;
comment on column zmesh.functions.deployed_by is
    'Set by a database trigger: who deployed the current version: the address of a member, the name of an API key, or the role with which a '
    'client of the database logged in. null: deployed before this was recorded.';
alter table zmesh.function_versions add column deployed_by text;
comment on column zmesh.function_versions.deployed_by is 'Who deployed the version, as in functions; null for drafts.';

-- Replaced by routines that take the user or API key as their last argument.
drop function if exists zmesh.create_function(uuid, jsonb);
drop function if exists zmesh.change_function(uuid, jsonb, integer[]);
drop function if exists zmesh.rollback(uuid, integer, integer[]);
