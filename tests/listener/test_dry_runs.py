"""Dry runs: whatever their code sends, nothing is committed, and what would have changed is told."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import psycopg
import pytest

from listener import changed_rows, relaying
from listener.dry_runs import DryRun
from listener.wire import SET_UP, ServerError, message, query
from tests.databases import Database, TestProject

TABLES = """
create table parents (id int primary key);
create table things (id int primary key, parent int references parents, name text);
create table plain (name text);
insert into parents values (1), (2);
insert into things values (1, 1, 'one'), (2, 1, 'two'), (3, null, 'three');
insert into plain values ('a'), ('b')
"""


@pytest.fixture
def project(database: Database) -> TestProject:
    project = database.project()
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute(TABLES.encode())
    return project


@pytest.fixture
def dry_run() -> Iterator[DryRun]:
    with closing(DryRun()) as made:
        yield made


async def attached(dry_run: DryRun, project: TestProject) -> socket.socket:
    """The session as the run has it."""
    given = await dry_run.attach(project.url, {"application_name": "test"})
    assert given is not None
    given.descriptor.settimeout(30)
    assert given.descriptor.recv(len(SET_UP)) == SET_UP
    given.descriptor.setblocking(False)
    return given.descriptor


async def changes_of(dry_run: DryRun) -> dict[str, Any]:
    """As they are stored."""
    changes: dict[str, Any] = json.loads(msgspec.json.encode(await dry_run.changes()))
    return changes


def rows_of(changes: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(row["table"], row["operation"], row["old"], row["new"]) for row in changes["rows"]]


def content(database: Database, project: TestProject) -> list[Any]:
    with psycopg.connect(project.url) as connection:
        return [connection.execute(f"table {name}".encode()).fetchall() for name in ("parents", "things", "plain")]


async def test_rows_are_told_before_and_after_and_nothing_stays(
    database: Database, project: TestProject, dry_run: DryRun
) -> None:
    before = content(database, project)
    with await attached(dry_run, project) as run:
        await query(run, "insert into things values (4, 2, 'four')")
        await query(run, "update things set name = 'uno' where id = 1; update things set name = 'UNO' where id = 1")
        await query(run, "delete from things where id = 2; update things set id = 30 where id = 3")
        await query(run, "savepoint a; insert into things values (5); rollback to a; select * from things for update")
        await query(run, "insert into plain values ('c'); update plain set name = 'B' where name = 'b'")
        await query(run, "insert into things values (6); delete from things where id = 6")
    changes = await changes_of(dry_run)
    assert (changes["truncated"], changes["note"]) == (False, None)
    assert [(table["table"], table["listed"]) for table in changes["tables"]] == [("plain", True), ("things", True)]

    def thing(id: int, parent: int | None, name: str) -> dict[str, Any]:
        return {"id": id, "parent": parent, "name": name}

    assert sorted(rows_of(changes), key=str) == sorted(
        [
            ("things", "insert", None, thing(4, 2, "four")),
            ("things", "update", thing(1, 1, "one"), thing(1, 1, "UNO")),
            ("things", "delete", thing(2, 1, "two"), None),
            ("things", "delete", thing(3, None, "three"), None),
            ("things", "insert", None, thing(30, None, "three")),
            ("plain", "insert", None, {"name": "c"}),
            ("plain", "delete", {"name": "b"}, None),  # without a primary key nothing says that they are one row
            ("plain", "insert", None, {"name": "B"}),
        ],
        key=str,
    )
    assert content(database, project) == before


async def test_what_others_do_meanwhile_is_not_taken_for_its_own(
    database: Database, project: TestProject, dry_run: DryRun
) -> None:
    with psycopg.connect(project.url) as other:
        other.execute("select from parents where id = 2 for key share")  # with ours, the row has a list of lockers
        other.execute("update things set name = 'theirs' where id = 3")
        with await attached(dry_run, project) as run:
            await query(run, "savepoint a; insert into things values (4, 2, 'four'); release a")
            await query(run, "savepoint b; update parents set id = id where id = 2; release b")
            with psycopg.connect(project.url) as committing:
                committing.execute("insert into things values (9); update things set name = 'committed' where id = 2")
        changes = await changes_of(dry_run)
    assert sorted(rows_of(changes), key=str) == [
        ("parents", "update", {"id": 2}, {"id": 2}),
        ("things", "insert", None, {"id": 4, "parent": 2, "name": "four"}),
    ]


async def test_no_message_commits(database: Database, project: TestProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole and broken ones, one after the other on sessions of their own."""
    monkeypatch.setattr(relaying, "IDLE_SECONDS", 0.5)  # for the server's answers to what is no protocol
    before = content(database, project)
    insert = message(b"Q", b"insert into plain values ('x')\0")

    def parse(text: bytes) -> bytes:
        return message(b"P", b"\0" + text + b"\0\0\0") + message(b"B", b"\0" * 8) + message(b"E", b"\0" * 5)

    attacks = [
        message(b"Q", b"commit\0"),
        message(b"Q", b"commit\0garbage\0"),
        message(b"Q", b"/* x */ cOmMiT"),
        message(b"Q", b"insert into plain values ('y'); end; insert into plain values ('z')\0"),
        message(b"Q", b"rollback\0") + insert,
        message(b"Q", b"abort; insert into plain values ('y')\0") + insert,
        parse(b"commit") + message(b"S"),
        parse(b"insert into plain values ('x')") + parse(b"commit") + message(b"S"),
        message(b"Q", b"create procedure p() language plpgsql as 'begin commit; end'; call p()\0"),
        message(b"Q", b"do 'begin commit; end'\0"),
        message(b"p", b"password\0") + message(b"Q", b"commit\0"),
        message(b"X"),
        b"Q\xff\xff\xff\xff",
        b"Q\x7f\xff\xff\xff" + b"commit",
        insert[:9],
        message(b"P", b"without an end"),
    ]
    for attack in attacks:
        with closing(DryRun()) as dry_run, await attached(dry_run, project) as run:
            await query(run, "insert into plain values ('first')")
            run.send(insert + attack + insert)
            run.shutdown(socket.SHUT_WR)
            await changes_of(dry_run)
        assert content(database, project) == before, attack


