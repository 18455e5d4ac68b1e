-- Table changes are passed on in another way (sql/routines/42_changes.sql): what the old one was made of goes.
-- Its triggers keep working until zmesh.renew_changes() replaces them, at the end of this migration.
drop function if exists zmesh.on_change(regclass, text, text[], text, text[]);
drop function if exists zmesh.off_change(regclass, text);
drop function if exists zmesh.change_condition(regclass, text, text, text[]);
drop function if exists zmesh.change_insert(text, regclass, text, text);
drop function if exists zmesh.change_source(text, regclass);
drop function if exists zmesh.change_function(regclass, text);
drop function if exists zmesh.change_name(text, text);
