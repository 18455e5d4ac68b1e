"""The project's own database, as the project's role: what `zmesh sql`, `types` and `migrations` connect to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click import get_current_context
from click.core import ParameterSource

from cli.client import ApiError, Client
from cli.errors import CliError

if TYPE_CHECKING:
    import psycopg

Command = TypeVar("Command", bound=Callable[..., Any])
OPTIONS: Mapping[str, Any] = {"connect_timeout": 10, "client_encoding": "utf8", "application_name": "zmesh"}
ELSEWHERE = ("in_project", "profile", "url")  # options that name another project than the environment's


def database_option(command: Command) -> Command:
    """Adds --database-url to a command; its value arrives as `database_url`."""
    return click.option(
        "--database-url",
        envvar="ZMESH_DATABASE_URL",
        callback=lambda context, _option, given: given if _applies(context) else None,
        help="Connection string of the project's role; safer as ZMESH_DATABASE_URL. Default: from the API.",
    )(command)


def _applies(context: click.Context) -> bool:
    """The variable that `zmesh env` set is of the usual project, and says nothing about one that options name."""
    if get_current_context().get_parameter_source("database_url") is ParameterSource.COMMANDLINE:
        return True
    return not any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ELSEWHERE)


@contextmanager
def project_database(
    client: Client,
    database_url: str | None,
    *,
    read_only: bool = False,
    connect: Callable[[str], psycopg.Connection] | None = None,
) -> Iterator[psycopg.Connection]:
    """A connection on which each statement commits by itself; made by `connect`, or by psycopg. Raises CliError."""
    import psycopg

    from cli.database.errors import sql_error

    try:
        connection = (connect or connected)(database_url or url_of_database(client))
        connection.autocommit = True
    except psycopg.Error as error:
        raise CliError(
            f"Cannot connect to the project's database: {str(error).splitlines()[0].rstrip('.')}.",
            code="database_unreachable",
            hint="If the server has another address from here, set ZMESH_DATABASE_URL.",
        ) from error
    with connection:
        try:
            if read_only:
                connection.execute("set session characteristics as transaction read only")
            yield connection
        except psycopg.Error as error:
            raise sql_error(error, "") from error


def connected(url: str) -> psycopg.Connection:
    """A new connection. Raises psycopg.Error."""
    import psycopg

    from sql.connecting import with_required_auth

    return psycopg.connect(with_required_auth(url), **OPTIONS)


def url_of_database(client: Client) -> str:
    """The connection string of the project's role. Raises CliError."""
    if client.project is None and client.connection.database_url:
        return client.connection.database_url
    try:
        found = client.call("GET", f"/projects/{client.project_id()}/database").body
    except ApiError as error:
        if error.code != "forbidden":
            raise
        raise CliError(
            "Only owners of the project may ask for its connection string.",
            code="database_unknown",
            hint="Ask an owner for ZMESH_DATABASE_URL.",
        ) from error
    return str(found["database_url"])
