-- Autovacuum serves all projects with few workers, and runs the owner's code: ANALYZE evaluates expressions of indexes
-- and statistics, VACUUM those of BRIN indexes. A worker trapped there serves nobody else and prevents the removal of
-- dead rows everywhere.

create or replace function zmesh.tables_behind_on_vacuum()
returns table (table_name text, dead_rows bigint, last_vacuum timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
        select c.relname::text, pg_stat_get_dead_tuples(c.oid),
               greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid))
          from pg_class c
         where c.relnamespace = 'zmesh'::regnamespace and c.relkind = 'r'
           and (pg_stat_get_dead_tuples(c.oid) > 100000 + greatest(c.reltuples, 0)
                or age(c.relfrozenxid) > 1.25 * current_setting('autovacuum_freeze_max_age')::bigint)
         order by 2 desc, 1;
end $$;
comment on function zmesh.tables_behind_on_vacuum() is
    'Tables of the platform that autovacuum has fallen behind with: at least 100,000 more dead rows than live ones.';

create or replace function zmesh.workers_are_scarce() returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
begin atomic
    select count(*) >= current_setting('autovacuum_max_workers')::integer or exists (select from zmesh.tables_behind_on_vacuum())
      from pg_stat_get_activity(null) a where a.backend_type = 'autovacuum worker';
end;
comment on function zmesh.workers_are_scarce() is
    'Whether all autovacuum workers are busy, or autovacuum has fallen behind with tables of the platform.';

-- VACUUM runs its owner's code only where it cleans up BRIN indexes with expressions or conditions, after what may
-- legitimately have taken hours. No view says since when it has been there.
create or replace function zmesh.note_index_cleanups() returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
begin atomic
    delete from zmesh.index_cleanups c
     where not exists (select from pg_stat_progress_vacuum v
                        where v.pid = c.pid and v.relid = c.table_id and v.phase = 'cleaning up indexes');
    insert into zmesh.index_cleanups (pid, table_id, since)
    select v.pid, v.relid, clock_timestamp() from pg_stat_progress_vacuum v
     where v.datname = current_database() and v.phase = 'cleaning up indexes' and zmesh_roles.summarizes_by_code(v.relid)
        on conflict do nothing;
end;
comment on function zmesh.note_index_cleanups() is
    'Records which workers may be running the code of a table''s owner in VACUUM, for zmesh.slow_workers().';

create or replace function zmesh.workers_in_projects_code() returns table (pid integer, table_id oid, took interval)
language sql volatile security definer set search_path = pg_catalog, pg_temp
begin atomic
    select a.pid, w.relid, clock_timestamp() - a.xact_start
      from pg_stat_get_activity(null) a join pg_stat_progress_analyze w on w.pid = a.pid and w.datname = current_database()
     where a.backend_type = 'autovacuum worker'
     union all
    select c.pid, c.table_id, clock_timestamp() - c.since from zmesh.index_cleanups c
      join pg_stat_get_activity(null) a on a.pid = c.pid and a.backend_type = 'autovacuum worker'
     union all
    -- One range of a BRIN index, for which autosummarize asked: each of up to 256 requests may be a trap.
    select a.pid, i.indrelid, 6 * (clock_timestamp() - a.xact_start)
      from pg_stat_get_activity(null) a
      join pg_lock_status() l on l.pid = a.pid and l.granted and l.mode = 'ShareUpdateExclusiveLock'
       and l.database = (select oid from pg_database where datname = current_database())
      join pg_index i on i.indexrelid = l.relation
     where a.backend_type = 'autovacuum worker' and zmesh_roles.summarizes_by_code(i.indrelid);
end;
comment on function zmesh.workers_in_projects_code() is
    'Autovacuum workers that may be running the code of a table''s owner, and for how long; six times as long for a single range.';

