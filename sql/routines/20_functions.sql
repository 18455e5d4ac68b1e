-- A setting of the transaction tells the database triggers who deploys. Each routine that writes functions sets it anew,
-- and only the owner of the table can write functions without these routines.
create or replace function zmesh.set_deployer(p_by uuid) returns void
language plpgsql as $$
begin
    perform set_config('zmesh.deployer', coalesce((select u.email from zmesh.users u where u.id = p_by),
                                                  (select k.name || ' (API key)' from zmesh.api_keys k where k.id = p_by), ''),
                       true);
end $$;
comment on function zmesh.set_deployer(uuid) is
    'Says which user or API key makes the next changes of functions in this transaction; null: the database''s own client.';

create or replace function zmesh.deployer() returns text
language sql stable
return coalesce(nullif(current_setting('zmesh.deployer', true), ''), session_user || ' (SQL)');
comment on function zmesh.deployer() is 'Who deploys: whoever zmesh.set_deployer() was given, or the role that logged in.';

create or replace function zmesh.prepare_function() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_other text;
begin
    new.slug := coalesce(new.slug, zmesh.slug_of(new.name));
    if new.slug = '' then
        perform zmesh.fail('ZM422', format('cannot derive a slug from the name "%s"', new.name),
            'URLs and SQL call a function by its slug: use at least one of the letters a to z, or a digit, in the name.',
            'functions_slug_is_plain', 'name');
    end if;
    -- A function is identified by its exact name: one with another name must not take its place.
    select f.name into v_other from zmesh.functions f
     where f.project_id = new.project_id and f.slug = new.slug and f.name <> new.name;
    if found then
        perform zmesh.fail('unique_violation',
            format('the name "%s" gives the slug "%s", which function "%s" already has', new.name, new.slug, v_other),
            'Choose another name, or deploy under the name that is there.', 'functions_slug_is_unique', 'name');
    end if;
    new.file_sizes := zmesh.checked_files(new.entry_file, new.code, new.files);
    new.version := 1;
    new.revision := 1;
    new.deployed_by := zmesh.deployer();
    new.created_at := zmesh.now();
    new.updated_at := new.created_at;
    return new;
end $$;
comment on function zmesh.prepare_function() is 'Sets the slug, version, revision, deployer and times of a new function.';

create or replace trigger functions_prepare before insert on zmesh.functions
    for each row execute function zmesh.prepare_function();

create or replace function zmesh.snapshot_function() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.id := old.id;
    new.project_id := old.project_id;
    new.created_at := old.created_at;
    new.file_sizes := old.file_sizes;
    new.version := old.version;
    new.revision := old.revision;
    new.deployed_by := old.deployed_by;
    new.updated_at := old.updated_at;
    if new is not distinct from old then
        return new;
    end if;
    if (new.code, new.entry_point, new.style, new.init, new.language, new.build_id, new.entry_file, new.files)
       is distinct from
       (old.code, old.entry_point, old.style, old.init, old.language, old.build_id, old.entry_file, old.files) then
        new.file_sizes := zmesh.checked_files(new.entry_file, new.code, new.files);
        insert into zmesh.function_versions (function_id, version, language, entry_point, code, build_id, entry_file, files,
                                             file_sizes, style, init, deployed_by, created_at)
        values (old.id, old.version, old.language, old.entry_point, old.code, old.build_id, old.entry_file, old.files,
                old.file_sizes, old.style, old.init, old.deployed_by, zmesh.now());
        new.version := old.version + 1;
        new.deployed_by := zmesh.deployer();
    end if;
    new.revision := old.revision + 1;
    new.updated_at := zmesh.now();
    return new;
end $$;
comment on function zmesh.snapshot_function() is
    'Increments the revision on every change. When code or files change, saves the previous version, increments the '
    'version and notes who deployed it.';

create or replace trigger functions_snapshot before update on zmesh.functions
    for each row execute function zmesh.snapshot_function();

create or replace function zmesh.cancel_invocations_of_function() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set jit = off set enable_bitmapscan = off as $$
declare
    c_at_once constant integer := 1000;
    v_queued  uuid[] := array(select id from zmesh.queue where function_id = old.id and status = 'queued'
                               order by id desc limit c_at_once);
