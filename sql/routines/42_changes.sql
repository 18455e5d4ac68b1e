-- Table changes invoke functions. Nothing here has more rights than its caller: zmesh.on_change() creates, as the owner
-- of the table, a trigger function that belongs to that owner and inserts as that owner. So a condition can do what the
-- owner can, and nothing else, whoever changes the table.
--
-- The user's own write comes first. Passing changes on never makes it fail, unless the server itself is in trouble, and
-- keeps working when the table changes after the call of zmesh.on_change():
-- * A statement on the watched table fires a statement trigger, whose transition tables are read by one insert.
-- * A statement on a partition of it fires no statement trigger of the watched table. A row trigger, which PostgreSQL
--   clones to every partition, passes these rows on. It does nothing while a statement on the watched table runs.
-- * An insert that finds a row too large is repeated by zmesh.change_statement_with_fallback(): the row's key replaces it.

create or replace function zmesh.path_of_caller() returns text
language sql stable
return concat_ws(', ', (select string_agg(quote_ident(s), ', ') from unnest(current_schemas(false)) s), 'pg_temp');
comment on function zmesh.path_of_caller() is
    'The schemas in which names are looked up now, temporary tables last, for a function that should use the same.';

create or replace view zmesh.own_functions with (security_barrier) as
    select slug, name, language, version, enabled from zmesh.functions
     where project_id = zmesh.project_of(current_user);
comment on view zmesh.own_functions is 'The functions of the project whose role queries this view.';
comment on column zmesh.own_functions.slug is 'What invocations name it by.';
comment on column zmesh.own_functions.name is 'Its name as deployed.';
comment on column zmesh.own_functions.language is 'javascript, python or typescript.';
comment on column zmesh.own_functions.version is 'The current version.';
comment on column zmesh.own_functions.enabled is 'false: it cannot be invoked.';

create or replace function zmesh.is_own_function(p_slug text) returns boolean
language sql stable
return exists (select from zmesh.own_functions where slug = p_slug);
comment on function zmesh.is_own_function(text) is 'Whether the caller''s project has a function with this slug.';

create or replace function zmesh.owned_table(p_table regclass) returns regclass
language plpgsql stable as $$
begin
    perform from pg_class c where c.oid = p_table and c.relkind in ('r', 'p') and pg_has_role(c.relowner, 'usage');
    if not found then
        perform zmesh.fail('ZM403', format('%s is not a table of this role', p_table),
                           'Only the owner of a table can have its changes passed on.', p_column => 'table');
    end if;
    return p_table;
end $$;
comment on function zmesh.owned_table(regclass) is 'Rejects a table that the caller does not own.';

create or replace function zmesh.change_arguments(p_arguments bytea) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    -- One argument, followed by a zero byte. Anybody may create a trigger that has something else there.
    return convert_from(substring(p_arguments for octet_length(p_arguments) - 1), getdatabaseencoding())::jsonb;
exception when others then
    return null;
end $$;
comment on function zmesh.change_arguments(bytea) is
    'The arguments that zmesh.on_change() stored in a trigger; null if it did not create the trigger.';

create or replace function zmesh.change_triggers(p_table oid default null)
returns table (trigger_name name, table_oid oid, function_oid oid, events integer, is_row boolean, arguments jsonb)
language sql stable set search_path = pg_catalog, pg_temp as $$
    with own as materialized (
        select t.tgname, t.tgrelid, t.tgfoid, t.tgtype, t.tgargs
          from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid
         where p.proname like 'zmesh\_change\_%' and p.proowner = c.relowner and t.tgnargs = 1 and t.tgparentid = 0
           and (p_table is null or t.tgrelid = p_table) and pg_has_role(c.relowner, 'usage'))
    select o.tgname, o.tgrelid, o.tgfoid, o.tgtype & 28, o.tgtype & 3 <> 0, a.arguments
      from own o cross join lateral (select zmesh.change_arguments(o.tgargs) as arguments offset 0) a
     where a.arguments ? 'function'
$$;
comment on function zmesh.change_triggers(oid) is
    'The triggers that zmesh.on_change() created on one of the caller''s tables, or on all of them.';