create or replace function zmesh.slow_workers(p_patience interval)
returns table (pid integer, table_id oid, table_name text, role_name name)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform zmesh.note_index_cleanups();
    if zmesh.workers_are_scarce() then
        p_patience := p_patience / 6;
    end if;
    return query
        select w.pid, c.oid, format('%I.%I', n.nspname, c.relname), r.rolname
          from zmesh.workers_in_projects_code() w
          join pg_class c on c.oid = w.table_id
          join pg_namespace n on n.oid = c.relnamespace
          join pg_roles r on r.oid = c.relowner
           and (r.rolname = 'zmesh_project' or r.rolname in (select p.role_name from zmesh.projects p))
         where w.took > p_patience;
end $$;
comment on function zmesh.slow_workers(interval) is
    'Autovacuum workers that have been in a project''s code for that long, or for a sixth of it if workers are scarce.';

-- A table's owner may have VACUUM sleep after each page, so that a small table takes hours.
create or replace function zmesh.slowed_workers(p_patience interval)
returns table (pid integer, table_id oid, table_name text, role_name name)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    if not zmesh.workers_are_scarce() then
        return;
    end if;
    return query
        select a.pid, c.oid, format('%I.%I', n.nspname, c.relname), r.rolname
          from pg_stat_get_activity(null) a
          join pg_stat_progress_vacuum w on w.pid = a.pid
          join pg_class c on w.relid in (c.oid, c.reltoastrelid)
          join pg_namespace n on n.oid = c.relnamespace
          join pg_roles r on r.oid = c.relowner
           and (r.rolname = 'zmesh_project' or r.rolname in (select p.role_name from zmesh.projects p))
         where a.backend_type = 'autovacuum worker' and w.datname = current_database()
           and a.xact_start < clock_timestamp() - p_patience / 6 and zmesh_roles.slows_vacuum(c.oid);
end $$;
comment on function zmesh.slowed_workers(interval) is
    'While workers are scarce, those that have vacuumed a project''s table for a sixth of p_patience, slowed by its options.';

