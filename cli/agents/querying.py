"""A tool that reads the project's database, and cannot write."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field

from cli.client import Client
from cli.project_database import project_database
from cli.sql_errors import sql_error
from cli.sql_results import as_json, column_keys, read_as_text

if TYPE_CHECKING:
    import psycopg

MOST_ROWS = 500
TIMEOUT_MS = 30_000


class Querier:
    """What an agent may ask the project's database, as the project's role."""

    def __init__(self, client: Client, database_url: str | None) -> None:
        self._client = client
        self._database_url = database_url

    def query_database(
        self,
        query: Annotated[str, Field(min_length=1, max_length=100_000, description="One statement that only reads.")],
    ) -> Mapping[str, Any]:
        """Run one SQL statement in a read-only transaction of the project's database, as the project's role.

        At most 500 rows, in at most 30 seconds. information_schema.columns tells which tables there are; the view
        zmesh.invocations has the project's invocations.
        """
        import psycopg

        with project_database(self._client, self._database_url, read_only=True) as connection:
            read_as_text(connection)
            try:
                return _rows(connection, query)
            except psycopg.Error as error:
                raise sql_error(error, query) from error


def _rows(connection: psycopg.Connection, query: str) -> dict[str, Any]:
    connection.execute("begin transaction read only")
    # Once it has run a query, PostgreSQL lets no statement make a transaction writable.
    connection.execute("select set_config('statement_timeout', %s, true)", [str(TIMEOUT_MS)])
    cursor = connection.cursor()
    # Row by row, so that a large table does not fill the memory. Sent so, several statements in one text are refused.
    with closing(cast(Any, cursor.stream(query.encode()))) as stream:
        rows = list(islice(stream, MOST_ROWS + 1))
    left_out = {"rows_left_out": f"Only the first {MOST_ROWS} are here."} if len(rows) > MOST_ROWS else {}
    columns = column_keys([column.name for column in cursor.description or []])
    return {"columns": columns, "rows": [[as_json(value) for value in row] for row in rows[:MOST_ROWS]], **left_out}