create or replace function zmesh.change_columns(p_table oid, p_arguments jsonb) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when jsonb_typeof(p_arguments -> 'columns') = 'array' then array(
        select coalesce(
            (select a.attname::text from pg_attribute a
              where p_arguments -> 'table' = to_jsonb(p_table) and a.attrelid = p_table and not a.attisdropped
                and to_jsonb(a.attnum) = p_arguments -> 'numbers' -> (c.n - 1)::integer),
            c.name)
          from jsonb_array_elements_text(p_arguments -> 'columns') with ordinality c (name, n) order by c.n) end
$$;
comment on function zmesh.change_columns(oid, jsonb) is
    'Current names of the columns in a column list: by number, since columns may be renamed; by name in a restored '
    'table.';

create or replace function zmesh.watched_table(p_table oid, p_trigger name) returns oid
language sql stable set search_path = pg_catalog, pg_temp
return coalesce((select a.relid from pg_partition_ancestors(p_table) a
                   join pg_trigger t on t.tgrelid = a.relid and t.tgname = p_trigger and t.tgparentid = 0), p_table);
comment on function zmesh.watched_table(oid, name) is 'The watched table that a row trigger of a partition belongs to.';

create or replace function zmesh.count_statement() returns trigger
language plpgsql as $$
declare
    v_counter text := 'zmesh.statements_' || tg_argv[0] || '_' || lower(tg_op);
    v_running integer := coalesce(nullif(pg_catalog.current_setting(v_counter, true), ''), '0');
begin
    perform pg_catalog.set_config(v_counter, (v_running + case tg_when when 'BEFORE' then 1 else -1 end)::text, true);
    return null;
end $$;
comment on function zmesh.count_statement() is
    'Counts the running statements on a watched table, in a setting that lasts until the transaction ends.';

create or replace function zmesh.is_retryable_error(p_sqlstate text) returns boolean
language sql immutable parallel safe
return p_sqlstate ~ '^(40|53|57|58|XX)' or p_sqlstate = '55P03';
comment on function zmesh.is_retryable_error(text) is
    'Whether a client should retry the whole transaction after this error: a deadlock, a full disk, a shutdown, a timeout.';

-- Here `new` and `old` are rows, as in the condition of any trigger, and null if the event has none.
create or replace function zmesh.change_source(p_event text, p_new text, p_old text, p_number text) returns text
language sql immutable parallel safe
return case p_event
    when 'INSERT' then format('%s as new left join (select * from %1$s as r where false) as old on true', p_new)
    when 'DELETE' then format('%s as old left join (select * from %1$s as r where false) as new on true', p_old)
    -- Both transition tables list their rows in the order of change.
    else format('(select r.*, pg_catalog.row_number() over () as %3$I from %1$s as r) as new'
                ' join (select r.*, pg_catalog.row_number() over () as %3$I from %2$s as r) as old on new.%3$I = old.%3$I',
                p_new, p_old, p_number) end;
comment on function zmesh.change_source(text, text, text, text) is
    'The FROM clause for changed rows; p_number is the alias of the row number and must not be the name of a column.';

create or replace function zmesh.change_record(p_event text, p_row text, p_number text) returns text
language sql immutable parallel safe
return case when (p_event, p_row) in (('INSERT', 'old'), ('DELETE', 'new')) then 'null::pg_catalog.jsonb'
            when p_event = 'UPDATE' then format('(pg_catalog.to_jsonb(%s.*) - %L::pg_catalog.text)', p_row, p_number)
            else format('pg_catalog.to_jsonb(%s.*)', p_row) end;
comment on function zmesh.change_record(text, text, text) is 'An expression that gives a row as JSON.';

create or replace function zmesh.has_changed(p_new jsonb, p_old jsonb, p_columns text[]) returns boolean
language sql immutable parallel safe
return (select pg_catalog.bool_or((p_new -> c) is distinct from (p_old -> c)) from unnest(p_columns) c);
comment on function zmesh.has_changed(jsonb, jsonb, text[]) is
    'Whether one of these columns differs between the two rows as JSON.';

