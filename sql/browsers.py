"""Browsers that are signed in to the console, and the links that sign them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one, fetch_value


@dataclass(frozen=True, slots=True)
class BrowserCaller:
    """Whose cookie it is, and their role in the project they name. No user: the session has ended."""

    user_id: UUID | None
    project_id: UUID | None
    role: str | None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person whose browser is signed in, and until when."""

    user_id: UUID
    email: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Opened:
    user_id: UUID
    expires_at: datetime


_LIVE = """zmesh.browser_sessions b join zmesh.sessions s on s.id = b.session_id
         where b.hash = {hash} and b.expires_at > zmesh.now() and s.ended_at is null and s.expires_at > zmesh.now()"""


async def callers(connection: AsyncConnection, wanted: Sequence[tuple[bytes, str | None]]) -> list[BrowserCaller]:
    """The person of each cookie's hash with a project, by id or slug, or None for their oldest; in this order."""
    live = _LIVE.format(hash="w.hash")
    return await fetch_all(
        connection,
        BrowserCaller,
        f"""
        select u.user_id, p.id as project_id, p.role
          from unnest(%s::bytea[], %s::text[]) with ordinality as w (hash, project, n)
          left join lateral (select s.user_id from {live}) u on true
          left join lateral (
              select p.id, m.role from zmesh.memberships m join zmesh.projects p on p.id = m.project_id
               where m.user_id = u.user_id and (w.project is null or p.slug = w.project or p.id::text = w.project)
               order by p.created_at, p.id limit 1) p on true
         order by w.n
        """,
        ([hash for hash, _ in wanted], [project for _, project in wanted]),
    )


async def find_signed_in(connection: AsyncConnection, hash: bytes) -> SignedIn | None:
    """The person of a cookie, given as its SHA-256."""
    return await fetch_one(
        connection,
        SignedIn,
        f"""
        select u.id as user_id, u.email, b.expires_at
          from zmesh.users u, lateral (select s.user_id, b.expires_at from {_LIVE.format(hash="%s")}) b
         where u.id = b.user_id
        """,
        (hash,),
    )


async def start_session(connection: AsyncConnection, user_id: UUID, client: str, hash: bytes) -> datetime:
    """Sign a browser in; returns when its cookie expires."""
    values = (user_id, client, hash)
    expires_at: datetime = await fetch_value(connection, "select zmesh.start_browser_session(%s, %s, %s)", values)
    return expires_at


async def end_session(connection: AsyncConnection, hash: bytes) -> None:
    """Sign a browser out."""
    await connection.execute("select zmesh.end_browser_session(%s)", (hash,))


async def create_link(connection: AsyncConnection, user_id: UUID, session_id: UUID | None, hash: bytes) -> datetime:
    """Store a sign-in link by the SHA-256 of its token; returns when it expires."""
    values = (user_id, session_id, hash)
    expires_at: datetime = await fetch_value(connection, "select zmesh.create_sign_in_link(%s, %s, %s)", values)
    return expires_at


async def use_link(connection: AsyncConnection, hash: bytes, client: str, cookie_hash: bytes) -> UUID | None:
    """Sign a browser in by a link; the person, or None where the link does not work."""
    query = "select user_id, expires_at from zmesh.use_sign_in_link(%s, %s, %s)"
    opened = await fetch_one(connection, _Opened, query, (hash, client, cookie_hash))
    return None if opened is None else opened.user_id
