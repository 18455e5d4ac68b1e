-- Handlers that are called in another way than their form tells.

alter table zmesh.functions add column style text,
    add constraint functions_style_is_known check (style = 'lambda');
comment on column zmesh.functions.style is
    'How the handler is called: lambda, as AWS Lambda does, with event and context; null: as its form tells.';
comment on column zmesh.functions.version is
    'Incremented by a database trigger with every change of code, files, entry file, entry point, style or language, including a rollback.';

alter table zmesh.function_versions add column style text;

-- Their results have two columns more.
drop function if exists zmesh.claim_round(uuid, integer);
drop function if exists zmesh.claim(uuid, integer);