create or replace function zmesh.change_insert(
    p_event text, p_function text, p_when text, p_has_columns boolean, p_number text)
returns text
language sql immutable parallel safe
return (select format(
    $sql$
            %sinsert into zmesh.invocations (function, source, payload)
            select %L, 'change', pg_catalog.jsonb_build_object('type', %L, 'schema', zmesh_change.schema_name,
                       'table', zmesh_change.table_name, 'record', %s, 'old_record', %s)
              from %s
             where (%s%s)%s;
    $sql$,
    -- Otherwise they cannot be paired: a trigger may have held back a row that moved to another partition.
    case when p_event = 'UPDATE' then
        'if (select count(*) from new_rows) <> (select count(*) from old_rows) then'
        ' raise exception ''a trigger held back rows that were to move to another partition''; end if;' || chr(10) else '' end,
    p_function, p_event,
    case when v.by_json then 'json.new_record' else r.new end, case when v.by_json then 'json.old_record' else r.old end,
    zmesh.change_source(p_event, 'new_rows', 'old_rows', p_number)
    || case when v.by_json then format(' cross join lateral (select %s as new_record, %s as old_record offset 0) as json',
                                       r.new, r.old) else '' end,
    coalesce(p_when, 'true'), chr(10),   -- it may end in a comment
    case when v.by_json then ' and zmesh.has_changed(json.new_record, json.old_record, zmesh_change.columns)' else '' end)
  from (select p_event = 'UPDATE' and p_has_columns as by_json) v,
       (select zmesh.change_record(p_event, 'new', p_number) as new, zmesh.change_record(p_event, 'old', p_number) as old) r);
comment on function zmesh.change_insert(text, text, text, boolean, text) is
    'The statement that enqueues the rows that one statement changed.';

create or replace function zmesh.readable_rows(p_table oid, p_rows text) returns text
language sql stable set search_path = pg_catalog, pg_temp
return (select format('(select %s from %s as r)', string_agg(
            case when a.attgenerated = 'v' then format('(%s)::%s as %I', pg_get_expr(d.adbin, d.adrelid),
                                                       format_type(a.atttypid, a.atttypmod), a.attname)
                 else format('r.%I', a.attname) end, ', ' order by a.attnum), p_rows)
          from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
         where a.attrelid = p_table and a.attnum > 0 and not a.attisdropped);
comment on function zmesh.readable_rows(oid, text) is
    'Rows of a table as a query would return them, with the generated columns that triggers see as null.';

create or replace function zmesh.primary_key(p_table oid, p_row text) returns text
language sql stable set search_path = pg_catalog, pg_temp
return coalesce((select format('jsonb_build_object(%s)', string_agg(format('%L, %s.%I', a.attname, p_row, a.attname), ', '))
                   from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
                  where i.indrelid = p_table and i.indisprimary having count(*) > 0), 'null::jsonb');
comment on function zmesh.primary_key(oid, text) is
    'An expression that gives the primary key of a row as JSON; null if there is none.';

create or replace function zmesh.large_row(p_about jsonb, p_key jsonb, p_old_key jsonb) returns jsonb
language sql immutable parallel safe
return p_about || jsonb_build_object('record', null, 'old_record', null, 'error', jsonb_build_object(
    'code', 'row_too_large', 'message', 'The change is larger than a payload may be, which is 8 MiB. '
        || case when coalesce(p_key, p_old_key) is null then 'The table has no primary key to find the row by.'
                else 'Read the row by its primary key.' end,
    'key', p_key, 'old_key', p_old_key));
comment on function zmesh.large_row(jsonb, jsonb, jsonb) is 'The payload that replaces a row too large for a payload.';

create or replace function zmesh.change_statement_with_fallback(
    p_table oid, p_about jsonb, p_arguments jsonb, p_columns text[], p_new text, p_old text, p_number text)
