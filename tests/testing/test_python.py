"""The zmesh object of tests in Python."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.platform import clean_environment
from zmesh.testing import Failure, InvocationError, RecordingZmesh, TransactionError


@pytest.fixture
def zmesh(prepared: str) -> Iterator[RecordingZmesh]:
    with closing(RecordingZmesh(prepared)) as zmesh:
        yield zmesh


def place(zmesh: RecordingZmesh, item: Any) -> dict[str, Any]:
    with zmesh.db.transaction():
        zmesh.enqueue("send-receipt", {"item": item}, delay_seconds=3600)
        return zmesh.db.insert("orders", {"item": item})


def functions(zmesh: RecordingZmesh) -> list[str]:
    return [one.function for one in zmesh.enqueued]


def test_what_a_test_does_is_rolled_back(prepared: str) -> None:
    for _ in range(2):
        with closing(RecordingZmesh(prepared)) as zmesh:
            assert zmesh.db.select("orders") == []
            assert zmesh.enqueued == []
            place(zmesh, "tea")
            assert len(zmesh.db.select("orders")) == 1
            assert functions(zmesh) == ["send-receipt"]


def test_a_transaction_that_fails_takes_back_its_rows_and_what_it_enqueued(zmesh: RecordingZmesh) -> None:
    place(zmesh, "tea")
    with pytest.raises(psycopg.errors.NotNullViolation):
        place(zmesh, None)
    assert [row["item"] for row in zmesh.db.select("orders")] == ["tea"]
    assert [one.payload for one in zmesh.enqueued] == [{"item": "tea"}]


def test_a_statement_that_fails_leaves_the_others_as_they_are(zmesh: RecordingZmesh) -> None:
    place(zmesh, "tea")
    with pytest.raises(psycopg.errors.DivisionByZero):
        zmesh.db.query("insert into orders (item) values ('coffee'); select 1 / 0")
    assert [row["item"] for row in zmesh.db.select("orders")] == ["tea"]


def test_a_failed_statement_fails_its_transaction(zmesh: RecordingZmesh) -> None:
    def swallow_an_error() -> None:
        with zmesh.db.transaction(), pytest.raises(psycopg.errors.DivisionByZero):
            zmesh.db.query("select 1 / 0")

    with pytest.raises(TransactionError, match="rolled back: a statement"):
        swallow_an_error()
    assert zmesh.db.query_one("select 1 as one") == {"one": 1}


def test_deferred_constraints_are_checked_where_a_run_would_commit(zmesh: RecordingZmesh) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        zmesh.db.insert("orders", {"item": "tea", "parent": 0})
    for _ in range(2):  # a check does not make constraints immediate
        with zmesh.db.transaction():
            row = zmesh.db.insert("orders", {"item": "tea", "parent": 0})
            zmesh.db.update("orders", {"parent": row["id"]}, {"id": row["id"]})
    assert len(zmesh.db.select("orders")) == 2


def test_code_that_commits_by_itself_is_told(zmesh: RecordingZmesh) -> None:
    with pytest.raises(TransactionError, match=r"use zmesh\.db\.transaction"):
        zmesh.db.query("commit")
    place(zmesh, "tea")
    zmesh.close()
    with closing(RecordingZmesh(zmesh.db.url)) as another:
        assert another.db.select("orders") == []


def test_a_thread_that_outlives_its_test_cannot_go_on(prepared: str) -> None:
    with closing(RecordingZmesh(prepared)) as ended:
        assert ended.db.query_one("select 1 as one") == {"one": 1}
    with pytest.raises(TransactionError, match="this test has ended"):
        ended.db.query("select 1")


def test_due_times_follow_a_clock_that_stands_still(zmesh: RecordingZmesh) -> None:
    zmesh.clock.set(datetime(2030, 1, 1, tzinfo=UTC))
    place(zmesh, "tea")
    assert zmesh.enqueued[0].run_at == datetime(2030, 1, 1, 1, tzinfo=UTC)
    zmesh.clock.advance(3599)
    assert zmesh.due == []
    zmesh.clock.advance(timedelta(seconds=1))
    assert zmesh.due == zmesh.enqueued
    with pytest.raises(ValueError, match="time zone"):
        zmesh.clock.set(datetime(2030, 1, 1))


def test_options_are_checked_and_recorded(zmesh: RecordingZmesh) -> None:
    first = zmesh.enqueue("a", idempotency_key="k", priority=7, version=3)
    assert zmesh.enqueue("a", idempotency_key="k") == first
    zmesh.enqueue("b", {"n": 1}, alias="canary")
    one, other = zmesh.enqueued
    assert (one.id, one.priority, one.version, one.idempotency_key) == (first, 7, 3, "k")
    assert (other.function, other.payload, other.alias) == ("b", {"n": 1}, "canary")
    with pytest.raises(psycopg.errors.CheckViolation, match="priority"):
        zmesh.enqueue("b", priority=1000)
    with pytest.raises(psycopg.DatabaseError, match="does not exist in this project"):
        zmesh.enqueue("No Slug")


def test_table_changes_and_sql_enqueue_too(zmesh: RecordingZmesh) -> None:
    zmesh.db.insert("orders", {"item": "tea"})
    zmesh.db.remove("orders", "true")
    zmesh.db.query("insert into zmesh.invocations (function) values ('report')")
    assert functions(zmesh) == ["audit", "report"]


def test_invoke_is_answered_by_the_test(zmesh: RecordingZmesh) -> None:
    zmesh.answers["price"] = lambda payload: {"cents": payload["n"] * 3}
    zmesh.answers["stock"] = Failure("sold_out", "no tea left")
    assert zmesh.invoke("price", {"n": 2}, version=4) == {"cents": 6}
    with pytest.raises(InvocationError, match="no tea left") as raised:
        zmesh.invoke("stock")
    assert (raised.value.type, raised.value.status) == ("sold_out", "error")
    with pytest.raises(LookupError, match=r'zmesh\.answers\["mail"\]'):
        zmesh.invoke("mail")
    assert [one.function for one in zmesh.invoked] == ["price", "stock", "mail"]
    assert (zmesh.invoked[0].payload, zmesh.invoked[0].version) == ({"n": 2}, 4)


def test_an_answer_arrives_as_json(zmesh: RecordingZmesh) -> None:
    zmesh.answers["echo"] = lambda payload: {**payload, "day": datetime(2030, 1, 1)}
    assert zmesh.invoke("echo", {"pair": (1, 2)}) == {"pair": [1, 2], "day": "2030-01-01T00:00:00"}


def test_variables_and_the_request_are_those_of_the_test(zmesh: RecordingZmesh) -> None:
    zmesh.env["STRIPE_KEY"] = "sk_test"
    assert zmesh.env.STRIPE_KEY == "sk_test"
    zmesh.set_request("post", "/orders", query={"tag": ["a", "b"]}, headers={"X-Id": "7"}, body={"item": "tea"})
    assert zmesh.request is not None
    assert (zmesh.request.method, zmesh.request.json()) == ("POST", {"item": "tea"})
    assert (zmesh.request.query_all, zmesh.request.raw_query) == ({"tag": ["a", "b"]}, "tag=a&tag=b")
    assert zmesh.request.headers == {"content-type": "application/json", "x-id": "7"}


def test_nothing_beside_the_runtime_becomes_importable(tmp_path: Path) -> None:
    program = "import zmesh.testing, zmesh_runtime, importlib.util as u; print(u.find_spec('install_packages'))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True
    )
    assert done.stdout == "None\n", done.stderr