begin
    perform zmesh.cancel(v_queued || array(select id from zmesh.queue where function_id = old.id and status = 'running'),
                         format('function "%s" was deleted', old.slug));
    if cardinality(v_queued) = c_at_once then
        insert into zmesh.deleted_functions (function_id, slug, deleted_at) values (old.id, old.slug, zmesh.now())
            on conflict do nothing;
    end if;
    return old;
end $$;
comment on function zmesh.cancel_invocations_of_function() is
    'Cancels running and the first queued invocations of a deleted function; zmesh.cancel_orphans() cancels the rest.';

create or replace trigger functions_cancel_jobs before delete on zmesh.functions
    for each row execute function zmesh.cancel_invocations_of_function();

-- What people set of a function; everything else is the database's own.
create or replace function zmesh.function_settings() returns text[]
language sql immutable parallel safe
return array['name', 'description', 'tags', 'language', 'entry_point', 'code', 'entry_file', 'files', 'enabled',
             'timeout_ms', 'memory_mb', 'env_vars', 'network', 'max_attempts', 'retry_base_ms', 'retry_max_ms',
             'max_concurrency', 'max_concurrency_per_key', 'auth', 'methods', 'cors_origins', 'anonymous_options',
             'key_options', 'public_errors', 'build_id', 'style', 'init', 'preload'];
comment on function zmesh.function_settings() is 'The columns of zmesh.functions that users may set.';

create or replace function zmesh.check_function_settings(p_settings jsonb) returns void
language plpgsql immutable as $$
declare
    v_unknown text := (select k from jsonb_object_keys(p_settings) k where k <> all (zmesh.function_settings()) limit 1);
begin
    if v_unknown is not null then
        perform zmesh.fail('ZM422', format('a function has no setting "%s"', v_unknown), p_column => v_unknown);
    end if;
end $$;
comment on function zmesh.check_function_settings(jsonb) is 'Rejects names that are not settings of functions.';

create or replace function zmesh.create_function(p_project_id uuid, p_settings jsonb, p_by uuid default null)
returns zmesh.functions
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_columns  text := (select string_agg(quote_ident(k), ', ') from jsonb_object_keys(p_settings) k);
    v_function zmesh.functions;
begin
    perform zmesh.check_function_settings(p_settings);
    perform zmesh.set_deployer(p_by);
    -- Named, so that what is left out gets the default of its column.
    execute format('insert into zmesh.functions (project_id, %s)'
                   ' select $1, %1$s from jsonb_populate_record(null::zmesh.functions, $2) returning *', v_columns)
       into v_function using p_project_id, p_settings;
    return v_function;
end $$;
comment on function zmesh.create_function(uuid, jsonb, uuid) is
    'Creates a function with these settings, by this user or API key; the others get their defaults.';

create or replace function zmesh.function_by_name(p_project_id uuid, p_name text) returns setof zmesh.functions
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    return query select f.* from zmesh.functions f where f.project_id = p_project_id and f.name = p_name for update;
end $$;
comment on function zmesh.function_by_name(uuid, text) is
    'The function with exactly this name, locked until the transaction ends, so that a deployment can read it and '
    'then change it.';

create or replace function zmesh.change_function(
    p_id uuid, p_settings jsonb, p_revisions integer[] default null, p_by uuid default null)
returns setof zmesh.functions
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_new zmesh.functions;
begin
    perform zmesh.check_function_settings(p_settings);
    select f.* into v_new from zmesh.functions f
     where f.id = p_id and (p_revisions is null or f.revision = any (p_revisions)) for update;
    if not found then
        return;
    end if;
    perform zmesh.set_deployer(p_by);
    v_new := jsonb_populate_record(v_new, p_settings);
    return query
        update zmesh.functions f
           set name = v_new.name, description = v_new.description, tags = v_new.tags, language = v_new.language,
               entry_point = v_new.entry_point, code = v_new.code, entry_file = v_new.entry_file,
               files = case when p_settings ? 'files' then v_new.files else f.files end, enabled = v_new.enabled,
               timeout_ms = v_new.timeout_ms, memory_mb = v_new.memory_mb, env_vars = v_new.env_vars,
               network = v_new.network, max_attempts = v_new.max_attempts, retry_base_ms = v_new.retry_base_ms,
               retry_max_ms = v_new.retry_max_ms, max_concurrency = v_new.max_concurrency,
               max_concurrency_per_key = v_new.max_concurrency_per_key, auth = v_new.auth, methods = v_new.methods,
               cors_origins = v_new.cors_origins, anonymous_options = v_new.anonymous_options,
               key_options = v_new.key_options, public_errors = v_new.public_errors, build_id = v_new.build_id,
               style = v_new.style, init = v_new.init, preload = v_new.preload
         where f.id = p_id
        returning f.*;
