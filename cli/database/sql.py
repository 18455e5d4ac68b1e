"""`zmesh sql`: statements as the project's role, given, piped in or typed at a prompt."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from cli.client import Client
from cli.config import private_file
from cli.connecting import connected
from cli.database.connecting import database_option, project_database
from cli.database.errors import sql_error
from cli.database.statements import split
from cli.errors import CliError
from cli.output import output_option, progress, style

if TYPE_CHECKING:
    import psycopg
    from psycopg.errors import Diagnostic

HISTORY = "sql_history"
HISTORY_LENGTH = 1000
END = ("\\q", "exit", "quit")


@click.command()
@click.argument("statement", required=False)
@click.option("--read-only", is_flag=True, help="Refuse statements that write.")
@database_option
@output_option
@connected
def sql(client: Client, statement: str | None, read_only: bool, database_url: str | None, output: str) -> None:
    """Run SQL in the project's database, as its functions do: zmesh sql "select * from orders".

    Several statements are one transaction. Without a statement, standard input is read; on a terminal, that is a
    prompt, where each statement ends with a semicolon and Ctrl-D ends the session.
    """
    with project_database(client, database_url, read_only=read_only) as connection:
        session = Session(connection, output)
        if statement is not None:
            session.run(statement)
        elif sys.stdin.isatty():
            with _history():
                session.prompt(input)
        else:
            session.run(sys.stdin.read().removeprefix("\ufeff"))


class Session:
    """Statements that are run one after the other, with their results and notices printed."""

    def __init__(self, connection: psycopg.Connection, output: str) -> None:
        from cli.database.results import read_as_text

        self._connection = connection
        self._output = output
        read_as_text(connection)
        connection.add_notice_handler(_print_notice)

    def run(self, text: str) -> None:
        """Raises CliError for an error of PostgreSQL, or a text that cannot be sent to it."""
        import psycopg

        from cli.database.results import results, show

        statement = _encoded(text)
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement)
                for result in results(cursor):
                    show(result, self._output)
        except psycopg.Error as error:
            raise sql_error(error, text) from error

    def prompt(self, read: Callable[[str], str]) -> None:
        """Run what is typed until it ends. An error ends only its statement. Raises CliError once the connection is
        lost."""
        progress(style(f"{self._connection.info.dbname} as {self._connection.info.user}; \\q ends.", dim=True))
        text = ""
        while True:
            try:
                line = read(self._mark(text))
                if not text and line.strip().rstrip(";").lower() in END:
                    return
                statements, text = split(f"{text}{line}\n")
                for statement in statements:
                    self._try(statement)
            except KeyboardInterrupt:
                text = ""
                progress()
            except EOFError:
                progress()
                return

    def _mark(self, text: str) -> str:
        """What psql has: * inside a transaction, ! in one that has failed, - inside a statement."""
        status = {"INTRANS": "*", "INERROR": "!"}.get(self._connection.info.transaction_status.name, "")
        return f"{self._connection.info.dbname}{status}{'-' if text else '='}> "

    def _try(self, statement: str) -> None:
        try:
            self.run(statement)
        except CliError as error:
            if self._connection.closed:
                raise
            error.show()


def _encoded(text: str) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:  # bytes of an argument or a file that were not UTF-8
        encoded = b"\0"
    if b"\0" in encoded:  # the driver would send only what is before it
        raise CliError("The SQL is not UTF-8 text without NUL characters.", code="malformed_text")
    return encoded


def _print_notice(diagnosis: Diagnostic) -> None:
    progress(f"{diagnosis.severity}: {diagnosis.message_primary}")


class _history:
    """Lines of earlier prompts, with the arrow keys, where Python has readline."""

    def __enter__(self) -> None:
        with suppress(ImportError, OSError):
            import readline

            readline.set_history_length(HISTORY_LENGTH)
            readline.read_history_file(private_file(HISTORY))

    def __exit__(self, *_: object) -> None:
        with suppress(ImportError, OSError):
            import readline

            readline.write_history_file(private_file(HISTORY))
