"""SQL as the project's role: a tool that reads and cannot write, and one that writes what was planned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, LiteralString, cast

from pydantic import Field

from cli.agents.bounding import bounded_answers, bounded_sign_in
from cli.agents.plans import Settling
from cli.agents.running import Confirm
from cli.client import Client
from cli.database.connecting import project_database
from cli.database.errors import sql_error
from cli.database.results import as_json, column_keys, read_as_text

if TYPE_CHECKING:
    import psycopg

Data = Mapping[str, Any]
MOST_ROWS = 500
TIMEOUT_MS = 30_000
LOCK_TIMEOUT_MS = 5_000

Statement = Annotated[str, Field(min_length=1, max_length=100_000, description="One SQL statement.")]


class Querier:
    """What an agent may ask of the project's database, and change there. Several statements in one are refused."""

    def __init__(self, client: Client, plans: Settling, database_url: str | None) -> None:
        self._client = client
        self._plans = plans
        self._database_url = database_url

    def query_database(self, statement: Statement) -> Data:
        """Run one SQL statement in a read-only transaction of the project's database, as the project's role.

        At most 500 rows and 2 MiB, in at most 30 seconds. information_schema.columns lists the tables; the view
        zmesh.invocations has the project's invocations.
        """
        # It has run a query before the statement: then PostgreSQL lets nothing make it writable.
        with self._transaction("read only", statement) as connection:
            cursor = connection.cursor()
            # Row by row, so that a large table does not fill the memory; by the extended protocol.
            with closing(cast(Any, cursor.stream(statement.encode()))) as stream:
                found = _answer(cursor, list(islice(stream, MOST_ROWS + 1)))
                if "rows_left_out" in found:
                    connection.close()  # rather than wait for the rest
            return found

    def change_database(self, statement: Statement, confirm: Confirm = "") -> Data:
        """Run one SQL statement that writes, in the project's database, as the project's role.

        The first call runs it and rolls it back, and answers with how many rows it would change. The second one, with
        confirm, commits it, if it is as many rows then.
        """
        with self._transaction("read write", statement) as connection:
            cursor = connection.execute(statement.encode(), prepare=True)  # by the extended protocol
            found = {"result": cursor.statusmessage}
            if cursor.description:
                found |= _answer(cursor, cursor.fetchmany(MOST_ROWS + 1))
            change = {"statement": statement, "result": cursor.statusmessage}

            def commit() -> Data:
                connection.execute("commit")
                return {"action": "committed", **found}

            return self._plans.settle("change the database", change, {"statement": statement, **found}, confirm, commit)

    @contextmanager
    def _transaction(self, mode: LiteralString, statement: str) -> Iterator[psycopg.Connection]:
        """A transaction for a statement, rolled back where it was not committed. Raises CliError."""
        import psycopg

        with (
            project_database(self._client, self._database_url, connect=bounded_sign_in) as connection,
            bounded_answers(connection),
        ):
            read_as_text(connection)
            try:
                connection.execute(f"begin transaction {mode}")
                connection.execute(
                    "select set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
                    [str(TIMEOUT_MS), str(LOCK_TIMEOUT_MS)],
                )
                yield connection
                if not connection.closed:
                    connection.execute("rollback")
            except psycopg.Error as error:
                raise sql_error(error, statement) from error


def _answer(cursor: psycopg.Cursor, rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    left_out = {"rows_left_out": f"Only the first {MOST_ROWS} are here."} if len(rows) > MOST_ROWS else {}
    columns = column_keys([column.name for column in cursor.description or []])
    return {"columns": columns, "rows": [[as_json(value) for value in row] for row in rows[:MOST_ROWS]], **left_out}
