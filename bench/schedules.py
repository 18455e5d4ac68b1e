"""How long one tick takes when many schedules come due in the same minute: `python -m bench.schedules URL [COUNT]`.

URL is a superuser's connection string; the schedules are made in a database of its own, which is dropped at the end.
"""

from __future__ import annotations

import statistics
import sys
import time
from secrets import token_hex

import psycopg
from psycopg.conninfo import make_conninfo

from sql.migrate import migrate

ROUNDS = 5
PROJECTS = 100
# All of them are due at 12:30. Where they differ, no two rows compute the same next time in the same way.
CRONS = {
    "the same expression": "'30 12 * * *'",
    "all different": "format('%s,30 %s-23 * %s-12 */%s', n % 30, n % 13, 1 + n % 2, 1 + n % 2)",
    "by the clock on the wall": "format('*/30 %s-20 * * *', n % 13)",
}
# What a tenth of them carry. Random text cannot be compressed, so that all of it is written to the log ahead.
PAYLOADS = {
    "1 MB of repetitions each": "to_jsonb(repeat('abcd', 250000))",
    "100 KB of random text each": """(select to_jsonb(string_agg(gen_random_uuid()::text, ''))
                                        from generate_series(1, 2800) g where n > 0)""",
}


def prepare(connection: psycopg.Connection, cron: str, payload: str, count: int) -> None:
    connection.execute("truncate zmesh.schedules, zmesh.schedule_runs, zmesh.queue")
    connection.execute(
        f"""
        insert into zmesh.schedules (project_id, function_id, name, cron, timezone, payload)
        select f.project_id, f.id, 'n' || n, {cron}, 'Europe/Berlin', {payload}
          from generate_series(1, {count}) n join zmesh.functions f on f.slug = 'f' || (n % {PROJECTS})
        """
    )
    connection.execute("update zmesh.schedules set next_due_at = '2026-01-05 11:30Z'")
    connection.execute("vacuum analyze zmesh.schedules")


def measure(connection: psycopg.Connection, cron: str, payload: str, count: int) -> list[float]:
    seconds = []
    for _ in range(ROUNDS):
        prepare(connection, cron, payload, count)
        started = time.perf_counter()
        fired = connection.execute("select zmesh.tick()").fetchone()
        seconds.append(time.perf_counter() - started)
        queued = connection.execute("select count(*) from zmesh.queue").fetchone()
        assert fired == queued == (count,), (fired, queued)
    return seconds


def report(connection: psycopg.Connection, what: str, cron: str, payload: str, count: int) -> None:
    seconds = measure(connection, cron, payload, count)
    print(f"{count} due, {what}: median {statistics.median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f})")


def fill(connection: psycopg.Connection) -> None:
    connection.execute(
        f"""
        with p as (insert into zmesh.projects (name, slug, role_name, schema_name)
                   select 'p' || n, 'p' || n, 'p' || n, 'p' || n from generate_series(0, {PROJECTS - 1}) n
                   returning id, slug)
        insert into zmesh.functions (project_id, name, slug, language, code)
        select id, 'f' || substr(slug, 2), 'f' || substr(slug, 2), 'python', 'x' from p
        """
    )
    connection.execute(
        "create or replace function zmesh.now() returns timestamptz language sql volatile parallel safe "
        "return timestamptz '2026-01-05 11:30:01Z'"
    )


def main() -> None:
    server, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    name = f"zmesh_bench_{token_hex(4)}"
    url = make_conninfo(server, dbname=name)
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"create database {name}")
        try:
            migrate(url)
            with psycopg.connect(url, autocommit=True) as connection:
                fill(connection)
                for what, cron in CRONS.items():
                    report(connection, what, cron, "'{}'::jsonb", count)
                for what, payload in PAYLOADS.items():
                    report(connection, what, CRONS["the same expression"], payload, count // 10)
        finally:
            admin.execute(f"drop database {name} with (force)")


if __name__ == "__main__":
    main()
