-- Files of functions: folders that are deployed as one function. Triggers on zmesh.functions check them, whoever writes,
-- so that every stored version can be written to any disk without leaving its folder.

create or replace function zmesh.check_file_path(p_path text) returns void
language plpgsql immutable as $$
begin
    if octet_length(p_path) > 255 then
        perform zmesh.fail('ZM422', format('path "%s…" is longer than 255 bytes', left(p_path, 60)),
                           'Use shorter names of files and folders.', 'functions_paths_are_short', 'files');
    end if;
    if p_path !~ '^[^/\\\x01-\x1f\x7f]+(/[^/\\\x01-\x1f\x7f]+)*$' or p_path ~ '(^|/)\.{1,2}(/|$)' then
        perform zmesh.fail('ZM422', format('path "%s" is not a normalized relative path', p_path),
                           'Write it relative to the function''s folder, such as src/index.ts: without a leading slash, empty, '
                           '. and .. segments, backslashes and control characters.',
                           'functions_paths_are_relative', 'files');
    end if;
    if p_path in ('tmp', '.shm') or p_path like '.shm/%' then
        perform zmesh.fail('ZM422', format('path "%s" is taken: the working directory of a run has a folder "%s"',
                                           p_path, split_part(p_path, '/', 1)),
                           'Rename it, or move it into a folder of the function.', 'functions_paths_are_free', 'files');
    end if;
end $$;
comment on function zmesh.check_file_path(text) is
    'Rejects a path that is not normalized, relative and at most 255 bytes long, or that every run has already.';

create or replace function zmesh.folded_path(p_path text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    if getdatabaseencoding() = 'UTF8' then   -- other encodings have only one spelling
        return lower(normalize(p_path, nfc));
    end if;
    return lower(p_path);
end $$;
comment on function zmesh.folded_path(text) is
    'The form of a path for comparing it as file systems do that ignore case and Unicode normalization.';

create or replace function zmesh.check_paths_together(p_paths text[]) returns void
language plpgsql immutable as $$
declare
    v_spellings text[];
    v_file      text;
begin
    -- Each path and all folders above it, with the spellings that a disk may not distinguish.
    select array_agg(distinct x.spelling collate "C"), min(x.spelling) filter (where not x.is_folder)
      into v_spellings, v_file
      from (select array_to_string(s.segments[1:n], '/') as spelling, n < cardinality(s.segments) as is_folder
              from unnest(p_paths) p
              cross join lateral (select string_to_array(p, '/') as segments) s
              cross join lateral generate_series(1, cardinality(s.segments)) n) x
     group by zmesh.folded_path(x.spelling)
    having count(distinct x.spelling collate "C") > 1 or bool_or(x.is_folder) and not bool_and(x.is_folder)
     limit 1;
    if not found then
        return;
    end if;
    if cardinality(v_spellings) > 1 then
        perform zmesh.fail('ZM422', format('paths "%s" and "%s" differ only in case or Unicode normalization',
                                           v_spellings[1], v_spellings[2]),
                           'Some file systems cannot keep both: rename one of them.', 'functions_paths_are_distinct', 'files');
    end if;
    perform zmesh.fail('ZM422', format('"%s" is a file and also a folder with files', v_file),
                       'Rename the file or the folder.', 'functions_paths_are_distinct', 'files');
end $$;
comment on function zmesh.check_paths_together(text[]) is
    'Rejects paths that a disk could not store together: they differ only in case, or a file is also a folder.';

create or replace function zmesh.file_size(p_path text, p_content jsonb) returns integer
language plpgsql immutable as $$
begin
    if jsonb_typeof(p_content) = 'string' then
        return octet_length(p_content #>> '{}');
    end if;
    if jsonb_typeof(p_content) = 'object' and jsonb_typeof(p_content -> 'base64') = 'string' and p_content - 'base64' = '{}' then
        begin
            return octet_length(decode(p_content ->> 'base64', 'base64'));
        exception when invalid_parameter_value then null;
        end;
    end if;
    perform zmesh.fail('ZM422', format('the content of "%s" is neither text nor {"base64": "…"}', p_path),
                       'Send text as a string, and everything else as {"base64": "…"}.',
                       'functions_files_are_text_or_base64', 'files');
end $$;
comment on function zmesh.file_size(text, jsonb) is 'Size in bytes of a file that is given as text or as {"base64": text}.';

create or replace function zmesh.checked_files(p_entry_file text, p_code text, p_files jsonb) returns jsonb
language plpgsql immutable as $$
declare
    c_most_files constant integer := 1000;
    c_most_bytes constant integer := 8 * 1024 * 1024;
    v_paths      text[];
    v_path       text;
    v_sizes      jsonb;
    v_bytes      bigint;
begin
    if jsonb_typeof(p_files) <> 'object' then
        perform zmesh.fail('ZM422', format('files are of type %s, not an object of paths and contents', jsonb_typeof(p_files)),
                           p_constraint => 'functions_files_are_an_object', p_column => 'files');
    end if;
    v_paths := array(select jsonb_object_keys(p_files));
    if p_entry_file is null then
        if cardinality(v_paths) > 0 then
            perform zmesh.fail('ZM422', 'files need an entry file', 'Say by entry_file which of them is loaded first.',
                               'functions_files_need_an_entry_file', 'entry_file');
        end if;
        return '{}';
    end if;
    if p_files ? p_entry_file then
        perform zmesh.fail('ZM422', format('"%s" is the entry file, whose text is the code, and cannot be among the files',
                                           p_entry_file),
                           p_constraint => 'functions_entry_file_is_not_among_files', p_column => 'files');
    end if;
    v_paths := p_entry_file || v_paths;
    if cardinality(v_paths) > c_most_files then
        perform zmesh.fail('ZM422', format('a function has at most %s files, not %s', c_most_files, cardinality(v_paths)),
                           'Leave out what it does not need when it runs.', 'functions_files_are_at_most_1000', 'files');
    end if;
    foreach v_path in array v_paths loop
        perform zmesh.check_file_path(v_path);
    end loop;
    perform zmesh.check_paths_together(v_paths);
    select jsonb_object_agg(f.key, zmesh.file_size(f.key, f.value)) into v_sizes from jsonb_each(p_files) f;
    v_sizes := coalesce(v_sizes, '{}') || jsonb_build_object(p_entry_file, octet_length(p_code));
    select sum(s.value::integer) into v_bytes from jsonb_each(v_sizes) s;
    if v_bytes > c_most_bytes then
        perform zmesh.fail('ZM422', format('the files have %s bytes in total; at most %s are allowed', v_bytes, c_most_bytes),
                           'Leave out what it does not need when it runs, and keep large data in tables.',
                           'functions_files_are_at_most_8_mib', 'files');
    end if;
    return v_sizes;
end $$;
comment on function zmesh.checked_files(text, text, jsonb) is
    'The size of each file, including the entry file. Rejects files that a disk could not store, too many files, and too many '
    'bytes.';

create or replace function zmesh.files_of(p_function_id uuid, p_version integer) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return coalesce(
        (select f.files from zmesh.functions f where f.id = p_function_id and f.version = p_version),
        (select v.files from zmesh.function_versions v where v.function_id = p_function_id and v.version = p_version));
end $$;
comment on function zmesh.files_of(uuid, integer) is
    'The files of a version except its entry file; null if there is no such version. They never change.';

grant execute on function zmesh.files_of(uuid, integer) to zmesh_api, zmesh_listener;
