"""`zmesh invocations …` and logs that are followed, against a running platform."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.platform import ZMESH, Platform, clean_environment, eventually

GATED = """
import time
def handler(payload, zmesh):
    print("before the gate")
    while not zmesh.db.select("gates", "name = %s", [payload["gate"]]):
        time.sleep(0.05)
    print("after the gate")
"""
FLAKY = """
def handler(payload, zmesh):
    if not zmesh.db.select("switches"):
        raise ConnectionError(f"no connection to {payload['host']}")
    return "fine"
"""


@contextmanager
def running(platform: Platform, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*ZMESH, *arguments], cwd=platform.folder, env=clean_environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


@pytest.fixture(scope="module", autouse=True)
def tables(running_platform: Platform) -> None:
    """Made once: runs that each make one at the same moment would fail."""
    running_platform.sql("create table gates (name text)")
    running_platform.sql("create table switches (is_on bool)")


def open_gate(platform: Platform, name: str) -> None:
    platform.sql("insert into gates values (%s)", name)


def test_a_log_is_followed_while_the_function_runs_and_until_it_ends(running_platform: Platform) -> None:
    platform = running_platform
    platform.deploy("gated-one", GATED, timeout_ms=60_000)
    id = platform.enqueue("gated-one", {"gate": "one"})
    with running(platform, "invocations", "logs", id, "--follow", "--output", "json") as following:
        printed = lines(following)
        assert json.loads(next(printed))["message"] == "before the gate"
        assert platform.request("GET", f"/invocations/{id}").json()["status"] == "running"
        open_gate(platform, "one")
        assert json.loads(next(printed))["message"] == "after the gate"
        assert json.loads(next(printed))["status"] == "success"
        assert following.wait() == 0
    logs = platform.request("GET", f"/invocations/{id}/logs").json()["items"]
    assert [(line["line"], line["message"]) for line in logs] == [(1, "before the gate"), (2, "after the gate")]


def test_the_logs_of_a_function_are_followed_line_by_line(running_platform: Platform) -> None:
    platform = running_platform
    platform.deploy("gated-two", GATED, timeout_ms=60_000)
    with running(platform, "functions", "logs", "gated-two", "--follow", "--output", "table") as following:
        printed = lines(following)
        id = platform.enqueue("gated-two", {"gate": "two"})
        before = next(printed)
        assert "before the gate" in before
        assert id[-6:] in before
        open_gate(platform, "two")
        assert "after the gate" in next(printed)
        end = next(printed)
        assert "success" in end
        assert id in end
        following.send_signal(signal.SIGINT)
        assert following.wait() == 130


def test_failed_invocations_are_found_shown_and_retried(running_platform: Platform) -> None:
    platform = running_platform
    platform.deploy("flaky", FLAKY, max_attempts=1)
    ids = [platform.enqueue("flaky", {"host": host}) for host in ("db-1", "db-2", "db-3")]
    for id in ids:
        platform.ended(id)

    def found(*options: str) -> list[str]:
        return [i["id"] for i in json.loads(platform.zmesh("invocations", "list", "--function", "flaky", *options))]

    assert found() == ids[::-1]
    assert found("--status", "error", "--since", "1h", "--limit", "2") == ids[:0:-1]
    assert found("--error", "db-2") == [ids[1]]
    assert found("--until", "2020-01-01") == []
    assert "ConnectionError" in platform.zmesh("invocations", "list", "--function", "flaky", "--output", "table")
    platform.sql("insert into switches values (true)")
    assert json.loads(platform.zmesh("invocations", "retry", ids[0])) == [ids[0]]
    assert json.loads(platform.zmesh("invocations", "retry", "--function", "flaky", "--error", "db-2")) == [ids[1]]
    assert json.loads(platform.zmesh("invocations", "retry", "--function", "flaky")) == [ids[2]]
    for id in ids:
        assert platform.ended(id)["status"] == "success"
    shown = platform.zmesh("invocations", "show", ids[0], "--output", "table")
    assert "attempts          2 of 2" in shown
    assert "ConnectionError: no connection to db-1" in shown
    assert json.loads(platform.zmesh("invocations", "show", ids[0]))["result"] == "fine"


def test_a_queued_invocation_is_cancelled(running_platform: Platform) -> None:
    platform = running_platform
    platform.deploy("cancelled", "def handler(payload, zmesh):\n    return 1\n")
    accepted = json.loads(platform.zmesh("functions", "invoke", "cancelled", "--delay", "600"))
    id = accepted["invocation_id"]
    assert "cancelled" in platform.zmesh("invocations", "cancel", id, "--output", "table")
    assert "already ended" in platform.zmesh("invocations", "cancel", id, status=1)
    assert "cancelled" in platform.zmesh("invocations", "logs", id, "--follow", status=1)
    eventually(lambda: platform.request("GET", f"/invocations/{id}").json()["status"] == "cancelled", "its end")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("retry",), "pass --all"), (("retry", "x", "--all"), "not both"), (("list", "--since", "soon"), "30m, 2h or 7d")],
)
def test_a_request_that_says_too_little_or_too_much_is_refused(
    running_platform: Platform, arguments: tuple[str, ...], said: str
) -> None:
    assert said in " ".join(running_platform.zmesh("invocations", *arguments, status=2).split())
