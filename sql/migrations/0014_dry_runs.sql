-- Code that runs without being deployed: of functions that do not exist yet, and with settings of its own.

alter table zmesh.functions add column draft_of text;
create unique index functions_of_drafts on zmesh.functions (project_id, draft_of) where draft_of is not null;
comment on column zmesh.functions.draft_of is
    'Set where nothing is deployed: the row only holds the drafts of a function that does not exist yet, by its name. No list has it, and '
    'it is deleted with the last of them.';

alter table zmesh.function_versions add column settings jsonb;
comment on column zmesh.function_versions.settings is
    'Of drafts: timeout_ms, memory_mb, env_vars and network in place of the function''s, and whether it is a dry_run.';

-- Their results have a column more.
drop function if exists zmesh.claim_round(uuid, integer);
drop function if exists zmesh.claim(uuid, integer);
