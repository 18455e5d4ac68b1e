-- Drafts: code that a member tries before deploying it. A draft is a version below zero that only zmesh.save_draft()
-- makes and only the invocation of its test runs. No list, alias or rollback knows it.

create or replace function zmesh.save_draft(p_function_id uuid, p_code jsonb) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_kept  constant integer := 20;   -- of each function
    v_draft zmesh.function_versions;
begin
    perform from zmesh.functions f where f.id = p_function_id for no key update;   -- one number for each
    if not found then
        perform zmesh.fail('ZM404', 'function does not exist');
    end if;
    v_draft := jsonb_populate_record(null::zmesh.function_versions, p_code);
    delete from zmesh.function_versions v
     where v.function_id = p_function_id and v.version < 0
       and v.version >= (select d.version from zmesh.function_versions d
                          where d.function_id = p_function_id and d.version < 0
                          order by d.version offset c_kept - 1 limit 1);
    insert into zmesh.function_versions (function_id, version, language, entry_point, style, code, build_id, entry_file,
                                         files, file_sizes, created_at)
    values (p_function_id,
            coalesce((select min(v.version) from zmesh.function_versions v
                       where v.function_id = p_function_id and v.version < 0), 0) - 1,
            v_draft.language, v_draft.entry_point, v_draft.style, v_draft.code, v_draft.build_id, v_draft.entry_file,
            v_draft.files, zmesh.checked_files(v_draft.entry_file, v_draft.code, v_draft.files), zmesh.now())
    returning * into v_draft;
    return v_draft.version;
end $$;
comment on function zmesh.save_draft(uuid, jsonb) is
    'Stores code of a function to be tried, and returns its number, below zero. The oldest of more than 20 are deleted.';

grant execute on function zmesh.save_draft(uuid, jsonb) to zmesh_api;
