-- Drafts: code that a member tries before deploying it. A draft is a version below zero that only zmesh.save_draft()
-- makes and only the invocation of its test runs. No list, alias or rollback knows it.

create or replace function zmesh.save_draft(p_function_id uuid, p_code jsonb) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_kept   constant integer := 20;   -- of each function
    v_draft  zmesh.function_versions;
    v_number integer;
begin
    perform from zmesh.functions f where f.id = p_function_id for key share;   -- waits for no deployment
    if not found then
        perform zmesh.fail('ZM404', 'function does not exist');
    end if;
    insert into zmesh.draft_numbers as n (function_id, last) values (p_function_id, -1)
        on conflict (function_id) do update set last = n.last - 1
    returning n.last into v_number;
    v_draft := jsonb_populate_record(null::zmesh.function_versions, p_code);
    delete from zmesh.function_versions v
     where v.function_id = p_function_id and v.version < 0
       and v.version >= (select d.version from zmesh.function_versions d
                          where d.function_id = p_function_id and d.version < 0
                          order by d.version offset c_kept - 1 limit 1);
    insert into zmesh.function_versions (function_id, version, language, entry_point, style, code, build_id, entry_file,
                                         files, file_sizes, settings, created_at)
    values (p_function_id, v_number, v_draft.language, v_draft.entry_point, v_draft.style, v_draft.code,
            v_draft.build_id, v_draft.entry_file, v_draft.files, zmesh.checked_files(v_draft.entry_file, v_draft.code, v_draft.files), v_draft.settings,
            zmesh.now())
    returning * into v_draft;
    return v_draft.version;
end $$;
comment on function zmesh.save_draft(uuid, jsonb) is
    'Stores code of a function to be tried, and returns its number, below zero, which no other draft of it ever has. '
    'The oldest of more than 20 are deleted.';

create or replace function zmesh.function_for_drafts(p_project_id uuid, p_name text, p_language text)
returns setof zmesh.functions
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_slug text := left(coalesce(nullif(zmesh.slug_of(p_name), ''), 'function'), 80) || '-draft-'
                   || left(md5(gen_random_uuid()::text), 8);
begin
    if not exists (select from zmesh.functions f where f.project_id = p_project_id and f.draft_of = p_name) then
        insert into zmesh.functions (project_id, name, language, code, auth, draft_of)
        values (p_project_id, v_slug, p_language, '', 'jwt', p_name)
            on conflict (project_id, draft_of) where draft_of is not null do nothing;
    end if;
    return query select f.* from zmesh.functions f where f.project_id = p_project_id and f.draft_of = p_name;
end $$;
comment on function zmesh.function_for_drafts(uuid, text, text) is
    'The row that holds the drafts of a function that is not deployed, made where there is none.';

create or replace function zmesh.save_dry_run(p_function_id uuid, p_version integer, p_alias text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_function zmesh.functions;
    v_version  integer := coalesce(p_version, zmesh.version_by_alias(p_function_id, coalesce(p_alias, 'live')));
    v_code     jsonb;
begin
    select f.* into v_function from zmesh.functions f where f.id = p_function_id;
    if not found then
        perform zmesh.fail('ZM404', 'function does not exist');
    end if;
    if v_version is null and p_alias is not null then
        perform zmesh.fail('ZM404', format('function "%s" has no alias "%s"', v_function.slug, p_alias),
                           'List its aliases: zmesh functions alias list ' || v_function.slug);
    end if;
    v_version := coalesce(v_version, v_function.version);
    perform zmesh.require_runnable(p_function_id, v_function.slug, v_version);
    if v_version = v_function.version then
        v_code := to_jsonb(v_function);
    else
        select to_jsonb(v) into v_code from zmesh.function_versions v
         where v.function_id = p_function_id and v.version = v_version;
    end if;
    return zmesh.save_draft(p_function_id, v_code || '{"settings": {"dry_run": true}}');
end $$;
comment on function zmesh.save_dry_run(uuid, integer, text) is
    'Makes a draft of a version, or of the one that an alias or the live one chooses, whose runs are dry; returns its number.';

create or replace function zmesh.keep_changes(p_listener uuid, p_id uuid, p_changes json) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into zmesh.dry_runs (invocation_id, project_id, created_at, changes)
    select q.id, q.project_id, zmesh.now(), p_changes
      from zmesh.queue q where q.id = p_id and q.status = 'running' and q.listener_id = p_listener
        on conflict (invocation_id) do update set created_at = excluded.created_at, changes = excluded.changes;
end $$;
comment on function zmesh.keep_changes(uuid, uuid, json) is
    'Stores what a dry run would have changed, while the listener that asks still runs it.';

create or replace function zmesh.delete_old_drafts() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_old timestamptz := zmesh.now() - interval '1 hour';
begin
    delete from zmesh.function_versions where ctid = any (array(
        select ctid from zmesh.function_versions where version < 0 and created_at < v_old limit 1000));
    delete from zmesh.dry_runs where ctid = any (array(
        select ctid from zmesh.dry_runs where created_at < v_old limit 1000));
    delete from zmesh.functions where id = any (array(
        select f.id from zmesh.functions f
         where f.draft_of is not null and f.created_at < v_old
           and not exists (select from zmesh.function_versions v where v.function_id = f.id)
         limit 100 for update skip locked));
end $$;
comment on function zmesh.delete_old_drafts() is 'Deletes drafts and changes of dry runs after an hour, in batches, and the rows that only held drafts.';

grant execute on function zmesh.save_draft(uuid, jsonb), zmesh.function_for_drafts(uuid, text, text),
      zmesh.save_dry_run(uuid, integer, text) to zmesh_api;
grant execute on function zmesh.keep_changes(uuid, uuid, json) to zmesh_listener;
