-- Projects share the server, and every role can block others there: by locks, by transactions that never end, by
-- notifications that are never read. A role can also lift its own timeouts. So listeners check every second, and end
-- sessions of projects that do harm.

-- Not another project: anybody can wait for a lock, and could so have another project's session ended.
create or replace function zmesh.must_not_wait(p_role name, p_relation oid, p_locktype text) returns boolean
language sql stable
return p_role in ('zmesh_api', 'zmesh_listener')
    or (exists (select from pg_catalog.pg_class c
                 where c.oid = p_relation
                   and (c.relnamespace = 'zmesh'::pg_catalog.regnamespace
                        or c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace and p_locktype in ('transactionid', 'tuple')))
        and not exists (select from zmesh.projects p where p.role_name = p_role));
comment on function zmesh.must_not_wait(name, oid, text) is
    'Whether a role must not be kept waiting for a lock: a platform role never, an administrator not in this schema, nor for a row of a catalog.';

-- When connections run short, each project with sessions keeps an equal share of four fifths of them. Sessions beyond that
-- are ended: idle ones first, then those that have been longest in one state.
create or replace function zmesh.sessions_beyond_share() returns integer[]
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_usable integer := zmesh_roles.usable_connections();
begin
    if (select count(*) from pg_stat_get_activity(null) a where a.backend_type = 'client backend') <= v_usable * 0.9 then
        return '{}';
    end if;
    return array(
        with sessions as (
            select a.pid, p.id as project_id, count(*) over (partition by p.id) as held, row_number() over (
                       partition by p.id order by a.state not like 'idle%', a.state_change, a.pid) as turn
              from pg_stat_get_activity(null) a
              join zmesh.projects p on p.role_name = pg_get_userbyid(a.usesysid)
        ), shares as (
            select v_usable * 4 / 5 / greatest(1, count(distinct s.project_id)) as share from sessions s
        )
        select s.pid from sessions s, shares where s.turn <= s.held - shares.share);
end $$;
comment on function zmesh.sessions_beyond_share() is
    'Sessions of projects that exceed their share while nine tenths of the server''s connections are in use.';

