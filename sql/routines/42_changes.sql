-- Changes of tables start functions. Nothing here has more rights than its caller: zmesh.on_change() makes, as the
-- owner of the table, a trigger function that belongs to that owner and inserts as that owner. So a condition can do
-- what the owner can, and nothing else, whoever changes the table.

create or replace function zmesh.path_of_caller() returns text
language sql stable
return concat_ws(', ', (select string_agg(quote_ident(s), ', ') from unnest(current_schemas(false)) s), 'pg_temp');
comment on function zmesh.path_of_caller() is
    'The schemas in which names are looked up now, temporary tables last, for a function that shall look there as well.';

create or replace view zmesh.own_functions with (security_barrier) as
    select slug, name, language, version, enabled from zmesh.functions
     where project_id = zmesh.project_of(current_user);
comment on view zmesh.own_functions is 'The functions of the project whose role asks.';

create or replace function zmesh.is_own_function(p_slug text) returns boolean
language sql stable
return exists (select from zmesh.own_functions where slug = p_slug);
comment on function zmesh.is_own_function(text) is 'Whether the caller''s project has a function with this slug.';

create or replace function zmesh.owned_table(p_table regclass) returns regclass
language plpgsql stable as $$
begin
    perform from pg_class c where c.oid = p_table and c.relkind in ('r', 'p') and pg_has_role(c.relowner, 'usage');
    if not found then
        raise exception using errcode = 'ZM403', message = format('%s is not a table of this role', p_table),
            hint = 'Only the owner of a table can have its changes passed on.';
    end if;
    return p_table;
end $$;
comment on function zmesh.owned_table(regclass) is 'Refuses what is not a table that the caller owns.';

create or replace function zmesh.change_name(p_function text, p_what text) returns name
language sql immutable parallel safe
return format('zmesh_%s_%s_%s', p_what, left(translate(p_function, '-', '_'), 30), left(md5(p_function), 8))::name;
comment on function zmesh.change_name(text, text) is 'Name of a trigger, or of the function behind it, for a function.';

create or replace function zmesh.change_function(p_table regclass, p_function text) returns text
language sql stable
return (select format('%I.%I', n.nspname, zmesh.change_name(p_function || '_' || p_table::oid, 'change'))
          from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = p_table);
comment on function zmesh.change_function(regclass, text) is 'Where the trigger function of a table and a function is.';

-- In which `new` and `old` are rows, as in the condition of any trigger, and null where the event has none.
create or replace function zmesh.change_source(p_event text, p_table regclass) returns text
language sql immutable
return case p_event
    when 'INSERT' then format('new_rows as new left join (select * from %s where false) as old on true', p_table)
    when 'DELETE' then format('old_rows as old left join (select * from %s where false) as new on true', p_table)
    -- Both tables have their rows in the order in which they were changed.
    else '(select r as row, row_number() over () as n from new_rows r) n
            join (select r as row, row_number() over () as n from old_rows r) o using (n)
            cross join lateral (select (n.row).*) as new cross join lateral (select (o.row).*) as old'
    end;
comment on function zmesh.change_source(text, regclass) is 'Where the changed rows of one statement are read from.';

create or replace function zmesh.change_insert(p_event text, p_table regclass, p_function text, p_condition text)
returns text
language sql stable
return (select format(
    $sql$
        insert into zmesh.invocations (function, payload)
        select %L, pg_catalog.jsonb_build_object('type', %L, 'schema', %L, 'table', %L, 'record', %s, 'old_record', %s)
          from %s
         where %s;
    $sql$,
    p_function, p_event, n.nspname, c.relname,
    case p_event when 'DELETE' then 'null' else 'pg_catalog.to_jsonb(new)' end,
    case p_event when 'INSERT' then 'null' else 'pg_catalog.to_jsonb(old)' end,
    zmesh.change_source(p_event, p_table), p_condition)
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = p_table);
comment on function zmesh.change_insert(text, regclass, text, text) is 'The statement that enqueues what one statement changed.';

create or replace function zmesh.change_condition(p_table regclass, p_event text, p_when text, p_columns text[])
returns text
language plpgsql stable as $$
declare
    v_unknown text := (select c from unnest(p_columns) c where not exists (
        select from pg_attribute a where a.attrelid = p_table and a.attname = c and a.attnum > 0 and not a.attisdropped) limit 1);
    v_changed text := (select string_agg(format('new.%I is distinct from old.%1$I', c), ' or ') from unnest(p_columns) c);
begin
    if v_unknown is not null then
        raise exception using errcode = 'ZM422', message = format('%s has no column "%s"', p_table, v_unknown);
    end if;
    begin   -- once over nothing, so that a mistake shows now and not when the table is written to
        execute format('select from (select * from %s where false) as new, (select * from %1$s where false) as old where (%s' || chr(10) || ')',
                       p_table, coalesce(p_when, 'true'));
    exception when others then
        raise exception using errcode = 'ZM422', message = format('the condition is not understood: %s', sqlerrm),
            hint = 'Write an SQL condition over new and old, such as new.total > 100.';
    end;
    return concat_ws(' and ', '(' || coalesce(p_when, 'true') || chr(10) || ')',   -- it may end in a comment
                     case when p_event = 'UPDATE' then '(' || v_changed || ')' end);
