"""People: their sessions, who belongs to a project, and who is invited."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What became of a refresh token: refreshed, unknown, ended or reused. An unknown one has no session."""

    outcome: str
    session_id: UUID | None
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class Member:
    """A person of a project."""

    user_id: UUID
    email: str
    role: str


@dataclass(frozen=True, slots=True)
class Invitation:
    """Somebody who may become a member."""

    id: UUID
    email: str
    role: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Invited:
    """The address of an invitation, and the account it has, if any."""

    email: str
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class Joined:
    """Who became a member of what."""

    user_id: UUID
    project_id: UUID


@dataclass(frozen=True, slots=True)
class _Done:
    done: bool


async def start_session(connection: AsyncConnection, user_id: UUID, client: str, token_hash: bytes) -> UUID:
    """Begin a session; returns its id."""
    row = await (
        await connection.execute("select zmesh.start_session(%s, %s, %s)", (user_id, client, token_hash))
    ).fetchone()
    assert row is not None
    return UUID(str(row[0]))


async def user_of_refresh_token(connection: AsyncConnection, token_hash: bytes) -> UUID | None:
    """Whose session a refresh token is of, used ones and ended ones included."""
    cursor = await connection.execute(
        "select s.user_id from zmesh.refresh_tokens t join zmesh.sessions s on s.id = t.session_id where t.hash = %s",
        (token_hash,),
    )
    row = await cursor.fetchone()
    return None if row is None else UUID(str(row[0]))


async def refresh_session(connection: AsyncConnection, token_hash: bytes, new_hash: bytes) -> Refreshed:
    """Exchange a refresh token for the next one."""
    query = "select * from zmesh.refresh_session(%s, %s)"
    found = await fetch_one(connection, Refreshed, query, (token_hash, new_hash))
    assert found is not None
    return found


async def end_session(connection: AsyncConnection, token_hash: bytes) -> None:
    """End the session of a refresh token, if there is one."""
    await connection.execute("select zmesh.end_session(%s)", (token_hash,))


async def set_password(connection: AsyncConnection, user_id: UUID, password_hash: str) -> None:
    """Change a password and end every session of the person."""
    await connection.execute("select zmesh.set_password(%s, %s)", (user_id, password_hash))


async def list_members(connection: AsyncConnection, project_id: UUID, after: str, limit: int) -> list[Member]:
    """The members after this address, in the order of their addresses."""
    return await fetch_all(
        connection,
        Member,
        """
        select u.id as user_id, u.email, m.role
          from zmesh.memberships m join zmesh.users u on u.id = m.user_id
         where m.project_id = %s and lower(u.email) > %s
         order by lower(u.email) limit %s
        """,
        (project_id, after, limit),
    )


async def find_member(connection: AsyncConnection, project_id: UUID, user_id: UUID) -> Member | None:
    """The member with this id."""
    return await fetch_one(
        connection,
        Member,
        """
        select u.id as user_id, u.email, m.role
          from zmesh.memberships m join zmesh.users u on u.id = m.user_id
         where m.project_id = %s and m.user_id = %s
        """,
        (project_id, user_id),
    )


async def change_member(connection: AsyncConnection, project_id: UUID, user_id: UUID, role: str) -> bool:
    """Give a member another role; False where there is no such member. Raises Conflict for the last owner."""
    return await _done(connection, "zmesh.change_member(%s, %s, %s)", (project_id, user_id, role))


async def remove_member(connection: AsyncConnection, project_id: UUID, user_id: UUID) -> bool:
    """Remove a member; False where there is no such member. Raises Conflict for the last owner."""
    return await _done(connection, "zmesh.remove_member(%s, %s)", (project_id, user_id))


async def list_invitations(connection: AsyncConnection, project_id: UUID, after: str, limit: int) -> list[Invitation]:
    """The invitations after this address that are good, in the order of their addresses."""
    return await fetch_all(
        connection,
        Invitation,
        """
        select id, email, role, created_at, expires_at from zmesh.invitations
         where project_id = %s and lower(email) > %s and expires_at > zmesh.now()
         order by lower(email) limit %s
        """,
        (project_id, after, limit),
    )


async def invite(
    connection: AsyncConnection, project_id: UUID, email: str, role: str, token_hash: bytes, by: UUID
) -> Invitation:
    """Invite an address, in place of an invitation before. Raises Conflict for a member."""
    invitation = await fetch_one(
        connection,
        Invitation,
        "select id, email, role, created_at, expires_at from zmesh.invite(%s, %s, %s, %s, %s)",
        (project_id, email, role, token_hash, by),
    )
    assert invitation is not None
    return invitation


async def withdraw_invitation(connection: AsyncConnection, project_id: UUID, id: UUID) -> bool:
    """Delete an invitation; False where there is none."""
    return await _done(connection, "zmesh.withdraw_invitation(%s, %s)", (project_id, id))


async def find_invited(connection: AsyncConnection, token_hash: bytes) -> Invited | None:
    """Whom an invitation is for, while it is good."""
    return await fetch_one(
        connection,
        Invited,
        """
        select i.email, u.id as user_id
          from zmesh.invitations i left join zmesh.users u on lower(u.email) = lower(i.email)
         where i.hash = %s and i.expires_at > zmesh.now()
        """,
        (token_hash,),
    )


async def accept_invitation(
    connection: AsyncConnection, token_hash: bytes, user_id: UUID | None, password_hash: str | None
) -> Joined:
    """Make an account, or with None a new one, a member. Raises NotFound, and Conflict for a new one that is not."""
    joined = await fetch_one(
        connection,
        Joined,
        "select user_id, project_id from zmesh.accept_invitation(%s, %s, %s)",
        (token_hash, user_id, password_hash),
    )
    assert joined is not None
    return joined


async def _done(connection: AsyncConnection, call: str, values: tuple[object, ...]) -> bool:
    done = await fetch_one(connection, _Done, f"select {call} as done", values)
    return done is not None and done.done