returns text
language sql stable set search_path = pg_catalog, pg_temp
return (select format(
    $sql$
        insert into zmesh.invocations (function, source, payload)
        select %L, 'change', case when pg_catalog.octet_length(json.payload::pg_catalog.text) <= 8388608 then json.payload
                        else zmesh.large_row(%L, %s, %s) end
          from %s
               -- A row that is this long as text is too long as JSON, and perhaps too long to convert to JSON.
               cross join lateral (select case
                   when coalesce(pg_catalog.octet_length((new.*)::pg_catalog.text), 0)
                        + coalesce(pg_catalog.octet_length((old.*)::pg_catalog.text), 0) > 67108864 then null
                   else %L::pg_catalog.jsonb || pg_catalog.jsonb_build_object('record', %s, 'old_record', %s)
                   end as payload offset 0) as json
         where (%s%s) and %s
    $sql$,
    p_arguments ->> 'function', p_about,
    case e.event when 'DELETE' then 'null' else zmesh.primary_key(p_table, 'new') end,
    case e.event when 'INSERT' then 'null' else zmesh.primary_key(p_table, 'old') end,
    zmesh.change_source(e.event, zmesh.readable_rows(p_table, p_new), zmesh.readable_rows(p_table, p_old), p_number),
    p_about, zmesh.change_record(e.event, 'new', p_number), zmesh.change_record(e.event, 'old', p_number),
    coalesce(p_arguments ->> 'when', 'true'), chr(10),
    case when e.event = 'UPDATE' and p_columns is not null then format(
        '(json.payload is null or zmesh.has_changed(json.payload -> ''record'', json.payload -> ''old_record'', %L))',
        p_columns) else 'true' end)
  from (select p_about ->> 'type' as event) e);
comment on function zmesh.change_statement_with_fallback(oid, jsonb, jsonb, text[], text, text, text) is
    'The statement that enqueues changed rows and replaces those that are too large; built for the current form of '
    'the table.';

create or replace function zmesh.change_of_row(
    p_event text, p_function text, p_when text, p_has_columns boolean, p_number text)
returns text
language sql immutable parallel safe
return format(
    $sql$
                %s
                if passes%s then
                    insert into zmesh.invocations (function, source, payload)
                    values (%L, 'change', pg_catalog.jsonb_build_object('type', tg_op, 'schema', zmesh_change.schema_name, 'table',
                            zmesh_change.table_name, 'record', %s, 'old_record', %s));
                end if;
    $sql$,
    -- As text, since names and types of a row variable's fields may have changed since this was planned.
    case when p_when is null then '' else 'execute ' || quote_literal(format('select exists (select from %s where (%s%s))',
        zmesh.change_source(p_event, '(select ($1).*)', '(select ($2).*)', p_number), p_when, chr(10)))
        || ' into passes using new, old;' end,
    case when p_event = 'UPDATE' and p_has_columns
         then ' and zmesh.has_changed(pg_catalog.to_jsonb(new), pg_catalog.to_jsonb(old), columns)' else '' end,
    p_function,
    case p_event when 'DELETE' then 'null' else 'pg_catalog.to_jsonb(new)' end,
    case p_event when 'INSERT' then 'null' else 'pg_catalog.to_jsonb(old)' end);
comment on function zmesh.change_of_row(text, text, text, boolean, text) is
    'The statements that enqueue a row that was changed in a partition by a statement that names the partition.';

-- Variables are in a labelled block, since a column may have any name.
create or replace function zmesh.change_body(
    p_function text, p_events text[], p_when text, p_has_columns boolean, p_number text)