create or replace function zmesh.end_worker(p_pid integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    return pg_terminate_backend(p_pid);
exception when insufficient_privilege then
    -- Before PostgreSQL 18 only a superuser may signal a worker: see sql/migrate.py.
    if to_regprocedure('zmesh_roles.end_autovacuum_worker(integer)') is null then
        return false;
    end if;
    return zmesh_roles.end_autovacuum_worker(p_pid);
end $$;
comment on function zmesh.end_worker(integer) is 'Ends an autovacuum worker; returns whether it was allowed to.';

create or replace function zmesh.end_slow_workers(p_patience interval) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_worker record;
    v_ended  boolean;
begin
    for v_worker in select * from zmesh.slow_workers(p_patience) loop
        v_ended := zmesh.end_worker(v_worker.pid);
        if zmesh_roles.stop_autovacuum(v_worker.role_name, v_worker.table_id) > 0 or v_ended then
            return next format('%s (%s): autovacuum spent too long in the project''s code; it is now off for this table, and for other tables '
                               'of the project for which it may run such code', v_worker.table_name, v_worker.role_name);
        else
            return next format('%s (%s): autovacuum spends too long in the project''s code, and its worker cannot be ended: '
                               'have a superuser run zmesh migrate', v_worker.table_name, v_worker.role_name);
        end if;
    end loop;
    for v_worker in select * from zmesh.slowed_workers(p_patience) loop
        perform zmesh.end_worker(v_worker.pid), zmesh_roles.hurry_vacuum(v_worker.role_name, v_worker.table_id);
        return next format('%s (%s): the table''s options slowed VACUUM while workers were scarce; the options were reset',
                           v_worker.table_name, v_worker.role_name);
    end loop;
end $$;
comment on function zmesh.end_slow_workers(interval) is
    'Ends autovacuum workers trapped in a project''s table and turns autovacuum off for it, or resets the options that '
    'slow them; returns which tables.';

create or replace function zmesh.patience_with_vacuum_blockers() returns interval
language sql volatile security definer set search_path = pg_catalog, pg_temp
return case when exists (select from zmesh.tables_behind_on_vacuum()) then interval '1 second' else interval '10 seconds' end;
comment on function zmesh.patience_with_vacuum_blockers() is 'How old a transaction that VACUUM waits for may become before its session is ended.';

-- VACUUM waits for every session that has a cursor on a page it cleans up, for as long as it is open; and for one that
-- has changed the catalog's row of what it vacuums: a GRANT changes it even if it grants nothing.
create or replace function zmesh.vacuum_blockers() returns table (pid integer, role_name name)
language sql volatile security definer set search_path = pg_catalog, pg_temp
begin atomic
    select distinct s.pid, p.role_name
      from pg_stat_get_activity(null) w
      join pg_lock_status() vacuumed on vacuumed.pid = w.pid and vacuumed.mode = 'ShareUpdateExclusiveLock'
      join pg_lock_status() held on held.relation = vacuumed.relation and held.database = vacuumed.database
      join pg_stat_get_activity(null) s on s.pid = held.pid
      join zmesh.projects p on p.role_name = pg_get_userbyid(s.usesysid)
     where w.wait_event = 'BufferPin'
       and s.xact_start < clock_timestamp() - zmesh.patience_with_vacuum_blockers()
     union
    select s.pid, p.role_name
      from pg_stat_get_activity(null) w
      join pg_lock_status() l on l.pid = w.pid and not l.granted and l.locktype in ('transactionid', 'tuple')
       and l.waitstart < clock_timestamp() - interval '1 second'
      join pg_stat_get_activity(null) s on s.pid = any (pg_blocking_pids(w.pid))
      join zmesh.projects p on p.role_name = pg_get_userbyid(s.usesysid)
     where w.backend_type = 'autovacuum worker'
       and s.xact_start < clock_timestamp() - zmesh.patience_with_vacuum_blockers()
       -- A worker that waits at the project's own table may wait, unless others need it.
       and (zmesh.workers_are_scarce()
            or not exists (select from pg_lock_status() o join pg_class c on c.oid = o.relation
                            where o.pid = w.pid and o.granted and o.mode = 'ShareUpdateExclusiveLock'
                              and o.database = (select d.oid from pg_database d where d.datname = current_database())
                              and c.relowner = s.usesysid));
end;
comment on function zmesh.vacuum_blockers() is
    'Sessions of projects that VACUUM waits for: because of a page, or of a row of a catalog.';

create or replace function zmesh.end_vacuum_blockers() returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_pids    integer[] := array(select pid from zmesh.vacuum_blockers());
    v_blocker record;
begin
    -- Most such waits are short: a session found in several checks in a row blocks the page.
    for v_look in 1..4 loop
        if cardinality(v_pids) = 0 then
            return;
        end if;
        perform pg_sleep(0.1);
        perform pg_stat_clear_snapshot();
        v_pids := array(select pid from zmesh.vacuum_blockers() where pid = any (v_pids));
    end loop;
    for v_blocker in select * from zmesh.vacuum_blockers() where pid = any (v_pids) loop
        return query select e.said from zmesh.end_session(
            v_blocker.pid, v_blocker.role_name, 'held a page or a row that VACUUM waited for', true) e (said) where e.said is not null;
    end loop;
end $$;
comment on function zmesh.end_vacuum_blockers() is
    'Ends sessions of projects that VACUUM waits for; returns which.';

-- Autovacuum cannot freeze temporary tables. An old one keeps transaction ids from being reused, until PostgreSQL
-- refuses all writes.
create or replace function zmesh.end_owners_of_old_temporary_tables(p_age bigint) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_session record;
begin
    for v_session in
        select a.pid, p.role_name from pg_stat_get_activity(null) a
          join zmesh.projects p on p.role_name = pg_get_userbyid(a.usesysid)
         where p.role_name in (select pg_get_userbyid(c.relowner) from pg_class c
                                where c.relpersistence = 't' and c.relkind in ('r', 't') and age(c.relfrozenxid) > p_age)
    loop
        return query select e.said from zmesh.end_session(
            v_session.pid, v_session.role_name, 'belonged to a project with a temporary table that is too old', false) e (said)
         where e.said is not null;
    end loop;
end $$;
comment on function zmesh.end_owners_of_old_temporary_tables(bigint) is
    'Ends sessions of projects whose temporary tables are older than that many transactions; returns which.';

grant execute on function zmesh.tables_behind_on_vacuum(), zmesh.end_slow_workers(interval), zmesh.end_vacuum_blockers()
   to zmesh_listener;
