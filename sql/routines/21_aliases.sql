-- Aliases name versions, with a share of the invocations each. The one called live applies where no version is named.

create or replace function zmesh.has_version(p_function_id uuid, p_version integer) returns boolean
language plpgsql stable parallel safe as $$
begin
    return exists (select from zmesh.functions f where f.id = p_function_id and f.version = p_version)
        or exists (select from zmesh.function_versions v where v.function_id = p_function_id and v.version = p_version);
end $$;
comment on function zmesh.has_version(uuid, integer) is 'Whether this is the current version of a function, or a saved one.';

create or replace function zmesh.require_runnable(p_function_id uuid, p_function text, p_version integer) returns void
language plpgsql stable as $$
begin
    if not zmesh.has_version(p_function_id, p_version) then
        perform zmesh.fail('ZM404', format('function "%s" has no version %s', p_function, p_version),
                           'List its versions: zmesh functions versions ' || p_function);
    elsif zmesh.is_retired(p_function_id, p_version) then
        perform zmesh.fail_retired(p_function, p_version);
    end if;
end $$;
comment on function zmesh.require_runnable(uuid, text, integer) is
    'Rejects a version that does not exist or is retired. zmesh.claim() stops one that is retired later.';

create or replace function zmesh.version_by_alias(p_function_id uuid, p_alias text) returns integer
language plpgsql volatile parallel safe as $$
declare
    v_dice double precision := random() * 100;
begin
    return (select a.version
              from (select version, sum(weight) over (order by version) as upto
                      from zmesh.function_aliases where function_id = p_function_id and name = p_alias) a
             where a.upto > v_dice order by a.upto limit 1);
end $$;
comment on function zmesh.version_by_alias(uuid, text) is
    'One of an alias''s versions, chosen at random according to their shares; null if there is no such alias.';

create or replace function zmesh.choose_version(inout p_new zmesh.invocations) returns zmesh.invocations
language plpgsql as $$
begin
    p_new.pinned := true;
    if p_new.version is not null then
        if p_new.alias is not null then
            perform zmesh.fail('ZM422', 'an invocation names a version or an alias, not both');
        end if;
        perform zmesh.require_runnable(p_new.function_id, p_new.function, p_new.version);
        return;
    end if;
    p_new.version := zmesh.version_by_alias(p_new.function_id, coalesce(p_new.alias, 'live'));
    if p_new.version is not null then
        p_new.alias := coalesce(p_new.alias, 'live');
    elsif p_new.alias is not null then
        perform zmesh.fail('ZM404', format('function "%s" has no alias "%s"', p_new.function, p_new.alias),
                           'List its aliases: zmesh functions alias list ' || p_new.function);
    else
        p_new.pinned := false;
    end if;
end $$;
comment on function zmesh.choose_version(zmesh.invocations) is
    'Chooses at the insert which version all attempts run; without a version or an alias, each attempt runs the '
    'current one.';

create or replace function zmesh.set_alias(p_function_id uuid, p_name text, p_versions integer[], p_weights integer[])
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_missing integer;
    v_retired integer;
    v_slug    text;
    v_sum     integer := (select sum(w) from unnest(p_weights) w);
begin
    select slug into v_slug from zmesh.functions where id = p_function_id for update;
    if not found then
        perform zmesh.fail('ZM404', 'function does not exist');
    end if;
    select v into v_missing from unnest(p_versions) v where not zmesh.has_version(p_function_id, v) limit 1;
    if found then
        perform zmesh.fail('ZM404', format('version %s does not exist', v_missing), 'List the versions to see which there are.');
    end if;
    select v into v_retired from unnest(p_versions) v where zmesh.is_retired(p_function_id, v) limit 1;
    if found then
        perform zmesh.fail_retired(v_slug, v_retired);
    end if;
    if v_sum is distinct from 100 then
        perform zmesh.fail('ZM422', format('the shares add up to %s percent instead of 100', coalesce(v_sum, 0)));
    end if;
    delete from zmesh.function_aliases where function_id = p_function_id and name = p_name;
    insert into zmesh.function_aliases (function_id, name, version, weight, updated_at)
    select p_function_id, p_name, version, weight, zmesh.now()
      from unnest(p_versions, p_weights) a (version, weight);
end $$;
comment on function zmesh.set_alias(uuid, text, integer[], integer[]) is
    'Points an alias at these versions with these shares in percent, replacing its previous versions.';

create or replace function zmesh.delete_alias(p_function_id uuid, p_name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from zmesh.function_aliases where function_id = p_function_id and name = p_name;
    return found;
end $$;
comment on function zmesh.delete_alias(uuid, text) is 'Deletes an alias; returns whether there was one.';

create or replace function zmesh.retire_version(p_function_id uuid, p_version integer) returns timestamptz
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_function record;
    v_alias    text;
    v_at       timestamptz;
begin
    -- This lock blocks set_alias() and rollback(), which take the same one.
    select f.slug, f.version into v_function from zmesh.functions f where f.id = p_function_id for update;
    if not found then
        perform zmesh.fail('ZM404', 'function does not exist');
    end if;
    if v_function.version = p_version then
        perform zmesh.fail('ZM409', format('version %s is the current version', p_version),
                           'Deploy other code or roll back first, then retire it.');
    end if;
    select a.name into v_alias from zmesh.function_aliases a
     where a.function_id = p_function_id and a.version = p_version order by a.name limit 1;
    if found then
        perform zmesh.fail('ZM409', format('the alias "%s" points to version %s', v_alias, p_version),
                           'Point the alias at another version or delete it, then retire this one.');
    end if;
    update zmesh.function_versions v set retired_at = coalesce(v.retired_at, zmesh.now())
     where v.function_id = p_function_id and v.version = p_version returning v.retired_at into v_at;
    if not found then
        perform zmesh.fail('ZM404', format('version %s does not exist', p_version),
                           'List its versions: zmesh functions versions ' || v_function.slug);
    end if;
    return v_at;
end $$;
comment on function zmesh.retire_version(uuid, integer) is
    'Prevents every call, alias, retry and rollback from starting this version. zmesh.claim() cancels its queued '
    'invocations; running attempts may finish. Returns when it was retired.';

create or replace function zmesh.unretire_version(p_function_id uuid, p_version integer) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.function_versions v set retired_at = null
     where v.function_id = p_function_id and v.version = p_version;
    if not found then
        perform zmesh.fail('ZM404', format('version %s does not exist', p_version), 'List the versions to see which there are.');
    end if;
end $$;
comment on function zmesh.unretire_version(uuid, integer) is
    'Allows a retired version to run again; has no effect on one that is not retired.';

grant execute on function zmesh.set_alias(uuid, text, integer[], integer[]), zmesh.delete_alias(uuid, text),
      zmesh.retire_version(uuid, integer), zmesh.unretire_version(uuid, integer) to zmesh_api;