returns text
language sql immutable parallel safe
return format(
$body$
#variable_conflict use_column
<<zmesh_change>>
declare
    arguments   jsonb := tg_argv[0];
    watched     oid := case tg_level when 'ROW' then zmesh.watched_table(tg_relid, tg_name) else tg_relid end;
    columns     text[] := %4$s;
    schema_name text;
    table_name  text;
    careful     boolean;
    passes      boolean := true;
begin
    -- A trigger sees null in columns that are generated on read.
    select n.nspname, c.relname, exists (select from pg_catalog.pg_attribute a
                                          where a.attrelid = tg_relid and a.attgenerated = 'v')
      into schema_name, table_name, careful
      from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = zmesh_change.watched;
    loop
        begin
            if careful then
                execute zmesh.change_statement_with_fallback(
                    tg_relid, pg_catalog.jsonb_build_object('type', tg_op, 'schema', schema_name, 'table', table_name),
                    arguments, columns, case tg_level when 'ROW' then '(select ($1).*)' else 'new_rows' end,
                    case tg_level when 'ROW' then '(select ($2).*)' else 'old_rows' end, %1$L) using new, old;
%2$s%3$s            end if;
            return null;
        exception when others then
            if zmesh.is_retryable_error(sqlstate) then
                raise;
            elsif careful or sqlstate not in ('23514', '54000') then
                raise warning 'a change of %% was not passed on to function "%%": %%',
                    tg_relid::pg_catalog.regclass, arguments ->> 'function', sqlerrm;
                return null;
            end if;
            careful := true;   -- a row is too large
        end;
    end loop;
end
$body$,
    p_number,
    (select string_agg(format('            elsif tg_level = ''STATEMENT'' and tg_op = %L then%s', e,
                              zmesh.change_insert(e, p_function, p_when, p_has_columns, p_number)), '')
       from unnest(p_events) e),
    (select string_agg(format('            elsif tg_op = %L then%s', e,
                              zmesh.change_of_row(e, p_function, p_when, p_has_columns, p_number)), '')
       from unnest(p_events) e),
    case when p_has_columns then 'zmesh.change_columns(watched, arguments)' else 'null' end);
comment on function zmesh.change_body(text, text[], text, boolean, text) is 'The body of the trigger function of a watched table.';

create or replace function zmesh.create_change_triggers(
    p_table regclass, p_events text[], p_arguments jsonb, p_trigger_function text)
returns void
language plpgsql as $$
declare
    v_event text;
    v_id    text := p_arguments ->> 'id';
    v_call  text := format('execute function %s(%L)', p_trigger_function, p_arguments);
    v_count text := format('execute function zmesh.count_statement(%L)', v_id);
    v_name  text := 'zmesh_%s_' || left(translate(p_arguments ->> 'function', '-', '_'), 30) || '_' || v_id;
begin
    foreach v_event in array p_events loop
        execute format('create trigger %I after %s on %s referencing %s for each statement %s',
            format(v_name, lower(v_event)), v_event, p_table,
            concat_ws(' ', case when v_event <> 'INSERT' then 'old table as old_rows' end,
                           case when v_event <> 'DELETE' then 'new table as new_rows' end), v_call);
        continue when p_arguments -> 'partitions' <> 'true';
        -- An update that moves a row to another partition fires the row triggers of a delete and an insert.
        execute format('create trigger %I after %s on %s for each row when (%s) %s',
            format(v_name, 'row_' || lower(v_event)), v_event, p_table,
            (select string_agg(format('coalesce(pg_catalog.current_setting(%L, true), '''') in ('''', ''0'')',
                                      format('zmesh.statements_%s_%s', v_id, lower(e))), ' and ')
               from unnest(array[v_event, 'UPDATE']) e), v_call);
    end loop;
    if p_arguments -> 'partitions' = 'true' then
        execute format('create trigger %I before insert or update or delete on %s for each statement %s',
                       'zmesh_begin_' || v_id, p_table, v_count);
        execute format('create trigger %I after insert or update or delete on %s for each statement %s',
                       'zmesh_end_' || v_id, p_table, v_count);
    end if;
end $$;
comment on function zmesh.create_change_triggers(regclass, text[], jsonb, text) is
    'Creates the triggers of a watched table; also the row triggers if it is partitioned or a partition.';

create or replace function zmesh.watch_table(
    p_table regclass, p_function text, p_events text[], p_when text, p_columns text[], p_path text)
