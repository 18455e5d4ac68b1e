"""What `zmesh dev` has done by a process of its own: the libraries that this takes are large, and end with it.

The order comes as JSON on standard input, the answer goes to standard output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
from psycopg import sql

from api.tokens import Identity, Tokens
from cli.bootstrap import Bootstrapped, bootstrap
from cli.errors import CliError
from cli.home import Home, Secrets
from cli.output import progress, style
from sql.accounts import role_url
from sql.errors import DomainError
from sql.migrate import MigrationError, migrate
from sql.sealing import Sealer, SealingError

PROJECT = "default"
Answer = dict[str, str]


def create_database(server_url: str, name: str) -> Answer:
    """Make sure that it exists; its connection string."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        if connection.execute("select from pg_database where datname = %s", (name,)).fetchone() is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return {"admin_url": server_url.rpartition("/")[0] + f"/{name}"}


def prepare_database(admin_url: str, home: str) -> Answer:
    """Migrate, and make sure of secrets, first project and administrator. Raises CliError."""
    secrets = Home(Path(home)).secrets()
    made = _bootstrapped(admin_url, secrets)
    return {
        "project_id": str(made.project.id),
        "user_id": str(made.user_id),
        "database_url": made.database_url,
        "api_url": role_url(admin_url, "zmesh_api", secrets.api_password),
        "listener_url": role_url(admin_url, "zmesh_listener", secrets.listener_password),
    }


def _bootstrapped(admin_url: str, secrets: Secrets) -> Bootstrapped:
    try:
        migrate(
            admin_url,
            passwords={"zmesh_api": secrets.api_password, "zmesh_listener": secrets.listener_password},
            on_step=lambda step: progress(style(f"    {step}", dim=True)),
        )
        return bootstrap(
            admin_url,
            Sealer(secrets.secret_key),
            project_name=PROJECT,
            admin_email=secrets.admin_email,
            admin_password=secrets.admin_password,
            api_key=secrets.api_key,
        )
    except SealingError as error:
        raise CliError(
            f"The project in this database was made by another installation: {error}.",
            code="foreign_database",
            hint="Use the --home it was made with, or another database.",
        ) from error
    except (psycopg.Error, MigrationError, DomainError) as error:
        raise CliError(f"The database cannot be prepared: {str(error).strip()}", code="database_failed") from error


def issue_token(home: str, user_id: str, project_id: str, seconds: float) -> Answer:
    """A token of the administrator."""
    tokens = Tokens(Home(Path(home)).secrets().jwt_secret_key)
    token, _ = tokens.issue(Identity(UUID(user_id), UUID(project_id)), timedelta(seconds=seconds))
    return {"token": token}


ACTIONS: Mapping[str, Callable[..., Answer]] = {
    action.__name__: action for action in (create_database, prepare_database, issue_token)
}


def main() -> None:
    """Carry out one order."""
    action, arguments = json.load(sys.stdin)
    try:
        said: tuple[str, Answer] = ("done", ACTIONS[action](**arguments))
    except CliError as error:
        said = ("failed", {"message": error.message, "code": error.code, "hint": error.hint})
    json.dump(said, sys.stdout)
