"""Projects, as their people manage them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from sql.accounts import NewProject
from sql.rows import fetch_all, fetch_one

COLUMNS = "p.id, p.name, p.slug, p.schema_name, p.role_name, p.network, p.allow_scripts, p.created_at, m.role"
OBJECTS_AT_ONCE = 200  # each may take several places in the server's table of locks
OF_MEMBER = "zmesh.projects p join zmesh.memberships m on m.project_id = p.id and m.user_id = %(user_id)s"


@dataclass(frozen=True, slots=True)
class Project:
    """A project as one of its members sees it; `role` is the member's."""

    id: UUID
    name: str
    slug: str
    schema_name: str
    role_name: str
    network: str
    allow_scripts: list[str]
    created_at: datetime
    role: str


async def list_projects(connection: AsyncConnection, user_id: UUID, after: str, limit: int) -> list[Project]:
    """The projects of a person after this slug, in the order of their slugs."""
    return await fetch_all(
        connection,
        Project,
        f"select {COLUMNS} from {OF_MEMBER} where p.slug > %(after)s order by p.slug limit %(limit)s",
        {"user_id": user_id, "after": after, "limit": limit},
    )


async def find_project(connection: AsyncConnection, user_id: UUID, id: UUID) -> Project | None:
    """The project with this id, if the person belongs to it."""
    return await fetch_one(
        connection,
        Project,
        f"select {COLUMNS} from {OF_MEMBER} where p.id = %(id)s",
        {"user_id": user_id, "id": id},
    )


async def create_project(connection: AsyncConnection, new: NewProject, owner: UUID) -> UUID:
    """Create a project with its owner; returns its id. Raises Conflict where the slug is taken."""
    cursor = await connection.execute(
        "select id from zmesh.create_project(%s, %s, %s, %s, %s, %s)",
        (new.name, new.role_name, new.schema_name, new.verifier, new.sealed_password, owner),
    )
    row = await cursor.fetchone()
    assert row is not None
    return UUID(str(row[0]))


async def rename_project(connection: AsyncConnection, id: UUID, name: str) -> None:
    """Give a project another name."""
    await connection.execute("select zmesh.rename_project(%s, %s)", (id, name))


async def set_network(connection: AsyncConnection, id: UUID, network: str) -> None:
    """Allow or forbid the runs of a project to use the network."""
    await connection.execute("select zmesh.set_project_network(%s, %s)", (id, network))


async def delete_project(connection: AsyncConnection, id: UUID) -> None:
    """Delete a project and all that belongs to it, in transactions of a bounded size; called again, it goes on."""
    await connection.execute("select zmesh.close_project(%s)", (id,))
    while await _drop_objects(connection, id):
        pass
    await connection.execute("select zmesh.delete_project(%s)", (id,))


async def _drop_objects(connection: AsyncConnection, id: UUID) -> int:
    cursor = await connection.execute("select zmesh.drop_objects(%s, %s)", (id, OBJECTS_AT_ONCE))
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
