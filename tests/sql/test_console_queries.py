"""What pages of the console read: by indexes, and a bounded number of rows, whatever there is."""

from __future__ import annotations

from psycopg import AsyncConnection

from bench.console import fill, queries, rows_read
from tests.databases import Database

# Their size grows with calls, functions or time.
LARGE = ("history", "queue", "logs", "statistics_by", "errors_by", "endings", "functions", "function_versions")
MOST_BY_INDEX = 5000  # 20,000 invocations, 4,000 rows of statistics by minute and 100,000 by hour are there


async def test_no_page_of_the_console_scans_a_large_table(database: Database) -> None:
    filled = fill(database, 0.001)
    found: dict[str, object] = {}
    # Tables are small here, so a scan would be as good: without it, what reads no index still scans.
    url = f"{database.api_url}?options=-c%20enable_seqscan%3Doff"
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        for name, query in queries(filled).items():
            scanned = [table for table in await rows_read(connection, query, "r") if table.startswith(LARGE)]
            by_index = sum((await rows_read(connection, query, "i")).values())
            if scanned or by_index > MOST_BY_INDEX:
                found[name] = (scanned, by_index)
    assert found == {}
