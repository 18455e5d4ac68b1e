-- Sessions of projects that the platform ends: each project can read which of its own, and why.

create or replace function zmesh.end_session(p_pid integer, p_role name, p_why text, p_is_offence boolean) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_started timestamptz;
begin
    select coalesce(a.backend_start, '-infinity') into v_started from pg_stat_get_activity(p_pid) a;   -- null without pg_read_all_stats
    begin
        perform pg_terminate_backend(p_pid);
    exception when insufficient_privilege then
        p_why := p_why || ', and goes on: grant pg_signal_backend to zmesh_owner';
    end;
    insert into zmesh.ended_sessions (role_name, pid, started_at, ended_at, why, is_offence)
    select p_role, p_pid, v_started, clock_timestamp(), p_why, p_is_offence where v_started is not null
        on conflict do nothing;
    return case when found then format('%s, process %s, %s', p_role, p_pid, p_why) end;
end $$;
comment on function zmesh.end_session(integer, name, text, boolean) is
    'Ends a session of a project and records why; returns a message, or null if the session was told to end before.';

-- PostgreSQL interrupts a session only where its code allows it: not within position(), replace() or like, nor a commit.
create or replace function zmesh.remaining_sessions() returns table (pid integer, role_name name, ended_at timestamptz, why text)
language sql volatile security definer set search_path = pg_catalog, pg_temp
begin atomic
    select e.pid, e.role_name, e.ended_at, e.why from zmesh.ended_sessions e
      join pg_stat_get_activity(null) a on a.pid = e.pid and a.backend_start = e.started_at
     where e.ended_at < clock_timestamp() - interval '10 seconds';
end;
comment on function zmesh.remaining_sessions() is 'Sessions that were told to end more than ten seconds ago and still exist.';

create or replace function zmesh.forget_ended_sessions() returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
begin atomic
    delete from zmesh.ended_sessions e
     using (select n.pid, n.started_at, row_number() over (partition by n.role_name order by n.ended_at desc) as place
              from zmesh.ended_sessions n) n
     where (e.pid, e.started_at) = (n.pid, n.started_at)
       and (n.place > 1000 or e.ended_at < clock_timestamp() - interval '1 day')
       and e.pid not in (select r.pid from zmesh.remaining_sessions() r);
end;
comment on function zmesh.forget_ended_sessions() is 'Deletes from zmesh.ended_sessions what is older than a day or more than 1,000 of a role.';
