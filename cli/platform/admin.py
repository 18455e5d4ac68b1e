"""`zmesh admin`: administration of users, limits and keys, directly in the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cli.errors import CliError
from cli.groups import Group
from cli.output import progress
from cli.prompts import ask_secret

if TYPE_CHECKING:
    import psycopg

    from support.sealing import Sealer

SHORTEST_PASSWORD = 12
SAME_AS_MIGRATE = "Set it as for `zmesh migrate`."


@click.group(cls=Group)
def admin() -> None:
    """Create the first user, reset passwords, set limits and rotate keys.

    Works on the database of DATABASE_URL, as the administrator that zmesh migrate uses.
    """


@admin.command("create")
@click.argument("email")
@click.option(
    "--project", default="default", show_default=True, help="Name of the project to own; created if it does not exist."
)
def create(email: str, project: str) -> None:
    """Create a user who owns a project. Prompts for the password, or reads it from standard input."""
    from sql import accounts

    with _database() as connection:
        if accounts.find_user(connection, email) is not None:
            raise CliError(
                f"{email} already has an account.", code="user_exists", hint="See `zmesh admin reset-password`."
            )
        user_id = accounts.ensure_user(connection, email, _new_password())
        slug = accounts.slug_of(connection, project)
        found = accounts.find_project(connection, slug) or accounts.create_project(connection, _sealer(), project)
        accounts.ensure_member(connection, user_id, found.id, "owner")
    progress(f"{email} owns the project {found.slug}. Next: zmesh login")


@admin.command("reset-password")
@click.argument("email")
def reset_password(email: str) -> None:
    """Reset a user's password and end all their sessions."""
    from sql import accounts

    with _database() as connection:
        user_id = accounts.find_user(connection, email)
        if user_id is None:
            raise CliError(f"No user has the address {email}.", code="user_not_found")
        accounts.set_password(connection, user_id, _new_password())
    progress(f"{email} has a new password, and is logged out everywhere.")


@admin.command("limit-project")
@click.argument("slug")
@click.option(
    "--requests-per-second", type=click.IntRange(min=0), help="Requests per second to its public routes; 0: unlimited."
)
@click.option("--max-queued", type=click.IntRange(min=1), help="Largest number of queued invocations.")
@click.option("--max-running", type=click.IntRange(min=1), help="Largest number of running invocations.")
@click.option(
    "--max-connections",
    type=click.IntRange(min=0),
    help="Largest number of database sessions; 0: a quarter of the server's.",
)
def limit_project(
    slug: str,
    requests_per_second: int | None,
    max_queued: int | None,
    max_running: int | None,
    max_connections: int | None,
) -> None:
    """Set the limits of a project. Limits that are not given stay as they are; changes apply within a second."""
    from sql import accounts

    with _database() as connection:
        limits = accounts.limit_project(connection, slug, requests_per_second, max_queued, max_running)
        if max_connections is not None:
            accounts.limit_connections(connection, slug, max_connections)
        if limits is None:
            raise CliError(
                f"There is no project {slug}.",
                code="project_not_found",
                hint="Give its slug, as in `zmesh projects list`.",
            )
    progress(
        f"{slug}: {limits.requests_per_second or 'unlimited'} requests per second, {limits.max_queued} queued and"
        f" {limits.max_running} running invocations."
    )


@admin.command("limit-owners")
@click.argument("projects", type=click.IntRange(min=0))
def limit_owners(projects: int) -> None:
    """Set how many projects one user may own. Users who own more keep them."""
    from sql import accounts

    with _database() as connection:
        accounts.limit_owners(connection, projects)
    progress(f"A user may own {projects} projects.")


@admin.command("limit-key")
@click.argument("prefix")
@click.argument("requests_per_second", type=click.IntRange(min=0))
def limit_key(prefix: str, requests_per_second: int) -> None:
    """Limit the requests per second of an API key, named by its listed prefix; 0: unlimited."""
    from sql import accounts

    with _database() as connection:
        if not accounts.limit_key(connection, prefix, requests_per_second):
            raise CliError(f"No key begins with {prefix}.", code="key_not_found", hint="See `zmesh keys list`.")
    progress(f"{prefix}…: {requests_per_second or 'unlimited'} requests per second.")


@admin.command("rotate-key")
def rotate_key() -> None:
    """Re-encrypt every secret with the first key of ZMESH_SECRET_KEY, without downtime."""
    from sql.resealing import reseal

    sealer = _sealer()
    with _database() as connection:
        connection.autocommit = True
        count = reseal(connection, sealer)
    progress(f"Re-encrypted {count} values. Only the first key is needed now.")


@contextmanager
def _database() -> Iterator[psycopg.Connection]:
    import psycopg

    from cli.platform.database_settings import DatabaseSettings, settings_from_environment
    from sql.connecting import with_required_auth
    from sql.errors import DomainError
    from support.sealing import SealingError

    url = settings_from_environment(DatabaseSettings, SAME_AS_MIGRATE).database_url
    try:
        with psycopg.connect(with_required_auth(url), application_name="zmesh admin") as connection:
            yield connection
    except (psycopg.Error, DomainError, SealingError) as error:
        raise CliError(f"The database refused this: {str(error).strip()}", code="admin_failed") from error


def _sealer() -> Sealer:
    from cli.platform.database_settings import SealingSettings, settings_from_environment
    from support.sealing import Sealer, SealingError

    settings = settings_from_environment(SealingSettings, SAME_AS_MIGRATE)
    try:
        return Sealer(settings.secret_key)
    except SealingError as error:
        raise CliError(f"{error}.", code="not_configured") from error


def _new_password() -> str:
    password = ask_secret("New password", twice=True)
    if len(password) < SHORTEST_PASSWORD:
        raise CliError(f"The password has fewer than {SHORTEST_PASSWORD} characters.", code="password_too_short")
    return password
