-- Who belongs to a project. At least one member is an owner, at any moment and whoever changes what at once.

create or replace function zmesh.require_owner() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from zmesh.projects where id = old.project_id for no key update;   -- one change of owners at a time
    if found and not exists (select from zmesh.memberships where project_id = old.project_id and role = 'owner') then
        perform zmesh.fail('ZM409', 'the last owner of a project cannot leave or change role',
                           'Make somebody else an owner first.', 'memberships_one_is_an_owner');
    end if;
    return null;
end $$;
comment on function zmesh.require_owner() is
    'Rejects changes that leave a project without an owner, unless the project is deleted.';

create or replace trigger memberships_require_owner after update or delete on zmesh.memberships
    for each row when (old.role = 'owner') execute function zmesh.require_owner();

create or replace function zmesh.change_member(p_project_id uuid, p_user_id uuid, p_role text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.memberships set role = p_role where project_id = p_project_id and user_id = p_user_id;
    return found;
end $$;
comment on function zmesh.change_member(uuid, uuid, text) is
    'Changes a member''s role; returns whether there is such a member.';

create or replace function zmesh.remove_member(p_project_id uuid, p_user_id uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Whom this person invited does not come in behind their back.
    delete from zmesh.invitations where project_id = p_project_id and invited_by = p_user_id;
    delete from zmesh.memberships where project_id = p_project_id and user_id = p_user_id;
    return found;
end $$;
comment on function zmesh.remove_member(uuid, uuid) is 'Removes a member and the invitations they sent; returns whether there was this member.';

create or replace function zmesh.invite(p_project_id uuid, p_email text, p_role text, p_hash bytea, p_by uuid)
returns zmesh.invitations
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_invitation zmesh.invitations;
begin
    if exists (select from zmesh.memberships m join zmesh.users u on u.id = m.user_id
                where m.project_id = p_project_id and lower(u.email) = lower(p_email)) then
        perform zmesh.fail('ZM409', format('%s is a member already', p_email), 'Change the member''s role instead.',
                           'memberships_are_unique', 'email');
    end if;
    insert into zmesh.invitations (project_id, invited_by, email, role, hash, created_at, expires_at)
    values (p_project_id, p_by, p_email, p_role, p_hash, zmesh.now(), zmesh.now() + interval '7 days')
    on conflict (project_id, lower(email)) do update
        set invited_by = excluded.invited_by, role = excluded.role, hash = excluded.hash,
            created_at = excluded.created_at, expires_at = excluded.expires_at
    returning * into v_invitation;
    return v_invitation;
end $$;
comment on function zmesh.invite(uuid, text, text, bytea, uuid) is
    'Invites an address for a week, replacing an earlier invitation. The token is given as its SHA-256.';

create or replace function zmesh.accept_invitation(p_hash bytea, p_user_id uuid, p_password_hash text)
returns zmesh.memberships
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_invitation zmesh.invitations;
    v_user_id    uuid := p_user_id;
    v_membership zmesh.memberships;
begin
    delete from zmesh.invitations where hash = p_hash and expires_at > zmesh.now() returning * into v_invitation;
    if not found then
        perform zmesh.fail('ZM404', 'invitation not found or expired', 'Ask for another one.');
    end if;
    if v_user_id is null then   -- refused by the unique index when the address got an account meanwhile
        insert into zmesh.users (email, password_hash, created_at)
        values (v_invitation.email, p_password_hash, zmesh.now()) returning id into v_user_id;
    end if;
    insert into zmesh.memberships (user_id, project_id, role)
    values (v_user_id, v_invitation.project_id, v_invitation.role)
    on conflict (user_id, project_id) do update set role = excluded.role
    returning * into v_membership;
    return v_membership;
end $$;
comment on function zmesh.accept_invitation(bytea, uuid, text) is
    'Makes the account with this id, or a new one with this password hash, a member. An invitation can be used once.';

create or replace function zmesh.withdraw_invitation(p_project_id uuid, p_id uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from zmesh.invitations where project_id = p_project_id and id = p_id;
    return found;
end $$;
comment on function zmesh.withdraw_invitation(uuid, uuid) is 'Deletes an invitation; returns whether there was one.';

create or replace function zmesh.ensure_user(p_email text, p_password_hash text) returns uuid
language plpgsql as $$
begin
    insert into zmesh.users (email, password_hash) values (p_email, p_password_hash)
        on conflict (lower(email)) do nothing;
    return (select id from zmesh.users where lower(email) = lower(p_email));
end $$;
comment on function zmesh.ensure_user(text, text) is
    'The user with this address, created with this password where there is none. For administrators.';

create or replace function zmesh.ensure_member(p_user_id uuid, p_project_id uuid, p_role text) returns void
language plpgsql as $$
begin
    insert into zmesh.memberships (user_id, project_id, role) values (p_user_id, p_project_id, p_role)
        on conflict (user_id, project_id) do update set role = excluded.role;
end $$;
comment on function zmesh.ensure_member(uuid, uuid, text) is
    'Gives a user a role in a project, in place of any other. For administrators.';

grant execute on function zmesh.change_member(uuid, uuid, text), zmesh.remove_member(uuid, uuid),
      zmesh.invite(uuid, text, text, bytea, uuid), zmesh.accept_invitation(bytea, uuid, text),
      zmesh.withdraw_invitation(uuid, uuid) to zmesh_api;