returns void
language plpgsql as $$
declare
    v_id        text := substr(md5(gen_random_uuid()::text), 1, 10);   -- unique, also where partitions are watched
    v_function  text := (select format('%I.%I', n.nspname, format('zmesh_change_%s_%s',
                                       left(translate(p_function, '-', '_'), 30), v_id))
                           from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_table);
    v_columns   text[] := nullif(p_columns, '{}');
    v_arguments jsonb := jsonb_build_object(
        'layout', 3, 'id', v_id, 'function', p_function, 'when', p_when, 'columns', v_columns, 'table', p_table::oid,
        'numbers', array(select a.attnum from unnest(v_columns) with ordinality c (name, n) left join pg_attribute a
                             on a.attrelid = p_table and a.attname = c.name order by c.n),
        'partitions', (select c.relkind = 'p' or c.relispartition from pg_class c where c.oid = p_table));
begin
    execute format(
        $sql$
            create function %s() returns trigger
            language plpgsql security definer set search_path = %s as %L
        $sql$,
        v_function, p_path,
        zmesh.change_body(p_function, p_events, p_when, v_columns is not null, 'zmesh_row_number_' || v_id));
    execute format('revoke all on function %s() from public', v_function);
    perform zmesh.create_change_triggers(p_table, p_events, v_arguments, v_function);
end $$;
comment on function zmesh.watch_table(regclass, text, text[], text, text[], text) is
    'Creates the trigger function and the triggers that pass on the changes of a table.';

create or replace function zmesh.check_condition(p_table regclass, p_when text, p_columns text[]) returns void
language plpgsql stable as $$
declare
    v_unknown text := (select c from unnest(p_columns) c where not exists (
        select from pg_attribute a where a.attrelid = p_table and a.attname = c and a.attnum > 0 and not a.attisdropped) limit 1);
begin
    if v_unknown is not null then
        perform zmesh.fail('ZM422', format('%s has no column "%s"', p_table, v_unknown), p_column => 'columns');
    end if;
    -- Run it once over no rows, so that a mistake shows now and not when the table is written to.
    execute format('select from (select * from %s where false) as new, (select * from %1$s where false) as old where (%s' || chr(10) || ')',
                   p_table, coalesce(p_when, 'true'));
exception when others then
    if sqlstate = 'ZM422' then
        raise;
    end if;
    perform zmesh.fail('ZM422', format('invalid condition: %s', sqlerrm),
                       'Write an SQL condition over new and old, such as new.total > 100.', p_column => 'when');
end $$;
comment on function zmesh.check_condition(regclass, text, text[]) is
    'Rejects a condition or a column that does not fit the table.';

create or replace function zmesh.set_change(
    p_table regclass, p_function text, p_events text[], p_when text, p_columns text[])
returns void
language plpgsql as $$
begin
    perform zmesh.owned_table(p_table);
    if p_events is null or cardinality(p_events) = 0 or not upper(p_events::text)::text[] <@ '{INSERT,UPDATE,DELETE}' then
        perform zmesh.fail('ZM422', format('invalid events: %s', p_events),
                           'Give one or more of INSERT, UPDATE and DELETE, such as ''{INSERT,UPDATE}''.',
                           p_column => 'events');
    end if;
    perform zmesh.check_condition(p_table, p_when, p_columns);
    perform zmesh.off_change(p_table, p_function);
    perform zmesh.watch_table(p_table, p_function, array(select distinct upper(e) from unnest(p_events) e), p_when,
                              p_columns, zmesh.path_of_caller());
end $$;
comment on function zmesh.set_change(regclass, text, text[], text, text[]) is
    'As zmesh.on_change(), also for a function that does not exist yet: a deployment may be about to create it.';

create or replace function zmesh.on_change(
    p_table regclass, p_function text, p_events text[] default '{INSERT,UPDATE,DELETE}',
    p_when text default null, p_columns text[] default null)
returns void
language plpgsql as $$
begin
    perform zmesh.owned_table(p_table);
    if not zmesh.is_own_function(p_function) then
        perform zmesh.fail('ZM404', format('function "%s" does not exist in this project', p_function),
                           'Deploy it first, or look up its slug: zmesh functions list', p_column => 'function');
    end if;
    perform zmesh.set_change(p_table, p_function, p_events, p_when, p_columns);
end $$;
comment on function zmesh.on_change(regclass, text, text[], text, text[]) is
    'Invokes a function with each row that changes in a table: one statement for all rows, in the same transaction.';