end $$;
comment on function zmesh.change_function(uuid, jsonb, integer[], uuid) is
    'Changes these settings, as this user or API key, and returns the function; no row if it does not exist or has none of the revisions.';

create or replace function zmesh.delete_function(p_id uuid, p_revisions integer[] default null) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from zmesh.functions where id = p_id and (p_revisions is null or revision = any (p_revisions));
    return found;
end $$;
comment on function zmesh.delete_function(uuid, integer[]) is
    'Deletes a function, if it has one of the revisions; a trigger cancels its invocations. Returns whether it did.';

create or replace function zmesh.is_retired(p_function_id uuid, p_version integer) returns boolean
language plpgsql stable as $$
begin
    return exists (select from zmesh.function_versions v
                    where v.function_id = p_function_id and v.version = p_version and v.retired_at is not null)
        or p_version < 0 and not exists (select from zmesh.function_versions v
                                          where v.function_id = p_function_id and v.version = p_version);
end $$;
comment on function zmesh.is_retired(uuid, integer) is 'Whether this version is retired, or a draft that was deleted, and must not run.';

create or replace function zmesh.fail_retired(p_function text, p_version integer) returns void
language plpgsql as $$
begin
    perform zmesh.fail('ZM409', format('version %s of function "%s" is retired', p_version, p_function),
        format('Choose another version, or allow it again: zmesh functions unretire %s %s', p_function, p_version),
        'function_versions_retired_ones_do_not_run', 'version');
end $$;
comment on function zmesh.fail_retired(text, integer) is
    'Raises the error for running, restoring or naming a retired version.';

create or replace function zmesh.rollback(
    p_function_id uuid, p_version integer, p_revisions integer[] default null, p_by uuid default null)
returns zmesh.functions
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_function zmesh.functions;
    v_saved    zmesh.function_versions;
begin
    select * into v_function from zmesh.functions where id = p_function_id for update;
    if not found then
        perform zmesh.fail('ZM404', 'function does not exist');
    end if;
    if v_function.revision <> all (p_revisions) then
        perform zmesh.fail('ZM412', format('the function is at revision %s', v_function.revision));
    end if;
    select * into v_saved from zmesh.function_versions where function_id = p_function_id and version = p_version and version > 0;
    if not found then
        if p_version = v_function.version then
            perform zmesh.fail('ZM409', format('version %s is the current version', p_version),
                               'Choose one of the earlier versions.');
        end if;
        perform zmesh.fail('ZM404', format('version %s does not exist', p_version),
                           'List the versions to see which can be restored.');
    end if;
    if v_saved.retired_at is not null then
        perform zmesh.fail_retired(v_function.slug, p_version);
    end if;
    perform zmesh.set_deployer(p_by);
    update zmesh.functions
       set language = v_saved.language, entry_point = v_saved.entry_point, code = v_saved.code,
           build_id = v_saved.build_id, entry_file = v_saved.entry_file, files = v_saved.files,
           style = v_saved.style, init = v_saved.init
     where id = p_function_id
    returning * into v_function;
    return v_function;
end $$;
comment on function zmesh.rollback(uuid, integer, integer[], uuid) is
    'Restores a saved version, if the function has one of the revisions; the trigger saves the current state first, so a rollback can be rolled back.';

grant execute on function zmesh.create_function(uuid, jsonb, uuid), zmesh.function_by_name(uuid, text),
      zmesh.change_function(uuid, jsonb, integer[], uuid), zmesh.delete_function(uuid, integer[]),
      zmesh.rollback(uuid, integer, integer[], uuid) to zmesh_api;
