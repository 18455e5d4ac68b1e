"""zmesh.invoke and zmesh.enqueue, in both languages, with a listener that answers from the queue."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database, Row
from tests.sdk.conftest import Bench

Answer = dict[str, Any]


@pytest.fixture
def database(server: str, migrated: str) -> Iterator[Database]:
    """One for each test: the listener takes whatever is in the queue."""
    with Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD, template=migrated) as database:
        yield database


@contextmanager
def listener(database: Database, answer: Any) -> Iterator[list[Row]]:
    """Ends every invocation as the given function of the job says, until the block ends."""
    id, jobs, over = database.listener(), [], threading.Event()

    def work() -> None:
        with database.connect(database.listener_url) as connection:
            connection.execute("listen zmesh_queue")
            while not over.is_set():
                for job in database.claim(id):
                    jobs.append(job)
                    finish(database, id, job, answer(job))
                for _ in connection.notifies(timeout=0.05, stop_after=1):
                    pass

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield jobs
    finally:
        over.set()
        thread.join()


def finish(database: Database, listener: Any, job: Row, answer: Answer | None) -> None:
    if answer is None:
        return
    columns = {"result": None, "response": None, "error": None, **answer}
    database.rows(
        "select zmesh.finish(%s, array[row(%s::uuid, %s::smallint, %s, %s::json, %s::json, %s::jsonb, null, 1, 1, 1)"
        "::zmesh.outcome])",
        listener,
        job["id"],
        job["attempt"],
        columns.get("status", "success"),
        *(None if columns[name] is None else json.dumps(columns[name]) for name in ("result", "response", "error")),
        url=database.listener_url,
    )


def echo(job: Row) -> Answer:
    return {"result": {"you sent": json.loads(job["payload"])}}


def running(bench: Bench, traceparent: str | None = None) -> str:
    """The id of an invocation that a listener runs: the one whose run the test makes."""
    bench.database.function(bench.project, "send-welcome")
    [id] = bench.database.enqueue(bench.project, "send-welcome", traceparent=traceparent)
    bench.database.claim(bench.database.listener())
    return str(id)


def test_invoke_returns_the_result_of_the_other_function(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")
    parent = running(bench)
    with listener(bench.database, echo) as jobs:
        ending = bench.run(
            javascript="return await zmesh.invoke('greet', { name: 'Ada' })",
            python="return zmesh.invoke('greet', {'name': 'Ada'})",
            context={"invocation_id": parent},
        )
    assert ending.result == {"you sent": {"name": "Ada"}}
    [job] = jobs
    assert job["max_attempts"] == 1
    row = bench.database.invocation(job["id"])
    assert (row["source"], str(row["parent_id"])) == ("function", parent)


def test_a_payload_that_is_left_out_is_an_empty_object(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")
    with listener(bench.database, echo):
        ending = bench.run(javascript="return await zmesh.invoke('greet')", python="return zmesh.invoke('greet')")
    assert ending.result == {"you sent": {}}


def test_several_invocations_run_at_once_and_get_their_own_results(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")
    with listener(bench.database, lambda job: {"result": json.loads(job["payload"])}):
        ending = bench.run(
            javascript="return await Promise.all([...Array(20).keys()].map((n) => zmesh.invoke('greet', n)))",
            python="""
                import asyncio
                async def all_of_them():
                    return await asyncio.gather(*[asyncio.to_thread(zmesh.invoke, 'greet', n) for n in range(20)])
                return asyncio.run(all_of_them())
            """,
        )
    assert ending.result == list(range(20))


def test_a_failure_of_the_other_function_is_raised_with_its_type_and_message(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")
    error = {"type": "ValueError", "message": "no such name", "stack": "Traceback: greet.py, line 3"}
    with listener(bench.database, lambda job: {"status": "error", "error": error}):
        caught = bench.run(
            javascript="""
                return await zmesh.invoke('greet').catch((e) => [e.name, e.type, e.message, e.status, e.function])
            """,
            python="""
                try:
                    zmesh.invoke('greet')
                except Exception as e:
                    return [type(e).__name__, e.type, e.message, e.status, e.function]
            """,
        )
        uncaught = bench.run(javascript="await zmesh.invoke('greet')", python="zmesh.invoke('greet')")
    assert caught.result == ["InvocationError", "ValueError", "no such name", "error", "greet"]
    assert (uncaught.error["type"], uncaught.error["message"]) == ("InvocationError", "no such name")
    assert "Traceback: greet.py, line 3" in uncaught.error["stack"]
    assert "send-welcome" in uncaught.error["stack"]


def test_a_raw_response_of_the_other_function_is_a_response_again(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")
    response = {"status": 201, "headers": {"x-a": "b"}, "body_base64": "aGk="}
    with listener(bench.database, lambda job: {"response": response}):
        ending = bench.run(
            javascript="return await zmesh.invoke('greet')",
            python="return zmesh.invoke('greet')",
        )
    status, headers, body = ending.response
    assert (status, headers["x-a"], body) == (201, "b", b"hi")


def test_waiting_for_an_answer_ends_at_its_timeout(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")
    ending = bench.run(
        javascript="await zmesh.invoke('greet', {}, { timeout_ms: 50 })",
        python="zmesh.invoke('greet', {}, timeout_ms=50)",
    )
    assert ending.error["type"] == "InvocationError"
    assert "no answer within 50 ms" in ending.error["message"]


def test_an_answer_arrives_when_its_notification_is_lost(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")

    def answer_quietly() -> None:
        while not bench.database.rows(
            "update zmesh.invocations set status = 'success', result = '\"quiet\"', started_at = now(), "
            "finished_at = now() returning id"
        ):
            pass

    thread = threading.Thread(target=answer_quietly)
    thread.start()
    ending = bench.run(javascript="return await zmesh.invoke('greet')", python="return zmesh.invoke('greet')")
    thread.join()
    assert ending.result == "quiet"


@pytest.mark.parametrize("method", ["invoke", "enqueue"])
def test_an_unknown_function_is_refused_at_once(bench: Bench, method: str) -> None:
    ending = bench.run(javascript=f"await zmesh.{method}('nope')", python=f"zmesh.{method}('nope')")
    assert 'function "nope" does not exist in this project' in ending.error["message"]


def test_enqueue_returns_the_id_of_an_invocation_with_its_options(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")
    parent = running(bench)
    ending = bench.run(
        javascript="""
            return [
                await zmesh.enqueue('greet', { n: 1 }, { runAt: '2030-01-01T00:00:00Z', priority: 5, maxAttempts: 7 }),
                await zmesh.enqueue('greet', [2], { delay_seconds: 3600, run_at: undefined }),
            ]
        """,
        python="""
            return [
                zmesh.enqueue('greet', {'n': 1}, run_at='2030-01-01T00:00:00Z', priority=5, max_attempts=7),
                zmesh.enqueue('greet', [2], delay_seconds=3600),
            ]
        """,
        context={"invocation_id": parent},
    )
    first, second = [bench.database.invocation(id) for id in ending.result]
    assert (first["payload"], first["priority"], first["max_attempts"]) == ({"n": 1}, 5, 7)
    assert first["run_at"].isoformat() == "2030-01-01T00:00:00+00:00"
    assert str(first["parent_id"]) == parent
    assert (second["payload"], second["max_attempts"]) == ([2], 3)
    assert abs((second["run_at"] - second["created_at"]).total_seconds() - 3600) < 5


def test_a_function_chooses_the_version_that_it_starts_and_the_key_that_it_queues_by(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")
    bench.database.rows("update zmesh.functions set code = code || ' '")
    bench.database.rows("select zmesh.set_alias(id, 'old', '{1}', '{100}') from zmesh.functions")
    with listener(bench.database, echo) as jobs:
        ending = bench.run(
            javascript="""
                await zmesh.invoke('greet', {}, { version: 1 });
                await zmesh.invoke('greet', {}, { alias: 'old' });
                return zmesh.enqueue('greet', {}, {
                    alias: 'old', runAt: '2030-01-01T00:00:00Z', expiresAt: '2031-01-01T00:00:00Z', concurrencyKey: 'k',
                })
            """,
            python="""
                zmesh.invoke('greet', {}, version=1)
                zmesh.invoke('greet', {}, alias='old')
                return zmesh.enqueue('greet', {}, alias='old', run_at='2030-01-01T00:00:00Z',
                                     expires_at='2031-01-01T00:00:00Z', concurrency_key='k')
            """,
        )
    assert [job["version"] for job in jobs] == [1, 1]
    enqueued = bench.database.invocation(ending.result)
    assert (enqueued["version"], enqueued["alias"], enqueued["concurrency_key"]) == (1, "old", "k")
    assert enqueued["expires_at"].isoformat() == "2031-01-01T00:00:00+00:00"


def test_enqueueing_twice_with_one_idempotency_key_gives_the_same_invocation(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")
    ending = bench.run(
        javascript="""
            const once = () => zmesh.enqueue('greet', {}, { idempotencyKey: 'order-7' });
            return [await once(), await once()]
        """,
        python="""
            once = lambda: zmesh.enqueue('greet', {}, idempotency_key='order-7')
            return [once(), once()]
        """,
    )
    first, second = ending.result
    assert first == second
    assert len(bench.rows("select id from zmesh.invocations")) == 1


def test_a_misspelt_option_is_refused(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")
    ending = bench.run(
        javascript="await zmesh.enqueue('greet', {}, { delay: 5 })",
        python="zmesh.enqueue('greet', {}, delay=5)",
    )
    assert ending.error["type"] == "TypeError"
    assert "delay" in ending.error["message"]
    assert bench.rows("select id from zmesh.invocations") == []


def test_the_trace_goes_on_into_what_a_run_starts(bench: Bench) -> None:
    bench.database.function(bench.project, "greet")
    parent = running(bench, traceparent=f"00-{'a' * 32}-{'b' * 16}-00")
    ours = bench.database.value("select zmesh.traceparent_of(id, traceparent) from zmesh.queue where id = %s", parent)
    with listener(bench.database, echo) as jobs:
        ending = bench.run(
            javascript="await zmesh.invoke('greet'); await zmesh.enqueue('greet'); return zmesh.traceparent",
            python="zmesh.invoke('greet'); zmesh.enqueue('greet'); return zmesh.traceparent",
            context={"invocation_id": parent, "traceparent": ours},
        )
    assert ending.result == ours == f"00-{'a' * 32}-{parent.replace('-', '')[16:]}-00"
    started = bench.database.rows("select traceparent from zmesh.invocations where parent_id = %s", parent)
    assert [row["traceparent"] for row in started] == [ours, ours]
    assert jobs[0]["traceparent"] == f"00-{'a' * 32}-{jobs[0]['id'].hex[16:]}-00"


@pytest.mark.parametrize("method", ["invoke", "enqueue"])
def test_calls_nested_too_deeply_fail_with_an_error_that_names_the_chain(bench: Bench, method: str) -> None:
    bench.database.rows("update zmesh.settings set max_depth = 0, max_generations = 0")
    bench.database.function(bench.project, "greet")
    ending = bench.run(
        javascript=f"""
            await zmesh.{method}('greet').catch((e) => {{ e.message = `${{e.type}}: ${{e.message}}`; throw e; }})
        """,
        python=f"""
            try:
                zmesh.{method}('greet')
            except Exception as error:
                raise type(error)(error.function, None, "error", {{"message": f"{{error.type}}: {{error}}"}}) from error
        """,
        context={"invocation_id": running(bench)},
    )
    assert ending.error["type"] == "InvocationError"
    assert ending.error["message"].startswith("depth_limit: ")
    if method == "invoke":
        assert "send-welcome → greet" in ending.error["message"]


HOW_CALLED = {
    "awaited": ("await zmesh.invoke('other', {})", "return zmesh.invoke('other', {})"),
    "returned": ("return zmesh.invoke('other', {})", "x = zmesh.invoke('other', {}); return x"),
    "among others": (
        "return Promise.all([zmesh.invoke('other', {})])",
        "import concurrent.futures as c; return c.ThreadPoolExecutor().submit(zmesh.invoke, 'other', {}).result()",
    ),
}


@pytest.mark.parametrize("how", HOW_CALLED)
def test_the_stack_of_a_failed_invocation_has_the_line_that_called_it(bench: Bench, how: str) -> None:
    def fail(job: Row) -> Answer:
        return {"status": "error", "error": {"type": "Refused", "message": "no", "stack": "Refused: no\n at other:1"}}

    bench.database.function(bench.project, "other")
    javascript, python = HOW_CALLED[how]
    with listener(bench.database, fail):
        error = bench.run(javascript=f"\n{javascript}", python=f"# the call\n{python}").error
    assert error["message"] == "no"
    assert {"javascript": "send-welcome.js:2:", "python": 'File "send-welcome.py", line 3, in handler'}[
        bench.language
    ] in error["stack"]
    assert "other:1" in error["stack"]


@pytest.mark.parametrize("method", ["invoke", "enqueue"])
def test_a_function_that_is_unknown_is_told_with_the_line_that_called_it(bench: Bench, method: str) -> None:
    error = bench.run(
        javascript=f"return await zmesh.{method}('nobody', {{}})", python=f"zmesh.{method}('nobody', {{}})"
    ).error
    line = {"javascript": "send-welcome.js:2:", "python": "line 2, in handler"}[bench.language]
    assert error["stack"].count(line) == 1
    way_out = "(Deploy it first, or look up its slug: zmesh functions list)"
    assert error["message"] == f'function "nobody" does not exist in this project {way_out}'
    assert "PL/pgSQL" not in error["stack"]


@pytest.mark.parametrize(
    "call",
    [
        "query('select nothing from nowhere')",
        "query_one('select 1/0')",
        "insert('nowhere', {})",
        "select('nowhere')",
        "update('users', {'age': 'x'}, 'true')",
        "remove('users', 'nothing')",
    ],
)
def test_the_stack_of_a_failed_statement_has_the_line_that_asked(bench: Bench, call: str) -> None:
    error = bench.run(javascript=f"return zmesh.db.{call}", python=f"zmesh.db.{call}").error
    assert {"javascript": "send-welcome.js:2:", "python": "line 2, in handler"}[bench.language] in error["stack"]