async def test_an_end_of_the_transaction_is_an_error_that_says_what_to_do(
    project: TestProject, dry_run: DryRun
) -> None:
    with await attached(dry_run, project) as run:
        await query(run, "savepoint a")
        with pytest.raises(ServerError, match="this run cannot end its transaction"):
            await query(run, "commit")
        await query(run, "rollback to a")
        with pytest.raises(ServerError, match="more than 1 MiB or 10,000 statements"):
            await query(run, "select 1" + ";" * 10_001)
        await query(run, "rollback to a")
        assert await query(run, "select 1") == [["1"]]


async def test_there_is_one_session(project: TestProject, dry_run: DryRun) -> None:
    with await attached(dry_run, project):
        assert await dry_run.attach(project.url, {}) is None


async def test_without_a_session_there_are_no_changes(project: TestProject, dry_run: DryRun) -> None:
    assert await changes_of(dry_run) == changed_rows.NOTHING
    assert await dry_run.attach(project.url.replace("5432", "1"), {"no.such setting": "x"}) is None
    assert await changes_of(dry_run) == changed_rows.NOTHING


async def test_what_is_too_much_is_cut_and_what_cannot_be_read_is_counted(
    database: Database, project: TestProject, dry_run: DryRun
) -> None:
    with await attached(dry_run, project) as run:
        await query(run, "create table secret (name text); insert into secret values ('x')")
        await query(run, "create table broken (name text); alter table broken enable row level security")
        await query(run, "insert into broken values ('x'); create policy p on broken using (1 / length('') = 0)")
        await query(run, "alter table broken force row level security")
        await query(run, "insert into plain values (repeat('x', 100000))")
        await query(run, "insert into things select n, null, 'n' from generate_series(100, 300) n")
    changes = await changes_of(dry_run)
    listed = {table["table"]: (table["inserted"], table["listed"]) for table in changes["tables"]}
    assert listed == {"broken": (1, False), "plain": (1, True), "secret": (1, True), "things": (201, True)}
    assert (len(changes["rows"]), changes["truncated"]) == (changed_rows.MOST_ROWS, True)
    assert ("plain", "insert", None, {"too_large": True}) in rows_of(changes)


async def test_what_would_fail_at_the_end_is_told(project: TestProject, dry_run: DryRun) -> None:
    with await attached(dry_run, project) as run:
        await query(run, "alter table things add constraint late foreign key (parent) references parents deferrable")
        await query(run, "set constraints late deferred; alter table things drop constraint things_parent_fkey")
        await query(run, "insert into things values (4, 77)")
    assert "would have failed: insert or update on table" in (await changes_of(dry_run))["note"]


async def test_no_more_than_a_sentence_of_an_error_at_the_end_is_kept(project: TestProject, dry_run: DryRun) -> None:
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute(
            "create function boom() returns trigger language plpgsql as"
            " $$ begin raise exception '%', repeat('x', 5000000); end $$"
        )
        connection.execute(
            "create constraint trigger boom after insert on parents deferrable initially deferred"
            " for each row execute function boom()"
        )
    with await attached(dry_run, project) as run:
        await query(run, "insert into parents values (9)")
    note = (await changes_of(dry_run))["note"]
    assert note.endswith("x" * 100)
    assert len(note) < 3000


@pytest.mark.parametrize(
    ("last", "note"),
    [
        ("select pg_sleep(60)", "in the middle of a statement"),
        ("copy plain from stdin", "The last statement failed"),
        ("select 1 / 0", "The last statement failed"),
    ],
)
async def test_a_run_may_end_anywhere(
    database: Database,
    project: TestProject,
    dry_run: DryRun,
    last: str,
    note: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "sleep" in last:
        monkeypatch.setattr(relaying, "IDLE_SECONDS", 0.2)
    before = content(database, project)
    with await attached(dry_run, project) as run:
        await query(run, "insert into plain values ('x')")
        run.send(message(b"Q", last.encode() + b"\0"))
    assert note in (await changes_of(dry_run))["note"]
    assert content(database, project) == before