end $$;
comment on function zmesh.change_condition(regclass, text, text, text[]) is
    'Which changed rows are passed on. Refuses a condition or a column that the table does not understand.';

create or replace function zmesh.on_change(
    p_table regclass, p_function text, p_events text[] default '{INSERT,UPDATE,DELETE}',
    p_when text default null, p_columns text[] default null)
returns void
language plpgsql as $$
declare
    v_function text := zmesh.change_function(zmesh.owned_table(p_table), p_function);
    v_body     text := '';
    v_event    text;
begin
    if p_events is null or cardinality(p_events) = 0 or not upper(p_events::text)::text[] <@ '{INSERT,UPDATE,DELETE}' then
        raise exception using errcode = 'ZM422', message = format('the events %s are not understood', p_events),
            hint = 'Give one or more of INSERT, UPDATE and DELETE, such as ''{INSERT,UPDATE}''.';
    end if;
    if not zmesh.is_own_function(p_function) then
        raise exception using errcode = 'ZM404', message = format('function "%s" does not exist in this project', p_function),
            hint = 'Deploy it first, or look up its slug: zmesh functions list';
    end if;
    perform zmesh.off_change(p_table, p_function);
    foreach v_event in array upper(p_events::text)::text[] loop
        v_body := v_body || format('if tg_op = %L then %s end if;', v_event, zmesh.change_insert(
            v_event, p_table, p_function, zmesh.change_condition(p_table, v_event, p_when, p_columns)));
    end loop;
    execute format(
        $sql$
            create function %s() returns trigger
            language plpgsql security definer set search_path = %s as %L
        $sql$,
        v_function, zmesh.path_of_caller(),
        '#variable_conflict use_column' || chr(10) || 'begin ' || v_body
        || ' return null; exception when sqlstate ''ZM404'' or sqlstate ''ZM409'' then'
        || ' raise warning ''not passed on: %'', sqlerrm; return null; end');
    execute format('revoke all on function %s() from public', v_function);
    foreach v_event in array upper(p_events::text)::text[] loop
        execute format('create trigger %I after %s on %s referencing %s for each statement execute function %s(%L)',
            zmesh.change_name(p_function, lower(v_event)), v_event, p_table,
            concat_ws(' ', case when v_event <> 'INSERT' then 'old table as old_rows' end,
                           case when v_event <> 'DELETE' then 'new table as new_rows' end),
            v_function, jsonb_build_object('function', p_function, 'when', p_when, 'columns', p_columns));
    end loop;
end $$;
comment on function zmesh.on_change(regclass, text, text[], text, text[]) is
    'Invokes a function with each row that is changed in a table: one statement for all rows, in the same transaction.';

create or replace function zmesh.off_change(p_table regclass, p_function text) returns boolean
language plpgsql as $$
declare
    v_trigger record;
    v_found   boolean := false;
begin
    for v_trigger in
        select t.tgname from pg_trigger t
         where t.tgrelid = zmesh.owned_table(p_table) and t.tgfoid = to_regproc(zmesh.change_function(p_table, p_function))
    loop
        execute format('drop trigger %I on %s', v_trigger.tgname, p_table);
        v_found := true;
    end loop;
    execute format('drop function if exists %s()', zmesh.change_function(p_table, p_function));
    return v_found;
end $$;
comment on function zmesh.off_change(regclass, text) is
    'Ends what zmesh.on_change() began; returns whether there was anything to end.';

create or replace view zmesh.changes as
    select c.oid::regclass as "table", a.said ->> 'function' as function,
           array_agg(case when t.tgtype & 4 > 0 then 'INSERT' when t.tgtype & 8 > 0 then 'DELETE' else 'UPDATE' end
                     order by t.tgtype) as events,
           a.said ->> 'when' as "when",
           (select array_agg(v) from jsonb_array_elements_text(nullif(a.said -> 'columns', 'null')) v) as columns
      from pg_catalog.pg_trigger t
      join pg_catalog.pg_class c on c.oid = t.tgrelid
      join pg_catalog.pg_proc p on p.oid = t.tgfoid
      cross join lateral (   -- its one argument, without the zero byte at its end
          select convert_from(substring(t.tgargs for octet_length(t.tgargs) - 1), 'UTF8')::jsonb as said) a
     where p.proname like 'zmesh\_change\_%' and t.tgnargs = 1 and pg_has_role(c.relowner, 'usage')
     group by c.oid, a.said;
comment on view zmesh.changes is 'What zmesh.on_change() passes on of the caller''s tables.';
