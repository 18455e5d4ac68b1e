-- What the throw-away database of `zmesh test` has on top of a migrated one: functions exist as soon as something names
-- them, the clock is the test's, and what is enqueued is recorded in order.

create schema zmesh_test;
comment on schema zmesh_test is 'Only in the throw-away databases of tests.';
grant usage on schema zmesh_test to zmesh_owner, zmesh_project;

create or replace function zmesh.now() returns timestamptz
language sql volatile parallel safe
return coalesce(nullif(current_setting('zmesh_test.now', true), '')::timestamptz, clock_timestamp());

create table zmesh_test.enqueued (
    number bigint generated always as identity primary key,
    id     uuid   not null
);
comment on table zmesh_test.enqueued is 'Invocations in the order of their inserts: the clock that dates them stands still.';
grant select on zmesh_test.enqueued to zmesh_project;

create table zmesh_test.invoked (
    number     bigint generated always as identity primary key,
    function   text not null,
    payload    jsonb not null,
    timeout_ms double precision,
    version    integer,
    alias      text
);
comment on table zmesh_test.invoked is 'Calls of zmesh.invoke() in the sandbox.';
grant select, insert, delete on zmesh_test.invoked to zmesh_project;

create function zmesh_test.invoke(
    p_function text, p_payload jsonb, p_timeout_ms double precision, p_version integer, p_alias text
) returns jsonb
language sql as $$
    insert into zmesh_test.invoked (function, payload, timeout_ms, version, alias)
    values (p_function, p_payload, p_timeout_ms, p_version, p_alias);
    select nullif(current_setting('zmesh_test.answers', true), '')::jsonb -> p_function
$$;
comment on function zmesh_test.invoke(text, jsonb, double precision, integer, text)
    is 'Records a call of zmesh.invoke(); returns how it ends, or null if the test has no answer to it.';

create function zmesh_test.ensure_function(p_project_id uuid, p_slug text) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into zmesh.functions (project_id, name, language, code)
    select p_project_id, p_slug, 'python', 'def handler(payload, zmesh): ...'
     where not exists (select from zmesh.functions where project_id = p_project_id and slug = p_slug)
$$;
comment on function zmesh_test.ensure_function(uuid, text) is 'Makes a function that a test calls or a migration names.';

create function zmesh_test.ensure_called_function() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if new.project_id is not null and new.function ~ '^[a-z0-9][a-z0-9-]*$' then
        perform zmesh_test.ensure_function(new.project_id, new.function);
    end if;
    return new;
end $$;
comment on function zmesh_test.ensure_called_function() is 'Leaves a name that is no slug to the platform, which rejects it.';

create trigger invocations_ensure_function before insert on zmesh.queue   -- by its name before invocations_prepare
    for each row execute function zmesh_test.ensure_called_function();

create function zmesh_test.record_enqueued() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into zmesh_test.enqueued (id) values (new.id);
    return null;
end $$;
comment on function zmesh_test.record_enqueued() is 'Notes that an invocation was inserted.';

create trigger invocations_record after insert on zmesh.queue
    for each row execute function zmesh_test.record_enqueued();

create or replace function zmesh.choose_version(inout p_new zmesh.invocations) returns zmesh.invocations
language plpgsql as $$
begin
    p_new.pinned := p_new.version is not null;   -- nothing is deployed: what was asked for is recorded as it is
end $$;

create or replace function zmesh.is_own_function(p_slug text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform zmesh_test.ensure_function(zmesh.project_of(session_user), p_slug);
    return exists (select from zmesh.functions where project_id = zmesh.project_of(session_user) and slug = p_slug);
end $$;
