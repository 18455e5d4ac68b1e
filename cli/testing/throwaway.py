"""The throw-away database that tests of functions run in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from cli.database.errors import sql_error
from cli.database.migrations import FOLDER, apply_batch, read_migrations
from cli.errors import CliError
from cli.platform.postgres import EmbeddedPostgres, PostgresError
from sql.connecting import with_required_auth
from sql.migrate import migrate
from sql.testing import prepare_for_tests

SCHEMA = "schema.sql"


@contextmanager
def throwaway_database(project: Path) -> Iterator[str]:
    """Connection string of the role of a new project, with the migrations of the folder; gone when the block ends.

    Raises CliError.
    """
    folder = Path(tempfile.mkdtemp(prefix="zmesh-test-"))
    folder.chmod(0o711)  # as root, the server's own user gets into it
    postgres = EmbeddedPostgres(folder / "postgres", durable=False)
    try:
        try:
            postgres.start()
        except PostgresError as error:
            raise CliError(str(error), code="postgres_failed") from error
        migrate(postgres.admin_url)
        url = prepare_for_tests(postgres.admin_url)
        apply_sql_of(project, url)
        yield url
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def apply_sql_of(project: Path, url: str) -> None:
    """Run the project's migrations, or else its schema.sql. Raises CliError."""
    with psycopg.connect(with_required_auth(url), autocommit=True, application_name="zmesh test") as connection:
        files = read_migrations(project / FOLDER)
        while apply_batch(connection, files):
            pass
        if not files and (project / SCHEMA).is_file():
            _run_schema(connection, project / SCHEMA)


def _run_schema(connection: psycopg.Connection, file: Path) -> None:
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{file} cannot be read: {error}", code="unreadable_file") from error
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        raise sql_error(error, text, file.name) from error
