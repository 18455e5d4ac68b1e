-- Who deployed each version. Of those that are there already, nobody knows.

alter table zmesh.functions add column deployed_by text;
comment on column zmesh.functions.deployed_by is
    'Set by a database trigger: who deployed the current version: the address of a member, the name of an API key, or the role that a '
    'client of the database logged in with. null: deployed before this was kept.';
alter table zmesh.function_versions add column deployed_by text;
comment on column zmesh.function_versions.deployed_by is 'Who deployed the version, as in functions; null for drafts.';

-- Replaced by routines that take the user or API key as their last argument.
drop function if exists zmesh.create_function(uuid, jsonb);
drop function if exists zmesh.change_function(uuid, jsonb, integer[]);
drop function if exists zmesh.rollback(uuid, integer, integer[]);