create or replace function zmesh.harmful_sessions() returns table (pid integer, role_name name, why text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now    timestamptz := clock_timestamp();
    v_beyond integer[] := zmesh.sessions_beyond_share();
    v_former xid := (select u.former_horizon::xid from zmesh.upkeep u);
begin
    -- Cached in this session from now on, so that end_sessions_exhausting_locks() looks nothing up.
    perform count(pg_get_userbyid(r.oid)), bool_and(pg_has_role('pg_signal_backend', 'usage'))
       from pg_roles r where r.rolname like 'zmesh\_p\_%';
    return query
        with sessions as materialized (
            select a.pid, pg_get_userbyid(a.usesysid) as role_name, a.state, a.xact_start, a.query_start,
                   a.state_change, a.wait_event, a.backend_xmin
              from pg_stat_get_activity(null) a where a.usesysid is not null
        ), projects as materialized (
            select p.role_name from zmesh.projects p
        ), locks as materialized (
            select l.pid, l.relation, l.locktype, l.granted, l.waitstart from pg_lock_status() l
        ), blockers as materialized (
            select s.pid
              from locks l
              join sessions waiting on waiting.pid = l.pid
              join sessions s on s.pid = any (pg_blocking_pids(l.pid)) and s.role_name <> waiting.role_name
             where not l.granted and l.waitstart < v_now - interval '1 second'
               -- Who waits for the transaction that changed a row has a lock on the row.
               and zmesh.must_not_wait(waiting.role_name, coalesce(l.relation, (
                       select min(r.relation) from locks r where r.pid = l.pid and r.granted and r.locktype = 'tuple')), l.locktype)
        ), judged as (
            select s.pid, s.role_name, case
                when s.pid in (select b.pid from blockers b) then 'held a lock that others waited for'
                when s.state like 'idle in transaction%' and s.state_change < v_now - interval '16 minutes'
                    then 'was idle in a transaction for 16 minutes'
                when s.state in ('active', 'fastpath function call') and s.query_start < v_now - interval '16 minutes'
                    then 'ran one statement for 16 minutes'
                when s.xact_start < v_now - interval '1 hour' then 'kept one transaction for an hour'
                -- A young transaction may have it from an older one, by pg_export_snapshot().
                when age(s.backend_xmin) > age(v_former) then 'kept one snapshot for an hour'
                when pg_notification_queue_usage() > 0.1
                     and (s.wait_event = 'ClientWrite' or s.xact_start < v_now - interval '10 seconds'
                          -- A procedure that commits starts a new transaction each time, but reads no notifications.
                          or s.state = 'active' and s.query_start < v_now - interval '10 seconds')
                    then 'prevented notifications from being discarded'
                when s.pid = any (v_beyond)
                    then 'was beyond the project''s share while the server had hardly any connections left'
                end as why
              from sessions s join projects p on p.role_name = s.role_name
        )
        select j.pid, j.role_name, j.why from judged j where j.why is not null;
end $$;
comment on function zmesh.harmful_sessions() is
    'Sessions of projects that block the platform, or that have been active for longer than any run may be.';

-- All share one lock table: when it is full, nobody gets a lock. So this reads no table and no view.
create or replace function zmesh.end_sessions_exhausting_locks() returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_many constant integer := current_setting('max_locks_per_transaction')::integer
                             * current_setting('max_connections')::integer / 2;
    v_session record;
    v_pids    integer[] := '{}';
begin
    for v_session in
        select h.pid, h.role_name
          from (select a.pid, pg_get_userbyid(a.usesysid) as role_name, l.n,
                       sum(l.n) over (partition by a.usesysid) as of_role
                  from (select pid, count(*) as n from pg_lock_status() where granted and not fastpath group by pid) l
                  join pg_stat_get_activity(null) a on a.pid = l.pid) h
         where h.role_name like 'zmesh\_p\_%' and h.of_role > c_many and h.n > 100
    loop
        perform pg_terminate_backend(v_session.pid);
        v_pids := v_pids || v_session.pid;
        return next format('%s, process %s, belonged to a project that held most locks of the server', v_session.role_name, v_session.pid);
    end loop;
    if cardinality(v_pids) > 0 then
        begin
            insert into zmesh.ended_sessions (role_name, pid, started_at, ended_at, why, is_offence)
            select pg_get_userbyid(a.usesysid), a.pid, a.backend_start, clock_timestamp(), 'belonged to a project that held most locks of the server', true
              from pg_stat_get_activity(null) a where a.pid = any (v_pids)
                on conflict do nothing;
        exception when out_of_memory then null;   -- there is no lock left for this either
        end;
    end if;
end $$;
comment on function zmesh.end_sessions_exhausting_locks() is
    'Ends the sessions of a project that holds half of all locks; returns which.';

-- Ended sessions reconnect at once and block the next call: notifications of others waited for seconds, each time,
-- behind those of one project. Each closing within an hour lasts a minute longer than the one before.
create or replace function zmesh.minutes_closed(p_role name) returns integer
language sql volatile security definer set search_path = pg_catalog, pg_temp
begin atomic
    select greatest(1, count(distinct date_trunc('second', e.ended_at)) / 5)::integer from zmesh.ended_sessions e
     where e.role_name = p_role and e.is_offence and e.ended_at > clock_timestamp() - interval '1 hour';
end;
comment on function zmesh.minutes_closed(name) is 'For how long after its last offence a role that blocks the platform cannot sign in.';

create or replace function zmesh.is_closed(p_role name) returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
begin atomic
    select exists (select from zmesh.remaining_sessions() r where r.role_name = p_role)
        or exists (select from zmesh.ended_sessions e
                    where e.role_name = p_role and e.is_offence
                      and e.ended_at > clock_timestamp() - make_interval(mins => zmesh.minutes_closed(p_role)));
end;
comment on function zmesh.is_closed(name) is 'Whether a role that was closed must stay closed.';

create or replace function zmesh.close_offenders() returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
    c_most constant integer := 5;   -- seconds with an offence, of the last thirty
    v_role record;
begin
    for v_role in
        select e.role_name as name, format('for %s min: its sessions kept blocking the platform', zmesh.minutes_closed(e.role_name)) as said
          from zmesh.ended_sessions e
         where e.is_offence and e.ended_at > clock_timestamp() - interval '30 seconds'
         group by e.role_name having count(distinct date_trunc('second', e.ended_at)) >= c_most
         union all
        select r.role_name, format('until its process %s has ended: PostgreSQL cannot interrupt it', min(r.pid))
          from zmesh.remaining_sessions() r group by r.role_name
    loop
        perform pg_terminate_backend(a.pid) from pg_stat_get_activity(null) a where pg_get_userbyid(a.usesysid) = v_role.name;
        begin
            if zmesh_roles.limit_connections(v_role.name, 0) then
                return next format('%s cannot sign in %s', v_role.name, v_role.said);
            end if;
        exception when lock_not_available or internal_error then null;   -- a session of the role is altering it
        end;
    end loop;
end $$;
comment on function zmesh.close_offenders() is
    'Closes roles whose sessions block the platform again and again, or do not end; zmesh.renew_connection_limits() reopens them. '
    'Returns a message for each that was open.';

create or replace function zmesh.end_harmful_sessions() returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_offences constant text[] := array['held a lock that others waited for', 'prevented notifications from being discarded'];
begin
    return query
        select e.said from zmesh.harmful_sessions() h
         cross join lateral zmesh.end_session(h.pid, h.role_name, h.why, h.why = any (c_offences)) e (said)
         where e.said is not null;
    return query select * from zmesh.close_offenders();
end $$;
comment on function zmesh.end_harmful_sessions() is
    'Ends sessions of projects that block the platform; returns which, and why.';

grant execute on function zmesh.end_sessions_exhausting_locks(), zmesh.end_harmful_sessions() to zmesh_listener;
