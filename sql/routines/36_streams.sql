-- Responses that a run makes piece by piece. The listener writes what has come since its last write as one chunk for
-- each stream; the API deletes chunks as it sends them on. Both go as fast as they may: the listener stops reading of
-- the run while too much is not taken, and is woken when something was. Locks are taken in the order of ids.

create or replace function zmesh.write_streams(
    p_listener uuid, p_ids uuid[], p_heads text[], p_numbers integer[], p_bodies bytea[], p_window integer)
returns table (id uuid, untaken bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
    v_told integer;
begin
    insert into zmesh.streams (invocation_id, started_at, channel, head)
    select w.id, zmesh.now(), r.channel, w.head::json
      from unnest(p_ids, p_heads) as w (id, head)
      join zmesh.queue q on q.id = w.id and q.listener_id = p_listener
      join zmesh.waiters r on r.invocation_id = w.id and r.channel like 'zmesh\_s\_%'
     where w.head is not null
     order by w.id
        on conflict do nothing;
    perform from zmesh.streams s where s.invocation_id = any (p_ids) order by s.invocation_id for update;
    with written as (   -- what a write whose answer was lost has written stays as it is
        insert into zmesh.stream_chunks (invocation_id, number, body)
        select w.id, w.number, w.body
          from unnest(p_ids, p_numbers, p_bodies) as w (id, number, body)
          join zmesh.streams s on s.invocation_id = w.id
            on conflict do nothing
        returning stream_chunks.invocation_id, octet_length(stream_chunks.body) as bytes
    ), counted as (
        update zmesh.streams s
           set sent = s.sent + w.bytes,
               full_since = case when s.sent + w.bytes - s.taken >= p_window
                                 then coalesce(s.full_since, zmesh.now()) end
          from written w where s.invocation_id = w.invocation_id
        returning s.channel, s.invocation_id
    )
    select count(zmesh.notify_unless_congested(c.channel, c.invocation_id || '+')) into v_told from counted c;
    return query select s.invocation_id, s.sent - s.taken from zmesh.streams s where s.invocation_id = any (p_ids);
end $$;
comment on function zmesh.write_streams(uuid, uuid[], text[], integer[], bytea[], integer) is
    'Writes one chunk of each of these streams, and the head with the first, and notifies their readers. Returns '
    'the streams that are being read, with the number of unread bytes of each.';

create or replace function zmesh.unread_bytes_of(p_ids uuid[]) returns table (id uuid, untaken bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
begin atomic
    select s.invocation_id, s.sent - s.taken from zmesh.streams s where s.invocation_id = any (p_ids);
end;
comment on function zmesh.unread_bytes_of(uuid[]) is
    'Those of these streams that are being read, with the number of unread bytes of each.';

create or replace function zmesh.lock_for_reading(p_ids uuid[]) returns void
language plpgsql set enable_seqscan = off set jit = off as $$
begin
    perform from zmesh.streams s where s.invocation_id = any (p_ids) order by s.invocation_id for update;
    if exists (select from zmesh.streams s where s.invocation_id = any (p_ids) and s.full_since is not null) then
        perform zmesh.notify_unless_congested('zmesh_streams');
    end if;
end $$;
comment on function zmesh.lock_for_reading(uuid[]) is
    'Locks these streams for a reader that removes their chunks; notifies listeners that wait for room in one of them.';

create or replace function zmesh.take_chunks(p_ids uuid[])
returns table (invocation_id uuid, head text, number integer, body bytea)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
    perform zmesh.lock_for_reading(p_ids);
    return query
        with gone as (
            delete from zmesh.stream_chunks c where c.invocation_id = any (p_ids)
            returning c.invocation_id, c.number, c.body
        ), counted as (
            update zmesh.streams s set taken = s.taken + g.bytes
              from (select gone.invocation_id, sum(octet_length(gone.body)) as bytes from gone group by 1) g
             where s.invocation_id = g.invocation_id
        )
        select s.invocation_id, s.head::text, g.number, g.body
          from zmesh.streams s left join gone g on g.invocation_id = s.invocation_id
         where s.invocation_id = any (p_ids)
         order by s.invocation_id, g.number;
end $$;
comment on function zmesh.take_chunks(uuid[]) is
    'Removes and returns the available chunks of these streams; one row without a chunk for a stream that has none '
    'now.';

create or replace function zmesh.close_streams(p_ids uuid[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
    perform zmesh.lock_for_reading(p_ids);
    delete from zmesh.stream_chunks c where c.invocation_id = any (p_ids);
    delete from zmesh.streams s where s.invocation_id = any (p_ids);
end $$;
comment on function zmesh.close_streams(uuid[]) is
    'Closes streams that are no longer read: what their runs still send is discarded.';

create or replace function zmesh.forget_streams() returns void
language plpgsql as $$
begin
    perform zmesh.close_streams(array(
        select s.invocation_id from zmesh.streams s
         where s.started_at < zmesh.now() - interval '5 minutes'
           and not exists (select from zmesh.queue q where q.id = s.invocation_id)
         limit 1000));
end $$;
comment on function zmesh.forget_streams() is 'Deletes streams that have ended and whose reader is gone.';

grant execute on function zmesh.take_chunks(uuid[]), zmesh.close_streams(uuid[]) to zmesh_api;
grant execute on function zmesh.write_streams(uuid, uuid[], text[], integer[], bytea[], integer), zmesh.unread_bytes_of(uuid[]),
      zmesh.close_streams(uuid[]) to zmesh_listener;
