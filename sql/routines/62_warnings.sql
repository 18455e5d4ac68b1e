-- Warnings about the server, for `zmesh doctor`.

create or replace function zmesh.missing_rights() returns text[]
language sql stable
return array(
    select needed.name from (values
        ('pg_signal_backend', true),
        ('pg_read_all_stats', true),
        ('pg_signal_autovacuum_worker', current_setting('server_version_num')::integer >= 180000)) needed (name, here)
     where needed.here and not exists (select from pg_catalog.pg_roles r
                                        where r.rolname = needed.name and pg_catalog.pg_has_role('zmesh_owner', r.oid, 'usage')))
    || case when current_setting('server_version_num')::integer < 180000
                 and to_regprocedure('zmesh_roles.end_autovacuum_worker(integer)') is null
            then array['zmesh_roles.end_autovacuum_worker(integer)'] else '{}' end;
comment on function zmesh.missing_rights() is
    'Missing roles and functions that the platform needs to end sessions that block it.';

create or replace function zmesh.open_databases() returns text[]
language sql stable
return array(
    select d.datname::text from pg_catalog.pg_database d
     where d.datallowconn and d.datname <> current_database()
       and exists (select from pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
                    where a.grantee = 0 and a.privilege_type = 'CONNECT')
     order by d.datname);
comment on function zmesh.open_databases() is
    'Other databases of the server that every role, including those of projects, may connect to.';

create or replace function zmesh.warnings() returns table (problem text, fix text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return query
        select format('autovacuum does not keep up with zmesh.%I: %s dead rows, last vacuumed %s', n.table_name, n.dead_rows,
                      coalesce(to_char(n.last_vacuum at time zone 'UTC', 'YYYY-MM-DD HH24:MI UTC'), 'never')),
               format('End the oldest transaction (order pg_stat_activity by xact_start), then: vacuum zmesh.%I', n.table_name)
          from zmesh.tables_behind_on_vacuum() n
        union all
        select format('the role %I of a deleted project remains: %s', l.role_name, l.reason),
               format('In each database it names: drop owned by %I. Then: drop role %1$I', l.role_name)
          from zmesh.leftover_roles l where exists (select from pg_roles r where r.rolname = l.role_name)
        union all
        select format('process %s of %s was told to end at %s but still runs, because PostgreSQL cannot interrupt what it is doing: it %s', r.pid,
                      r.role_name, to_char(r.ended_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI UTC'), r.why),
               'Restart PostgreSQL. Until then, the role cannot sign in.'
          from zmesh.remaining_sessions() r
        union all
        select format('projects may connect to the database %I', d), format('revoke connect on database %I from public', d)
          from unnest(zmesh.open_databases()) d
        union all
        select 'sessions of projects that block the platform cannot be ended: missing ' || array_to_string(zmesh.missing_rights(), ', '),
               'Have a superuser run zmesh migrate.'
         where cardinality(zmesh.missing_rights()) > 0
        union all
        select 'projects can prepare transactions, which keep locks without a session that could be ended', 'Set max_prepared_transactions = 0.'
         where current_setting('max_prepared_transactions')::integer > 0
        union all
        select 'no connections are reserved for the platform', 'Set reserved_connections = 30.'
         where current_setting('reserved_connections', true)::integer = 0
        union all
        select 'autovacuum is off', 'Set autovacuum = on.' where current_setting('autovacuum') = 'off'
        union all
        select format('runs of %s in project %s cannot be forked and import their packages each time: %s', f.slug, p.name, r.reason),
               'See "Packages are imported in every run" in docs/guides/troubleshooting.md.'
          from zmesh.functions f
          join zmesh.projects p on p.id = f.project_id
         cross join lateral (select zmesh.not_forked_because(f.id, zmesh.now())) r (reason)
         where f.id in (select x.function_id from zmesh.fork_refusals x) and f.draft_of is null and r.reason is not null;
end $$;
comment on function zmesh.warnings() is 'Problems in this server''s configuration, and how to fix them.';

grant execute on function zmesh.warnings() to zmesh_listener;