create or replace function zmesh.off_change(p_table regclass, p_function text) returns boolean
language plpgsql as $$
declare
    v_trigger   record;
    v_name      name;
    v_functions oid[] := '{}';
begin
    for v_trigger in
        select t.trigger_name, t.function_oid, t.arguments ->> 'id' as id from zmesh.change_triggers(zmesh.owned_table(p_table)) t
         where t.arguments ->> 'function' = p_function
    loop
        execute format('drop trigger %I on %s', v_trigger.trigger_name, p_table);
        if v_trigger.id is not null and v_trigger.function_oid <> all (v_functions) then
            -- Only partitioned tables have these; `if exists` would show a notice for others.
            for v_name in select t.tgname from pg_trigger t where t.tgrelid = p_table
                and t.tgname in ('zmesh_begin_' || v_trigger.id, 'zmesh_end_' || v_trigger.id) loop
                execute format('drop trigger %I on %s', v_name, p_table);
            end loop;
        end if;
        v_functions := v_functions || v_trigger.function_oid;
    end loop;
    for v_trigger in select p.oid::regprocedure as name from pg_proc p where p.oid = any (v_functions) loop
        execute format('drop function %s', v_trigger.name);
    end loop;
    return v_functions <> '{}';
end $$;
comment on function zmesh.off_change(regclass, text) is
    'Removes what zmesh.on_change() created; returns whether there was anything to remove.';

create or replace view zmesh.changes as
    select t.table_oid::regclass as "table", t.arguments ->> 'function' as function,
           array_agg(case t.events when 4 then 'INSERT' when 8 then 'DELETE' else 'UPDATE' end order by t.events) as events,
           t.arguments ->> 'when' as "when",
           zmesh.change_columns(t.table_oid, t.arguments) as columns
      from zmesh.change_triggers() t
     where not t.is_row
     group by t.table_oid, t.arguments;
comment on view zmesh.changes is 'The changes of the caller''s tables that zmesh.on_change() passes on.';
comment on column zmesh.changes."table" is 'The watched table.';
comment on column zmesh.changes.function is 'Slug of the function.';
comment on column zmesh.changes.events is 'INSERT, UPDATE, DELETE.';
comment on column zmesh.changes."when" is 'The condition; null: all rows.';
comment on column zmesh.changes.columns is 'Only updates of these columns; null: of any.';

create or replace function zmesh.plain_path(p_path text) returns text
language plpgsql as $$
declare
    v_before text := current_setting('search_path');
    v_path   text;
begin
    -- Names are qualified from here on: unqualified ones may resolve to objects of the project.
    perform pg_catalog.set_config('search_path', p_path, true);
    v_path := zmesh.path_of_caller();
    perform pg_catalog.set_config('search_path', v_before, true);
    return v_path;
end $$;
comment on function zmesh.plain_path(text) is
    'The schemas of a search path, each quoted. The text of a setting may contain anything between commas, even '
    'statements.';

create or replace function zmesh.renew_change(p_table regclass, p_arguments jsonb) returns void
language plpgsql as $$
declare
    v_function text := p_arguments ->> 'function';
    v_events   text[];
    v_path     text;
begin
    select c.events into v_events from zmesh.changes c where c."table" = p_table and c.function = v_function;
    select substr(s, length('search_path=') + 1) into v_path
      from zmesh.change_triggers(p_table) t join pg_proc p on p.oid = t.function_oid, unnest(p.proconfig) s
     where t.arguments = p_arguments and s like 'search_path=%' limit 1;
    perform zmesh.off_change(p_table, v_function);
    perform zmesh.watch_table(p_table, v_function, v_events, p_arguments ->> 'when',
        array(select jsonb_array_elements_text(nullif(p_arguments -> 'columns', 'null'))), zmesh.plain_path(coalesce(v_path, 'pg_temp')));
end $$;
comment on function zmesh.renew_change(regclass, jsonb) is
    'Replaces the triggers of a watched table with those of this version; its function, or columns, may no longer '
    'exist.';

