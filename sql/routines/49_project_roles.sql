-- Login roles and schemas of projects. These functions belong to zmesh_provisioner, the only platform role that may
-- create roles. It owns nothing else, so no access to the platform's data can create roles.
set local role zmesh_provisioner;

-- Not "on all functions in schema": before PostgreSQL 18 a superuser owns one of them.
alter default privileges revoke execute on functions from public;
alter default privileges in schema zmesh_roles grant execute on functions to zmesh_owner;

create or replace function zmesh_roles.check_role(p_role name) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if p_role !~ '^zmesh_p_[a-z0-9_]+$' then
        raise exception using errcode = 'ZM422', message = format('%I is not the role of a project', p_role);
    end if;
end $$;
comment on function zmesh_roles.check_role(name) is 'Rejects a role whose name is not that of a project role.';

create or replace function zmesh_roles.check_schema(p_schema name) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if p_schema !~ '^app_[a-z0-9_]+$' then
        raise exception using errcode = 'ZM422', message = format('%I is not the schema of a project', p_schema);
    end if;
end $$;
comment on function zmesh_roles.check_schema(name) is 'Rejects a schema whose name is not that of a project schema.';

create or replace function zmesh_roles.usable_connections() returns integer
language sql stable
return current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
       - coalesce(current_setting('reserved_connections', true)::integer, 0);
comment on function zmesh_roles.usable_connections() is
    'How many sessions the server accepts from roles without reserved connections.';

create or replace function zmesh_roles.default_connection_limit() returns integer
language sql stable
return least(100, greatest(5, zmesh_roles.usable_connections() / 4));
comment on function zmesh_roles.default_connection_limit() is
    'The default limit of database sessions for a project''s role: a quarter of the unreserved connections, at most 100.';

-- Otherwise a project could flood the server's log with errors and warnings. It cannot reset these two settings.
create or replace function zmesh_roles.keep_out_of_log(p_role name) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('alter role %I set log_min_messages = fatal', p_role);
    execute format('alter role %I set log_min_error_statement = panic', p_role);
exception when insufficient_privilege then null;   -- a superuser must grant this privilege: see sql/migrate.py
end $$;
comment on function zmesh_roles.keep_out_of_log(name) is 'Keeps errors and warnings of a project''s sessions out of the server''s log.';

-- A role that may become zmesh_project could own objects as that role, which nobody would count, limit or drop. Before
-- PostgreSQL 16 every member of a role may become it.
create or replace function zmesh_roles.join_projects(p_role name) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('grant zmesh_project to %I', p_role)
            || case when current_setting('server_version_num')::integer >= 160000 then ' with inherit true, set false' else '' end;
end $$;
comment on function zmesh_roles.join_projects(name) is 'Grants a role the privileges that all project roles have.';

