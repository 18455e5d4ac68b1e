"""Table changes as a deployment of a project creates, changes and deletes them, in a session of the project's role.

That session has a transaction of its own: conditions of table changes run the project's code, which must have neither
the platform's rights nor its locks. It is done before the platform's transaction begins, and is committed while that
one needs nothing but its own commit. See docs/decisions/0068.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from psycopg import AsyncConnection

from api.http.problems import Problem, invalid
from api.management.deploying.migrations import apply_migrations
from api.management.deploying.reconciling import Made, Outcome, Settings, reconcile
from api.management.models.deployments import Kind
from api.management.project_roles import ProjectRoles
from sql import changes
from sql.errors import NotFound
from support.project_migrations import Migration

SECONDS = 15.0  # for everything that runs the project's own code


class TableChanges:
    """Those of a project's own tables; the name of each is the table, an arrow and the function's slug."""

    kind: Kind = "change"
    field = "changes"

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._targets: dict[str, tuple[str, str]] = {}

    async def current(self) -> dict[str, Settings]:
        found = await changes.list_changes(self._connection)
        self._targets |= {_name(one.table, one.function): (one.table, one.function) for one in found}
        return {
            _name(one.table, one.function): {
                "events": sorted(one.events),
                "when": one.when,
                "columns": one.columns,
            }
            for one in found
        }

    async def named(self, table: str, function: str) -> str:
        """The name of a change, whatever way of writing the table's name was chosen. Raises Problem."""
        try:
            written = await changes.table_name(self._connection, table)
        except NotFound as error:
            raise Problem(404, "table_not_found", f"{error.message}. Nothing was deployed.", error.hint) from error
        self._targets[_name(written, function)] = (written, function)
        return _name(written, function)

    async def create(self, name: str, settings: Settings) -> Made:
        table, function = self._targets[name]
        await changes.set_change(
            self._connection, table, function, settings["events"], settings["when"], settings["columns"]
        )
        return Made()

    async def change(self, name: str, before: Settings, settings: Settings) -> Made:
        return await self.create(name, settings)

    async def delete(self, name: str) -> None:
        await changes.off_change(self._connection, *self._targets[name])


class ProjectSession:
    """The transaction of the project's role that belongs to a deployment."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.outcomes: list[Outcome] = []
        self.migrations: list[str] = []

    async def apply(
        self,
        declared: Mapping[tuple[str, str], Settings],
        *,
        prune: bool,
        migrations: Sequence[Migration] | None = None,
    ) -> None:
        """Migrations, then table changes, by table and slug of the function, which may be of tables that those create.
        Raises Problem."""
        if migrations is not None:
            self.migrations = await apply_migrations(self._connection, migrations)
        things = TableChanges(self._connection)
        named: dict[str, Settings] = {}
        for target, settings in declared.items():
            name = await things.named(*target)
            if name in named:
                raise invalid("changes", f'contains "{name}" twice')
            named[name] = settings
        self.outcomes = await reconcile(things, named, prune=prune)
        # What is deferred to the commit is run now, so that committing runs no code.
        await self._connection.execute("set constraints all immediate")

    async def commit(self) -> None:
        """The last thing but the platform's own commit."""
        await self._connection.execute("commit")


@asynccontextmanager
async def project_session(project_roles: ProjectRoles, project_id: UUID) -> AsyncIterator[ProjectSession]:
    """A session with an open transaction, which is undone unless it is committed. Raises Problem."""
    async with project_roles.connection(project_id) as connection:
        await connection.execute("begin")
        yield ProjectSession(connection)
        await connection.rollback()  # leaving the block would commit


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    """Raises Problem where the project's code takes too long."""
    try:
        async with asyncio.timeout(SECONDS):
            yield
    except TimeoutError as error:
        raise Problem(
            409,
            "too_slow",
            f"The migrations and table changes took longer than {SECONDS:g} seconds. Nothing was deployed.",
            "Apply long migrations with `zmesh migrations apply` first. Does a condition call a slow function, or "
            "does a transaction on the table not end?",
        ) from error


def _name(table: str, function: str) -> str:
    return f"{table} → {function}"
