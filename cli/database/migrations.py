"""`zmesh migrations`: SQL files that make the project's own schema, applied once each and in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.client import Client
from cli.connecting import connected
from cli.database.connecting import database_option, project_database
from cli.errors import CliError
from cli.groups import Group
from cli.manifest import check_inside
from cli.output import local_time, output_option, print_json, print_table, progress
from support.project_migrations import NAME, Applied, Migration, MigrationsDiverged, in_order, pending, states

if TYPE_CHECKING:
    import psycopg

FOLDER = Path("migrations")


@click.group(cls=Group)
def migrations() -> None:
    """Apply the files of migrations/ to the project's schema.

    Each file is applied once, in the order of the numbers with which their names begin, and never changed afterwards.
    """


@migrations.command("new")
@click.argument("name")
def new(name: str) -> None:
    """Create the next file, such as migrations/0002_add_orders.sql."""
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60]
    if not words:
        raise CliError(
            f'"{name}" has no letters or digits.', code="bad_migration", hint="Describe the change, such as: add orders"
        )
    last = max((in_order(file.name)[0] for file in _files(FOLDER)), default=0)
    path = FOLDER / f"{last + 1:04}_{words}.sql"
    try:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(f"-- {name.strip().splitlines()[0]}\n", "utf-8")
    except OSError as error:
        raise CliError(f"Cannot write {path}: {error.strerror}.", code="unreadable_file") from error
    click.echo(path)


@migrations.command("status")
@database_option
@output_option
@connected
def status(client: Client, database_url: str | None, output: str) -> None:
    """Show which migrations were applied, and which are pending."""
    files = read_migrations(FOLDER)
    with project_database(client, database_url, read_only=True) as connection:
        applied = _applied(connection)
    times = {one.name: one.applied_at.isoformat() for one in applied}
    found = [
        {"name": name, "state": state, "applied_at": times.get(name)} for name, state in states(files, applied).items()
    ]
    if output == "json":
        print_json(found)
        return
    rows = [
        [
            str(one["name"]),
            str(one["state"]).replace("_", " "),
            local_time(one["applied_at"]) if one["applied_at"] else "",
        ]
        for one in found
    ]
    print_table(("migration", "state", "applied"), rows, "No migrations yet. Create one: zmesh migrations new NAME")


@migrations.command("apply")
@database_option
@output_option
@connected
def apply(client: Client, database_url: str | None, output: str) -> None:
    """Apply the pending migrations, all or none.

    A migration whose first line is -- zmesh: no transaction is applied by itself, for statements such as create index
    concurrently: what comes before it is committed first.
    """
    files = read_migrations(FOLDER)
    done: list[str] = []
    with project_database(client, database_url) as connection:
        try:
            while batch := apply_batch(connection, files):
                done += batch
        except CliError as error:
            if not done:
                raise
            message = f"{error.message} (Applied before: {', '.join(done)}.)"
            raise CliError(message, code=error.code, hint=error.hint, place=error.place) from error
    if output == "json":
        print_json([{"name": name, "action": "applied"} for name in done])
        return
    for name in done:
        click.echo(f"applied {name}")
    if not done:
        progress("Nothing to apply.")


def read_migrations(folder: Path) -> list[Migration]:
    """The files of a project's folder, which need not exist. Raises CliError."""
    files = _files(folder)
    for file in files:
        check_inside(folder.parent, file)
    return [_read(file) for file in files]


def _files(folder: Path) -> list[Path]:
    found = sorted((file for file in folder.glob("*.sql") if file.is_file()), key=lambda file: in_order(file.name))
    for file in found:
        if not NAME.fullmatch(file.name):
            raise CliError(
                f"{file} is not a name of a migration.",
                code="bad_migration",
                hint="It begins with a number: 0001_create_orders.sql.",
            )
    return found


def _read(file: Path) -> Migration:
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{file} cannot be read: {error}", code="unreadable_file") from error
    if "\0" in text:
        raise CliError(
            f"{file} has a NUL character.", code="bad_migration", hint="Remove it: PostgreSQL cannot store it in text."
        )
    return Migration(file.name, text)


def _applied(connection: psycopg.Connection) -> list[Applied]:
    rows = connection.execute("select name, checksum, applied_at from zmesh.applied_migrations()").fetchall()
    return [Applied(*row) for row in rows]


def apply_batch(connection: psycopg.Connection, files: list[Migration]) -> list[str]:
    """Apply what one transaction can: pending migrations up to the next that must be outside of one, or that one.
    Returns their names. Raises CliError."""
    done: list[str] = []
    with connection.transaction():
        connection.execute("select zmesh.lock_migrations()")
        batch = _pending(files, _applied(connection))
        for migration in batch:
            if not migration.in_transaction:
                break
            _run(connection, migration, "select zmesh.apply_migration(%s, %s)", (migration.name, migration.sql))
            done.append(migration.name)
    if done or not batch:
        return done
    _run(connection, batch[0], batch[0].sql.encode())
    _run(connection, batch[0], "select zmesh.record_migration(%s, %s)", (batch[0].name, batch[0].sql))
    return [batch[0].name]


def _pending(files: list[Migration], applied: list[Applied]) -> list[Migration]:
    try:
        return pending(files, applied)
    except MigrationsDiverged as error:
        raise CliError(error.message, code=error.code, hint=error.hint) from error


def _run(
    connection: psycopg.Connection, migration: Migration, query: Any, values: tuple[str, ...] | None = None
) -> None:
    import psycopg

    from cli.database.errors import sql_error

    try:
        connection.execute(query, values)
    except psycopg.Error as error:
        raise sql_error(error, migration.sql, str(FOLDER / migration.name)) from error
