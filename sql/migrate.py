"""Brings a database to this version: a new one gets sql/schema/, an existing one the migrations that it lacks; both get
the routines whose text changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import metadata, resources
from importlib.resources.abc import Traversable

import psycopg

from sql.connecting import with_required_auth
from sql.server import complete_server, prepare_server

OLDEST_SERVER = 150000
FIRST_SCHEMA = "schema/0.1.0"  # what migrations start from; recorded in zmesh.migrations as they are
DEVELOPMENT_MIGRATIONS = frozenset(
    f"migrations/{name}.sql"
    for name in (
        "0001_foundation",
        "0002_triggers",
        "0003_waiters",
        "0004_schedule_runs",
        "0004_schedules_that_fail",
        "0005_calls",
        "0005_outgoing",
        "0005_webhooks",
        "0006_tenancy",
        "0007_configuration",
        "0008_http",
        "0013_horizons",
        "0014_bounded_schedules",
        "0017_loop_watch",
        "0018_caller_policy",
        "0019_database_administration",
        "0020_changes",
    )
)  # of before 0.1.0; together they make the schema of 0.1.0


class MigrationError(Exception):
    """The database cannot be brought to this version; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Script:
    """One SQL file of the package; `checksum` is the SHA-256 of its text."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration did: whether it created the schema, which migrations it applied, whether routines changed."""

    created: bool
    migrations: list[str]
    routines_changed: bool

    def __str__(self) -> str:
        count = len(self.migrations)
        if self.created:
            done = "created"
        elif count:
            done = f"{count} migration{'s' * (count > 1)} applied"
        else:
            done = "routines renewed" if self.routines_changed else "up to date"
        return f"schema {metadata.version('zmesh-functions')}, {done}"


def scripts(folder: str) -> list[Script]:
    """The SQL files of `sql/<folder>/` in the order of their names."""
    files: list[Traversable] = [f for f in (resources.files("sql") / folder).iterdir() if f.name.endswith(".sql")]
    return [Script(f"{folder}/{f.name}", f.read_text("utf-8")) for f in sorted(files, key=lambda f: f.name)]


def migrate(admin_url: str, *, passwords: dict[str, str] | None = None) -> Migrated:
    """Create the schema or apply what it lacks, in one transaction.

    `admin_url` needs a role that may create roles and schemas in the database. `passwords` sets the
    passwords of the login roles (zmesh_api, zmesh_listener) it names. Raises MigrationError.
    """
    with psycopg.connect(with_required_auth(admin_url), application_name="zmesh migrate") as connection:
        if connection.info.server_version < OLDEST_SERVER:
            raise MigrationError(
                f"PostgreSQL {connection.info.server_version // 10000} is too old: zMesh needs 15 or newer."
            )
        prepare_server(connection, passwords or {})
        migrated = _apply(connection)
        complete_server(connection)
        # As the caller, not as the owner of the schema: only the caller may schedule for another role.
        connection.execute("select zmesh.use_pg_cron()")
        connection.execute("select zmesh.renew_changes()")
    return migrated


def _apply(connection: psycopg.Connection) -> Migrated:
    connection.execute("set local role zmesh_owner")
    connection.execute(
        "create table if not exists zmesh.migrations (name text primary key, checksum text not null,"
        " applied_at timestamptz not null default now())"
    )
    connection.execute("comment on table zmesh.migrations is 'SQL files this database has had, and their SHA-256.'")
    # Two migrations at once: the second waits here, then finds nothing to do.
    connection.execute("lock table zmesh.migrations in exclusive mode")
    known: dict[str, str] = dict(connection.execute("select name, checksum from zmesh.migrations").fetchall())
    if known:
        applied = _apply_migrations(connection, _from_first_schema(connection, known))
    else:
        _create(connection)
        applied = []
    # A table that has changed may be the type of a routine's arguments or result.
    migrated = Migrated(not known, applied, _apply_routines(connection, {} if applied else known))
    connection.execute("reset role")
    return migrated


def _create(connection: psycopg.Connection) -> None:
    """A new database. Migrations are how others came to the same schema: it counts as having had them."""
    schema = scripts("schema")
    for script in schema:
        _run(connection, script)
    _record(connection, Script(FIRST_SCHEMA, "".join(script.text for script in schema)))
    for migration in scripts("migrations"):
        _record(connection, migration)


def _from_first_schema(connection: psycopg.Connection, known: dict[str, str]) -> dict[str, str]:
    """What a database has had since the first schema. One of before counts as that, if it had all that came before."""
    if FIRST_SCHEMA in known:
        return known
    missing = DEVELOPMENT_MIGRATIONS - known.keys()
    if missing:
        raise MigrationError(
            f"A development version of before 0.1.0 made this database, and it lacks {', '.join(sorted(missing))}. "
            "Bring it to the last of those versions first, by its zmesh migrate; or start with a new database."
        )
    connection.execute("delete from zmesh.migrations where name = any (%s)", (list(DEVELOPMENT_MIGRATIONS),))
    _record(connection, Script(FIRST_SCHEMA, ""))
    return {name: checksum for name, checksum in known.items() if name not in DEVELOPMENT_MIGRATIONS}


def _apply_migrations(connection: psycopg.Connection, known: dict[str, str]) -> list[str]:
    ours = scripts("migrations")
    unknown = {name for name in known if name.startswith("migrations/")} - {s.name for s in ours}
    if unknown:
        raise MigrationError(
            f"This database has migrations this version does not know ({', '.join(sorted(unknown))}): "
            "it was migrated by a newer zMesh. Install that version or newer."
        )
    changed = [s.name for s in ours if known.get(s.name, s.checksum) != s.checksum]
    if changed:
        raise MigrationError(
            f"{', '.join(changed)} was changed after this database had it. "
            "Restore the file, or start with a new database."
        )
    missing = [s for s in ours if s.name not in known]
    for script in missing:
        _run(connection, script)
        _record(connection, script)
    return [s.name for s in missing]


def _apply_routines(connection: psycopg.Connection, known: dict[str, str]) -> bool:
    routines = scripts("routines")
    if all(known.get(s.name) == s.checksum for s in routines):
        return False
    for script in routines:  # all of them: the first one takes the rights on every function back
        _run(connection, script)
        _record(connection, script)
    connection.execute(
        "delete from zmesh.migrations where name like 'routines/%%' and name <> all (%s)",
        ([script.name for script in routines],),
    )
    connection.execute("select zmesh.make_periods()")
    connection.execute("select zmesh_roles.renew_roles()")
    return True


def _run(connection: psycopg.Connection, script: Script) -> None:
    try:
        connection.execute(script.text.encode())
    except psycopg.Error as error:
        raise MigrationError(f"{script.name} failed: {error}") from error


def _record(connection: psycopg.Connection, script: Script) -> None:
    connection.execute(
        "insert into zmesh.migrations (name, checksum) values (%s, %s)"
        " on conflict (name) do update set checksum = excluded.checksum, applied_at = now()",
        (script.name, script.checksum),
    )