create or replace function zmesh.act_as_role(p_role name) returns void
language plpgsql as $$
begin
    perform set_config('role', p_role, true);
exception when insufficient_privilege then   -- an administrator who is not a superuser
    perform set_config('role', 'zmesh_provisioner', true);
    execute format('grant %I to zmesh_provisioner', p_role);
    perform set_config('role', p_role, true);
end $$;
comment on function zmesh.act_as_role(name) is
    'Acts as a project''s role until the transaction ends or the role is changed.';

create or replace function zmesh.renew_changes() returns integer
language plpgsql set lock_timeout = '5s' set search_path = pg_catalog, pg_temp as $$
declare
    c_most_waits constant integer := 10;   -- per project, whose sessions may lock each of its tables
    v_caller     name := current_user;
    v_old        record;
    v_waits      name[] := '{}';
    v_count      integer := 0;
begin
    for v_old in
        select distinct c.oid as table_oid, c.relowner::regrole::name as owner, a.arguments
          from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid
               cross join lateral (select zmesh.change_arguments(t.tgargs) as arguments offset 0) a
         where p.proname like 'zmesh\_change\_%' and p.proowner = c.relowner and t.tgnargs = 1 and t.tgparentid = 0
           and c.relowner in (select r.oid from pg_roles r join zmesh.projects j on j.role_name = r.rolname)
           and jsonb_typeof(a.arguments -> 'function') = 'string' and coalesce(a.arguments -> 'layout', '1') in ('1', '2')
    loop
        if cardinality(array_positions(v_waits, v_old.owner)) >= c_most_waits then
            raise warning 'the triggers of zmesh.on_change() on % are still those of an older version: sessions of % hold too many locks',
                v_old.table_oid::regclass, v_old.owner using hint = 'Migrate again later.';
            continue;
        end if;
        begin
            perform set_config('lock_timeout', case when v_old.owner = any (v_waits) then '100ms' else '5s' end, true);
            perform zmesh.act_as_role(v_old.owner);
            perform zmesh.renew_change(v_old.table_oid, v_old.arguments);
            v_count := v_count + 1;
        exception when others then
            if sqlstate = '55P03' then
                v_waits := v_waits || v_old.owner;
            end if;
            raise warning 'the triggers of zmesh.on_change() on % are still those of an older version: %',
                v_old.table_oid::regclass, sqlerrm
                using hint = 'Call zmesh.on_change() for it again, or migrate again.';
        end;
        perform set_config('role', v_caller, true);
    end loop;
    return v_count;
end $$;
comment on function zmesh.renew_changes() is
    'Replaces the triggers that an older version created; every migration calls this. Returns how many it replaced.';

grant select on zmesh.own_functions, zmesh.changes to zmesh_project;
grant execute on function zmesh.path_of_caller(), zmesh.is_own_function(text), zmesh.owned_table(regclass),
      zmesh.change_arguments(bytea), zmesh.change_triggers(oid), zmesh.change_columns(oid, jsonb),
      zmesh.watched_table(oid, name), zmesh.count_statement(), zmesh.is_retryable_error(text),
      zmesh.change_source(text, text, text, text), zmesh.change_record(text, text, text),
      zmesh.has_changed(jsonb, jsonb, text[]), zmesh.change_insert(text, text, text, boolean, text),
      zmesh.readable_rows(oid, text), zmesh.primary_key(oid, text), zmesh.large_row(jsonb, jsonb, jsonb),
      zmesh.change_statement_with_fallback(oid, jsonb, jsonb, text[], text, text, text),
      zmesh.change_of_row(text, text, text, boolean, text), zmesh.change_body(text, text[], text, boolean, text),
      zmesh.create_change_triggers(regclass, text[], jsonb, text),
      zmesh.watch_table(regclass, text, text[], text, text[], text), zmesh.check_condition(regclass, text, text[]),
      zmesh.on_change(regclass, text, text[], text, text[]), zmesh.set_change(regclass, text, text[], text, text[]),
      zmesh.off_change(regclass, text),
      zmesh.plain_path(text), zmesh.renew_change(regclass, jsonb) to zmesh_project;