-- Every GRANT on the database changes its row in pg_database, even one that may grant nothing, and whoever changes the
-- row at the same moment fails.
create or replace function zmesh_roles.change_database(p_statement text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    c_most constant integer := 200;   -- tries
begin
    for v_try in 1..c_most loop
        begin
            execute p_statement;
            return;
        exception when internal_error then   -- "tuple concurrently updated"
            if v_try = c_most then
                raise;
            end if;
            perform pg_sleep(random() * 0.02);
        end;
    end loop;
end $$;
comment on function zmesh_roles.change_database(text) is 'Executes a GRANT or REVOKE on this database, and repeats it if another session changes the database''s row meanwhile.';

create or replace function zmesh_roles.create_project_role(p_role name, p_schema name, p_verifier text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform zmesh_roles.check_role(p_role), zmesh_roles.check_schema(p_schema);
    if p_verifier !~ '^SCRAM-SHA-256\$' then
        raise exception using errcode = 'ZM422', message = 'the password is not a SCRAM verifier';
    end if;
    execute format('create role %I login connection limit %s password %L',
                   p_role, zmesh_roles.default_connection_limit(), p_verifier);
    perform zmesh_roles.join_projects(p_role), zmesh_roles.keep_out_of_log(p_role);
    perform zmesh_roles.change_database(format('grant connect, temporary on database %I to %I', current_database(), p_role));
    execute format('create schema %I', p_schema);
    execute format('grant usage, create on schema %I to %I', p_schema, p_role);
    execute format('alter role %I set search_path = %I', p_role, p_schema);
    execute format('alter role %I set idle_in_transaction_session_timeout = ''15min''', p_role);
    execute format('alter role %I set statement_timeout = ''15min''', p_role);
end $$;
comment on function zmesh_roles.create_project_role(name, name, text) is
    'Creates a project''s login role and schema; the password is given as a SCRAM verifier.';

create or replace function zmesh_roles.limit_connections(p_role name, p_limit integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_limit integer := coalesce(p_limit, zmesh_roles.default_connection_limit());
begin
    perform zmesh_roles.check_role(p_role);
    perform from pg_roles where rolname = p_role and rolconnlimit <> v_limit;
    if found then
        execute format('alter role %I connection limit %s', p_role, v_limit);
    end if;
    return found;
end $$;
comment on function zmesh_roles.limit_connections(name, integer) is
    'Sets how many sessions a project''s role may have, null for the default; returns whether this changed the limit.';

create or replace function zmesh_roles.close_project_role(p_role name) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform zmesh_roles.check_role(p_role);
    execute format('grant %I to %I', p_role, current_user);
    -- Before that as well: a session of the role may have locked the row that this changes.
    perform pg_terminate_backend(a.pid) from pg_stat_activity a where a.usename = p_role;
    execute format('alter role %I nologin connection limit 0', p_role);
    perform pg_terminate_backend(a.pid, 5000) from pg_stat_activity a where a.usename = p_role;
end $$;
comment on function zmesh_roles.close_project_role(name) is 'Disables the login of a project''s role and ends its sessions.';

create or replace function zmesh_roles.drop_object(p_catalog oid, p_object oid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_object record;
begin
    if p_catalog = 'pg_largeobject'::regclass then
        perform lo_unlink(p_object);
        return;
    end if;
    select i.type, i.identity into v_object from pg_identify_object(p_catalog, p_object, 0) i;
    if v_object.identity is not null then   -- otherwise it was dropped along with an earlier one
        execute format('drop %s if exists %s cascade',
                       case v_object.type when 'statistics object' then 'statistics' when 'composite type' then 'type'
                                          else v_object.type end, v_object.identity);
    end if;
end $$;
comment on function zmesh_roles.drop_object(oid, oid) is 'Drops one object of any kind and everything that depends on it.';

create or replace function zmesh_roles.drop_objects(p_role name, p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_object record;
    v_count  integer := 0;
begin
    perform zmesh_roles.check_role(p_role);
    execute format('grant %I to %I', p_role, current_user);
    -- Newest first: objects come before those they depend on, so hardly any drop cascades.
    for v_object in
        select d.classid, d.objid from pg_shdepend d
         where d.refclassid = 'pg_authid'::regclass and d.refobjid = p_role::regrole and d.deptype = 'o'
           and d.dbid = (select oid from pg_database where datname = current_database())
           and d.classid <> 'pg_default_acl'::regclass
         order by d.objid::bigint desc limit p_limit
    loop
        begin
            perform zmesh_roles.drop_object(v_object.classid, v_object.objid);
            -- Counted only if it is gone, so that repeating this comes to an end.
            perform from pg_shdepend d where d.classid = v_object.classid and d.objid = v_object.objid and d.deptype = 'o';
            v_count := v_count + case when found then 0 else 1 end;
        exception   -- part of another object, dropped along with one, or left to drop owned
            when dependent_objects_still_exist or undefined_object or undefined_table or undefined_function
                 or syntax_error then null;
        end;
    end loop;
    perform zmesh_roles.leave_projects();
    return v_count;
end $$;
comment on function zmesh_roles.drop_objects(name, integer) is
    'Drops up to p_limit objects of a project''s role, since each takes a place in the server''s lock table; '
    'returns how many.';

-- Others may grant privileges on their objects to this role. Only they, or members of their roles, can revoke those.
create or replace function zmesh_roles.join_grantors(p_role name) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_grantor name;
begin
    for v_grantor in
        with granted as (
            select classid, objid, dbid from pg_shdepend
             where refclassid = 'pg_authid'::regclass and refobjid = p_role::regrole and deptype in ('a', 'r')
        ), owners as (
            select o.refobjid as owner from granted g
              join pg_shdepend o on (o.classid, o.objid, o.dbid, o.deptype) = (g.classid, g.objid, g.dbid, 'o')
             union
            select c.relowner from granted g   -- a policy belongs to its table and has no owner itself
              join pg_policy p on g.classid = 'pg_policy'::regclass and p.oid = g.objid
              join pg_class c on c.oid = p.polrelid
        )
        select r.rolname from owners join pg_roles r on r.oid = owners.owner where r.rolname ~ '^zmesh_p_[a-z0-9_]+$'
    loop
        execute format('grant %I to %I', v_grantor, current_user);
    end loop;
end $$;
comment on function zmesh_roles.join_grantors(name) is
    'Makes the caller a member of the project roles that granted something to this one.';

create or replace function zmesh_roles.leave_projects() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_role name;
begin
    for v_role in
        select distinct r.rolname from pg_auth_members m join pg_roles r on r.oid = m.roleid
         where m.member = current_user::regrole and m.grantor = current_user::regrole and r.rolname ~ '^zmesh_p_[a-z0-9_]+$'
    loop
        execute format('revoke %I from %I', v_role, current_user);
    end loop;
end $$;
comment on function zmesh_roles.leave_projects() is 'Ends the memberships that the caller gave itself.';

create or replace function zmesh_roles.drop_project_role(p_role name, p_schema name) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_most   constant integer := 1000;   -- privileges to revoke: each takes a place in the lock table
    v_detail text;
begin
    perform zmesh_roles.check_role(p_role), zmesh_roles.check_schema(p_schema);
    perform zmesh_roles.close_project_role(p_role);
    while zmesh_roles.drop_objects(p_role, 1000) > 0 loop
    end loop;
    execute format('grant %I to %I', p_role, current_user);
    execute format('drop schema if exists %I cascade', p_schema);
    begin
        if (select count(*) from pg_shdepend where refclassid = 'pg_authid'::regclass and refobjid = p_role::regrole) > c_most then
            raise exception using errcode = 'dependent_objects_still_exist',
                message = format('other roles have granted it more than %s privileges', c_most);
        end if;
        perform zmesh_roles.join_grantors(p_role);
        perform zmesh_roles.change_database(format('revoke all on database %I from %I', current_database(), p_role));
        execute format('drop owned by %I cascade', p_role);
        execute format('drop role %I', p_role);
    exception when dependent_objects_still_exist or insufficient_privilege then
        get stacked diagnostics v_detail = pg_exception_detail;
        v_detail := concat_ws('; ', sqlerrm, nullif(v_detail, ''));
        execute format('revoke zmesh_project from %I', p_role);
        execute format('alter role %I password null', p_role);
    end;
    perform zmesh_roles.leave_projects();
    return v_detail;
end $$;
comment on function zmesh_roles.drop_project_role(name, name) is
    'Drops a project''s schema, objects and role. Returns null, or why the role has to stay, without any privileges'
    ' here and without login.';

-- Needs no privilege to signal: PostgreSQL itself cancels a worker that blocks a lock request, after deadlock_timeout.
create or replace function zmesh_roles.alter_tables(p_role name, p_tables regclass[], p_change text) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    c_most_waits constant integer := 10;   -- the project's sessions may lock each of its tables
    v_table      regclass;
    v_altered    integer := 0;
    v_waits      integer := 0;
begin
    if p_role <> 'zmesh_project' then
        perform zmesh_roles.check_role(p_role);
        execute format('grant %I to %I', p_role, current_user);
    end if;
    perform set_config('lock_timeout', format('%sms', (
        extract(epoch from current_setting('deadlock_timeout')::interval) * 1000)::integer + 1000), true);
    foreach v_table in array p_tables loop
        begin
            execute format('alter table %s %s', v_table, p_change);
            v_altered := v_altered + 1;
        exception when lock_not_available or undefined_table or deadlock_detected then
            v_waits := v_waits + 1;
            exit when v_table = p_tables[1]   -- the worker still holds its lock: it has been cancelled, and the next call tries again
                   or v_waits >= c_most_waits;
        end;
        perform set_config('lock_timeout', '100ms', true);   -- the others are a precaution
    end loop;
    perform zmesh_roles.leave_projects();
    return v_altered;
end $$;
comment on function zmesh_roles.alter_tables(name, regclass[], text) is
    'Alters tables of a project; an autovacuum worker that is busy with the first one is cancelled. Returns how many were altered.';

-- To summarize a range of a table is to evaluate the index's expressions and condition for its rows.
create or replace function zmesh_roles.summarizes_by_code(p_table oid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select exists (select from pg_index i
                     join pg_class c on c.oid = i.indexrelid
                     join pg_am m on m.oid = c.relam and m.amname = 'brin'
                    where i.indrelid = p_table and (i.indexprs is not null or i.indpred is not null));
end;
comment on function zmesh_roles.summarizes_by_code(oid) is
    'Whether VACUUM of a table may run its owner''s code: it has a BRIN index with an expression or a condition.';

create or replace function zmesh_roles.runs_code(p_table oid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select exists (select from pg_index i where i.indrelid = p_table and (i.indexprs is not null or i.indpred is not null))
        or exists (select from pg_statistic_ext s where s.stxrelid = p_table and s.stxexprs is not null)
        -- ANALYZE calls subtype_diff of range types.
        or exists (select from pg_attribute a join pg_type t on t.oid = a.atttypid
                    where a.attrelid = p_table and t.typnamespace <> 'pg_catalog'::regnamespace
                      and t.typanalyze in ('range_typanalyze'::regproc, 'multirange_typanalyze'::regproc));
end;
comment on function zmesh_roles.runs_code(oid) is 'Whether autovacuum of a table may run its owner''s code.';

create or replace function zmesh_roles.stop_autovacuum(p_role name, p_table oid) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_tables regclass[] := array(
        select c.oid from pg_class c
         where c.relowner = p_role::regrole and c.relkind in ('r', 'm') and c.relpersistence <> 't'
           and not coalesce(c.reloptions, '{}') && array['autovacuum_enabled=off', 'autovacuum_enabled=false']
           and (c.oid = p_table or zmesh_roles.runs_code(c.oid))
         order by c.oid <> p_table limit 200);
    -- Even if autovacuum is off, autosummarize works, and VACUUM against wraparound takes place.
    v_indexes regclass[] := array(
        select c.oid from pg_index i join pg_class c on c.oid = i.indexrelid
         where c.relowner = p_role::regrole and zmesh_roles.summarizes_by_code(i.indrelid)
           and exists (select from unnest(c.reloptions) o where o like 'autosummarize=%')
         order by i.indrelid <> p_table limit 200);
    v_cleaned regclass[] := array(
        select c.oid from pg_class c
         where c.relowner = p_role::regrole and c.relkind in ('r', 'm') and zmesh_roles.summarizes_by_code(c.oid)
           and not coalesce(c.reloptions, '{}') && array['vacuum_index_cleanup=off', 'vacuum_index_cleanup=false']
         order by c.oid <> p_table limit 200);
begin
    return zmesh_roles.alter_tables(p_role, v_tables, 'set (autovacuum_enabled = off)')
         + zmesh_roles.alter_tables(p_role, v_cleaned, 'set (vacuum_index_cleanup = off)')
         + zmesh_roles.alter_tables(p_role, v_indexes, 'reset (autosummarize)');
end $$;
comment on function zmesh_roles.stop_autovacuum(name, oid) is
    'Turns autovacuum off for a table of a project, and for its other tables for which it may run the project''s code; '
    'returns how many tables and indexes it altered.';

create or replace function zmesh_roles.slows_vacuum(p_table oid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select exists (
        select from pg_class c, unnest(c.reloptions) o
         where c.oid in (p_table, (select t.reltoastrelid from pg_class t where t.oid = p_table))
           and (o like 'autovacuum\_vacuum\_cost\_delay=%' and split_part(o, '=', 2)::float8 > 2
                or o like 'autovacuum\_vacuum\_cost\_limit=%' and split_part(o, '=', 2)::float8 < 200));
end;
comment on function zmesh_roles.slows_vacuum(oid) is
    'Whether the owner of a table has made its VACUUM slower than the default.';

create or replace function zmesh_roles.hurry_vacuum(p_role name, p_table oid) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    return zmesh_roles.alter_tables(p_role, array(
        select c.oid from pg_class c
         where c.relowner = p_role::regrole and c.relkind in ('r', 'm') and c.relpersistence <> 't' and zmesh_roles.slows_vacuum(c.oid)
         order by c.oid <> p_table limit 200),
        'reset (autovacuum_vacuum_cost_delay, autovacuum_vacuum_cost_limit, '
        'toast.autovacuum_vacuum_cost_delay, toast.autovacuum_vacuum_cost_limit)');
end $$;
comment on function zmesh_roles.hurry_vacuum(name, oid) is
    'Resets the options that slow VACUUM of a table of a project, and of its other tables; returns for how many.';

-- These would outlive every project: see zmesh_roles.join_projects().
create or replace function zmesh_roles.drop_strays(p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_stray oid;
    v_count integer := 0;
begin
    for v_stray in select oid from pg_largeobject_metadata where lomowner = 'zmesh_project'::regrole limit p_limit loop
        perform lo_unlink(v_stray);
        v_count := v_count + 1;
    end loop;
    return v_count;
end $$;
comment on function zmesh_roles.drop_strays(integer) is
    'Drops some of the large objects that belong to zmesh_project, the role of all projects; returns how many.';

create or replace function zmesh_roles.renew_roles() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform zmesh_roles.join_projects(r.rolname), zmesh_roles.keep_out_of_log(r.rolname)
       from pg_roles r
      where r.rolname ~ '^zmesh_p_[a-z0-9_]+$'
        and (has_database_privilege(r.oid, current_database(), 'connect') and pg_has_role(r.oid, 'zmesh_project', 'usage'));
exception when insufficient_privilege then null;   -- roles that an administrator created
end $$;
comment on function zmesh_roles.renew_roles() is
    'Grants existing project roles what a newer version grants to new ones.';

grant usage on schema zmesh_roles to zmesh_owner;
set local role zmesh_owner;
