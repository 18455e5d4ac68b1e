-- Code that is tried before it is deployed.

create index function_versions_drafts on zmesh.function_versions (created_at) where version < 0;
comment on table zmesh.function_versions is
    'Every version of a function before its current one, written by a database trigger only. Numbers below zero are drafts: code that is tried, not deployed, and deleted after an hour.';
