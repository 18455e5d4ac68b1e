"""What `zmesh dev` has done by a process of its own: the libraries that this takes are large, and end with it.

The order comes as JSON on standard input, the answer goes to standard output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
from psycopg import sql

from api.auth.tokens import Identity, Tokens
from cli.errors import CliError
from cli.output import progress, style
from cli.platform.bootstrap import bootstrap
from cli.platform.home import Home
from sql.accounts import role_url
from sql.connecting import with_required_auth
from sql.errors import DomainError
from sql.migrate import MigrationError, migrate
from support.sealing import Sealer, SealingError

DATABASE = "zmesh"
PROJECT = "default"
Answer = dict[str, str]


def prepare_database(admin_url: str, own_server: bool, home: str, token_seconds: float) -> Answer:
    """Migrate, and ensure secrets, first project and administrator; on our own server, the database as well.

    Raises CliError.
    """
    secrets = Home(Path(home)).secrets()
    with _explain_failures():
        if own_server:
            admin_url = _database_on(admin_url)
        passwords = {"zmesh_api": secrets.api_password, "zmesh_listener": secrets.listener_password}
        progress(style(f"    Database: {migrate(admin_url, passwords=passwords)}", dim=True))
        created = bootstrap(
            admin_url,
            Sealer(secrets.secret_key),
            project_name=PROJECT,
            admin_email=secrets.admin_email,
            admin_password=secrets.admin_password,
            api_key=secrets.api_key,
        )
    whom = {"user_id": str(created.user_id), "project_id": str(created.project.id)}
    return {
        **whom,
        **issue_token(home, **whom, seconds=token_seconds),
        "database_url": created.database_url,
        "api_url": role_url(admin_url, "zmesh_api", secrets.api_password),
        "listener_url": role_url(admin_url, "zmesh_listener", secrets.listener_password),
    }


def _database_on(server_url: str) -> str:
    with psycopg.connect(with_required_auth(server_url), autocommit=True) as connection:
        if connection.execute("select from pg_database where datname = %s", (DATABASE,)).fetchone() is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
    return server_url.rpartition("/")[0] + f"/{DATABASE}"


@contextmanager
def _explain_failures() -> Iterator[None]:
    try:
        yield
    except SealingError as error:
        raise CliError(
            f"The project in this database was created by another installation: {error}.",
            code="foreign_database",
            hint="Use the --home it was created with, or another database.",
        ) from error
    except (psycopg.Error, MigrationError, DomainError) as error:
        raise CliError(f"The database cannot be prepared: {str(error).strip()}", code="database_failed") from error


def issue_token(home: str, user_id: str, project_id: str, seconds: float) -> Answer:
    """A token of the administrator."""
    tokens = Tokens(Home(Path(home)).secrets().jwt_secret_key)
    token, _ = tokens.issue(Identity(UUID(user_id), UUID(project_id)), timedelta(seconds=seconds))
    return {"token": token}


ACTIONS: Mapping[str, Callable[..., Answer]] = {action.__name__: action for action in (prepare_database, issue_token)}


def main() -> None:
    """Carry out one order."""
    action, arguments = json.load(sys.stdin)
    try:
        said: tuple[str, Answer] = ("done", ACTIONS[action](**arguments))
    except CliError as error:
        said = ("failed", {"message": error.message, "code": error.code, "hint": error.hint})
    json.dump(said, sys.stdout)
