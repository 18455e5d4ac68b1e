-- Folders as functions: files beside the entry file, whose text stays in the column code.
alter table zmesh.functions
    add column entry_file text,
    add column files      jsonb not null default '{}',
    add column file_sizes jsonb not null default '{}',
    add constraint functions_entry_file_is_sized check ((file_sizes = '{}') = (entry_file is null));
comment on column zmesh.functions.code is 'Source text; of a folder, that of its entry file.';
comment on column zmesh.functions.entry_file is
    'Path of the file that is loaded first; null: the function is a single file without a path.';
comment on column zmesh.functions.files is
    'The other files of the folder: paths with their content, text or {"base64": text}. Paths are relative and normalized; 1000 '
    'files and 8 MiB at most, the entry file included.';
comment on column zmesh.functions.file_sizes is
    'Set by a database trigger: the size in bytes of every file, the entry file included; empty without an entry file.';
comment on column zmesh.functions.version is
    'Incremented by a database trigger with every change of code, files, entry file, entry point or language, including a rollback.';

alter table zmesh.function_versions
    add column entry_file text,
    add column files      jsonb not null default '{}',
    add column file_sizes jsonb not null default '{}';

-- They return the entry file as well.
drop function if exists zmesh.claim_round(uuid, integer);
drop function if exists zmesh.claim(uuid, integer);
