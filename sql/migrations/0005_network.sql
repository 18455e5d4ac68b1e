-- Runs without network access, for a function or for all of a project.

alter table zmesh.functions add column network text not null default 'open',
    add constraint functions_network_is_known check (network in ('open', 'none'));
comment on column zmesh.functions.network is
    'What runs may connect to beside the project''s database: open, anything; none, nothing. The project''s none applies to all.';

alter table zmesh.projects add column network text not null default 'open',
    add constraint projects_network_is_known check (network in ('open', 'none'));
comment on column zmesh.projects.network is
    'What runs may connect to beside the project''s database: open, what their function may; none, nothing.';

-- Their results have a column more.
drop function if exists zmesh.claim_round(uuid, integer);
drop function if exists zmesh.claim(uuid, integer);
