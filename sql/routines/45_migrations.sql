-- Migrations of a project's own schema. Everything here runs as its caller, the project's role, and in its schema: which
-- migrations were applied is in a table of the project's own, so that it is saved and restored with the tables they made.

create or replace function zmesh.migrations_table() returns text
language sql stable
return pg_catalog.format('%I.zmesh_migrations', current_schema());
comment on function zmesh.migrations_table() is 'The name of the caller''s table of applied migrations, as SQL writes it.';

create or replace function zmesh.applied_migrations() returns table (name text, checksum text, applied_at timestamptz)
language plpgsql stable as $$
begin
    if to_regclass(zmesh.migrations_table()) is not null then
        return query execute format('select m.name, m.checksum, m.applied_at from %s m', zmesh.migrations_table());
    end if;
end $$;
comment on function zmesh.applied_migrations() is 'The migrations that were applied to the caller''s schema.';

create or replace function zmesh.lock_migrations() returns void
language plpgsql as $$
declare
    v_table text := zmesh.migrations_table();
begin
    if to_regclass(v_table) is null then
        execute format('create table if not exists %s (name text primary key, checksum text not null, '
                       'applied_at timestamptz not null default now())', v_table);
        execute format('comment on table %s is %L', v_table, 'Migrations of this schema, applied by zmesh deploy.');
    end if;
    execute format('lock table %s in share row exclusive mode', v_table);
end $$;
comment on function zmesh.lock_migrations() is
    'Lets nobody else apply migrations to the caller''s schema until the transaction ends.';

create or replace function zmesh.record_migration(p_name text, p_sql text) returns void
language plpgsql as $$
begin
    execute format('insert into %s (name, checksum) values ($1, $2)', zmesh.migrations_table())
      using p_name, encode(sha256(convert_to(p_sql, 'UTF8')), 'hex');
end $$;
comment on function zmesh.record_migration(text, text) is 'Records that a migration was applied, with the checksum of its text.';

create or replace function zmesh.apply_migration(p_name text, p_sql text) returns void
language plpgsql as $$
begin
    set local lock_timeout = '5s';   -- a statement that waits for a lock holds up whoever comes after it
    execute p_sql;
    reset all;   -- what the migration has set, such as search_path
    perform zmesh.record_migration(p_name, p_sql);
end $$;
comment on function zmesh.apply_migration(text, text) is
    'Runs a migration and records it. Its statements cannot end the transaction, their rows go nowhere, and settings are '
    'reset afterwards.';

grant execute on function zmesh.migrations_table(), zmesh.applied_migrations(), zmesh.lock_migrations(),
      zmesh.record_migration(text, text), zmesh.apply_migration(text, text) to zmesh_project;
