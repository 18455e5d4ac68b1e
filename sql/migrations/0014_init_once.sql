-- Functions whose top-level code is executed once, before their runs are forked.

alter table zmesh.functions add column init text,
    add constraint functions_init_is_known check (init = 'once');
comment on column zmesh.functions.init is
    'When top-level code is executed: once, in a process from which runs are then forked; null: in each run.';
comment on column zmesh.functions.version is
    'Incremented by a database trigger with every change of code, files, entry file, entry point, style, init or language, including a rollback.';

alter table zmesh.function_versions add column init text;

-- Their results have a column more.
drop function if exists zmesh.claim_round(uuid, integer);
drop function if exists zmesh.claim(uuid, integer);
