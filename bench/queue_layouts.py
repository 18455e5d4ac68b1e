"""What one job costs in each layout of the queue's tables: enqueue, claim and finish, no sandbox and no listener.

    python -m bench.queue_layouts DATABASE_URL [jobs] [rounds]

Needs an empty scratch database. Layouts take turns on the same server, so that what is printed can be compared.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass

import psycopg

BATCH = 50
COLUMNS = """
    id uuid not null, project_id uuid not null, function_id uuid not null, function text not null,
    payload jsonb not null, status text not null default 'queued', result json, error jsonb, source text,
    priority smallint not null default 0, attempt smallint not null default 0, max_attempts smallint not null default 3,
    run_at timestamptz not null default clock_timestamp(), created_at timestamptz not null default clock_timestamp(),
    started_at timestamptz, finished_at timestamptz, duration_ms integer, listener_id uuid
"""
SLIM = """
    id uuid primary key, project_id uuid not null, function_id uuid not null, priority smallint not null default 0,
    run_at timestamptz not null default clock_timestamp(), attempt smallint not null default 0, listener_id uuid
"""
NEW_ID = """encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing
    substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
    52, 1), 53, 1), 'hex')::uuid"""
JOB = f"""select {NEW_ID} as id, md5((n %% 5)::text)::uuid as project_id, md5((n %% 20)::text)::uuid as function_id,
    'send-welcome' as function, jsonb_build_object('user_id', n, 'text', repeat('x', %s::integer)) as payload
    from generate_series(1, {BATCH}) n"""
READY = "create index on {0} (project_id, priority desc, run_at) where listener_id is null"
RUNNING = "create index on {0} (listener_id) where listener_id is not null"
NEXT = """select id from {0} where listener_id is null order by project_id, priority desc, run_at limit 50
    for update skip locked"""
RESULT = "status = 'success', result = '{\"ok\": true}', finished_at = clock_timestamp(), duration_ms = 7"
MINE = "md5('listener')::uuid"


@dataclass(frozen=True)
class Layout:
    name: str
    tables: tuple[str, ...]
    enqueue: tuple[str, ...]
    claim: str
    finish: str


def layouts() -> list[Layout]:
    history = ("create index on job (function_id, id desc)", "create index on job (project_id, id desc)")
    enqueue_job = f"insert into job (id, project_id, function_id, function, payload) {JOB} returning id"
    enqueue_slim = f"""with job as (insert into job (id, project_id, function_id, function, payload) {JOB} returning *)
        insert into slim (id, project_id, function_id) select id, project_id, function_id from job"""
    claim_slim = f"""with next as materialized ({NEXT.format("slim")}), claimed as (
        update slim s set listener_id = {MINE}, attempt = attempt + 1 from next where s.id = next.id returning s.*)"""
    return [
        Layout(
            "one table, updated in place",
            (
                f"create table job ({COLUMNS}, primary key (id)) with (fillfactor = 85)",
                *history,
                "create index on job (project_id, priority desc, run_at) where status = 'queued'",
                "create index on job (listener_id) where status = 'running'",
            ),
            (enqueue_job,),
            f"""with next as materialized ({NEXT.format("job").replace("listener_id is null", "status = 'queued'")})
                update job j set status = 'running', listener_id = {MINE}, attempt = attempt + 1,
                       started_at = clock_timestamp() from next where j.id = next.id returning j.id, j.payload""",
            f"update job j set {RESULT} where id = any (%s)",
        ),
        Layout(
            "slim queue, job updated at start and end",
            (
                f"create table job ({COLUMNS}, primary key (id)) with (fillfactor = 85)",
                *history,
                f"create table slim ({SLIM})",
                READY.format("slim"),
                RUNNING.format("slim"),
            ),
            (enqueue_slim,),
            f"""{claim_slim} update job j set status = 'running', attempt = c.attempt, started_at = clock_timestamp()
                from claimed c where j.id = c.id returning j.id, j.payload""",
            f"""with gone as (delete from slim where id = any (%s) returning id)
                update job j set {RESULT} from gone where j.id = gone.id""",
        ),
        Layout(
            "slim queue, job updated at its end only",
            (
                f"create table job ({COLUMNS}, primary key (id)) with (fillfactor = 85)",
                *history,
                f"create table slim ({SLIM})",
                READY.format("slim"),
                RUNNING.format("slim"),
            ),
            (enqueue_slim,),
            f"{claim_slim} select j.id, j.payload from job j join claimed c on j.id = c.id",
            f"""with gone as (delete from slim where id = any (%s) returning id)
                update job j set {RESULT} from gone where j.id = gone.id""",
        ),
        *(
            Layout(
                f"whole row in the queue, moved to history at its end; {len(indexes)} more indexes",
                (
                    f"create table job ({COLUMNS}, primary key (id))",
                    READY.format("job"),
                    RUNNING.format("job"),
                    *indexes,
                    f"create table history ({COLUMNS}, primary key (id)) partition by range (id)",
                    *(
                        f"create table history_{n} partition of history for values from "
                        f"('{n}0000000-0000-0000-0000-000000000000') to ('{n + 1}0000000-0000-0000-0000-000000000000')"
                        for n in range(8)
                    ),
                    *(index.replace("on job", "on history") for index in history),
                ),
                (enqueue_job,),
                f"""with next as materialized ({NEXT.format("job")})
                    update job j set status = 'running', listener_id = {MINE}, attempt = attempt + 1,
                           started_at = clock_timestamp() from next where j.id = next.id returning j.id, j.payload""",
                """with gone as (delete from job where id = any (%s) returning *)
                    insert into history select id, project_id, function_id, function, payload, 'success',
                        '{"ok": true}', error, source, priority, attempt, max_attempts, run_at, created_at,
                        started_at, clock_timestamp(), 7, null from gone""",
            )
            for indexes in ((), (history[0],))
        ),
    ]


def measure(connection: psycopg.Connection, layout: Layout, jobs: int, payload: int) -> tuple[float, ...]:
    connection.execute("drop table if exists job, slim, history cascade")
    for statement in layout.tables:
        connection.execute(statement.encode())
    connection.execute("checkpoint")
    spent = [0.0, 0.0, 0.0]
    start = time.perf_counter()
    for _ in range(jobs // BATCH):
        for statement in layout.enqueue:
            connection.execute(statement.encode(), (payload,), prepare=True)
    spent[0] = time.perf_counter() - start
    connection.execute("analyze job")
    for _ in range(jobs // BATCH):
        start = time.perf_counter()
        ids = [row[0] for row in connection.execute(layout.claim.encode(), prepare=True).fetchall()]
        claimed = time.perf_counter()
        connection.execute(layout.finish.encode(), (ids,), prepare=True)
        spent[1] += claimed - start
        spent[2] += time.perf_counter() - claimed
    return tuple(seconds / jobs * 1e6 for seconds in spent)


def main(url: str, jobs: int = 20_000, rounds: int = 3) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")  # the work itself, not the disk
        for wrong in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):  # plans for tables without statistics
            connection.execute(f"set enable_{wrong} = off".encode())
        for payload in (100, 1500):
            print(f"\n{jobs} jobs of {payload} bytes, batches of {BATCH}; median of {rounds}, µs per job")
            print(f"{'layout':66} {'enqueue':>8} {'claim':>8} {'finish':>8} {'sum':>8}")
            figures: dict[str, list[tuple[float, ...]]] = {}
            for _ in range(rounds):
                for layout in layouts():
                    figures.setdefault(layout.name, []).append(measure(connection, layout, jobs, payload))
            for name, measured in figures.items():
                parts = [statistics.median(column) for column in zip(*measured, strict=True)]
                print(f"{name:66} " + " ".join(f"{part:8.1f}" for part in (*parts, sum(parts))))
        connection.execute("drop table if exists job, slim, history cascade")


if __name__ == "__main__":
    main(sys.argv[1], *(int(number) for number in sys.argv[2:]))
