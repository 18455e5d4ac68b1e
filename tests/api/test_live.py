"""What people watch: the queue, changes and logs as they come."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest

from api.http.problems import Problem
from api.management import live
from tests.api.client import Api, eventually, refused

Event = tuple[str, Any]


@contextmanager
def following(api: Api, path: str) -> Iterator[Queue[Event]]:
    """The events of a stream, from when it is open until the block ends."""
    events: Queue[Event] = Queue()
    with httpx.Client(timeout=30) as client, client.stream("GET", api.url + path, headers=bearer(api)) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 1000"
        thread = threading.Thread(target=_read, args=(lines, events), daemon=True)
        thread.start()
        yield events


def bearer(api: Api) -> dict[str, str]:
    return {"authorization": f"Bearer {api.token}"}


def _read(lines: Iterator[str], events: Queue[Event]) -> None:
    name = ""
    try:
        for line in lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.put((name, json.loads(line.removeprefix("data: "))))
    except (httpx.HTTPError, httpx.StreamError):
        pass


def first(events: Queue[Event], name: str, matching: Any = lambda data: True) -> Any:
    while True:
        got, data = events.get(timeout=20)
        if got == name and matching(data):
            return data


def statuses(data: Any) -> list[str]:
    return [item["status"] for item in data["items"]]


def test_a_projects_invocations_are_told_once_in_each_state(api: Api, stranger: Api) -> None:
    api.deploy()
    stranger.deploy()
    database = api.database
    with following(api, "/live?topics=invocations") as events:
        database.enqueue(stranger.project)
        [id] = database.enqueue(api.project, max_attempts=1)
        queued = first(events, "invocations")
        assert [(item["id"], item["status"]) for item in queued["items"]] == [(str(id), "queued")]
        assert queued["items"][0]["function"] == "greet"
        listener = database.listener(100, "1 minute")
        jobs = {job["id"]: job for job in database.claim(listener, 100)}
        assert statuses(first(events, "invocations")) == ["running"]
        error = '{"type": "TypeError", "message": "no", "stack": "a stack"}'
        database.finish(listener, jobs[id], "error", error=error, duration_ms=7)
        [ended] = first(events, "invocations")["items"]
        assert (ended["status"], ended["duration_ms"], ended["error"]) == (
            "error",
            7,
            {"type": "TypeError", "message": "no"},
        )
        database.rows("select zmesh.end_lease(%s)", listener, url=database.listener_url)


def test_more_changes_than_an_event_holds_ask_for_a_new_look_at_the_lists(api: Api) -> None:
    api.deploy()
    with following(api, "/live?topics=invocations") as events:
        ids = api.database.enqueue(api.project, count=600)
        assert first(events, "invocations") == {"items": [], "truncated": True}
    api.database.rows("select zmesh.cancel(%s)", ids)


def test_changed_and_deleted_functions_are_told(api: Api) -> None:
    api.deploy()
    with following(api, "/live?topics=functions") as events:
        id = api.deploy("another")["id"]
        data = first(events, "functions", lambda data: id in data["changed"])
        assert data["count"] == 2
        api.call("DELETE", "/functions/another")
        assert first(events, "functions", lambda data: data["count"] == 1)["changed"] == []


def test_the_queue_is_told_by_function_with_runs_and_listeners(api: Api) -> None:
    api.deploy()
    api.deploy("later")
    database = api.database
    ids = database.enqueue(api.project, count=3)
    ids += database.enqueue(api.project, "later", run_at="2100-01-01Z")
    listener = database.listener(100, "1 minute")
    database.rows("select zmesh.report_sandbox(%s, 'reduced', '{no Landlock}')", listener, url=database.listener_url)
    jobs = [job for job in database.claim(listener, 100) if job["id"] in ids]
    assert len(jobs) == 3
    ids += database.enqueue(api.project, count=2)
    with following(api, "/live?topics=queue") as events:
        told = first(events, "queue")
    found = api.call("GET", "/queue").json()
    assert {**told, "running_now": found["running_now"], "listeners": found["listeners"]} == found
    assert (found["queued"], found["running"], found["delayed"], found["max_running"]) == (2, 3, 1, 64)
    greet, later = found["functions"]
    assert (greet["queued"], greet["running"], greet["more"], greet["oldest_at"] is None) == (2, 3, False, False)
    assert (later["function"], later["delayed"], later["oldest_at"]) == ("later", 1, None)
    assert sorted(run["id"] for run in found["running_now"]) == sorted(str(job["id"]) for job in jobs)
    [here] = [one for one in found["listeners"] if one["id"] == str(listener)]
    assert (here["slots"], here["isolation"], here["gaps"]) == (100, "reduced", ["no Landlock"])
    assert here["running"] >= 3
    database.rows("select zmesh.cancel(%s)", ids)
    database.rows("select zmesh.end_lease(%s)", listener, url=database.listener_url)


def test_logs_of_a_function_and_of_the_project_are_followed_as_they_are_printed(api: Api) -> None:
    api.deploy()
    api.deploy("other")
    database = api.database
    with following(api, "/functions/greet/logs") as of_function, following(api, "/logs") as of_project:
        ids = [*database.enqueue(api.project), *database.enqueue(api.project, "other")]
        listener = database.listener(100, "1 minute")
        jobs = {job["id"]: job for job in database.claim(listener, 100)}
        for id, word in zip(ids, ("one", "two"), strict=True):
            database.rows(
                "select zmesh.append_logs(%s, %s, %s, '{1}', %s, '{info}', %s)",
                *(listener, [id], [jobs[id]["attempt"]], [database.value("select now()")], [word]),
                url=database.listener_url,
            )
        assert {first(of_project, "log")["message"] for _ in ids} == {"one", "two"}
        for id in ids:
            logs = json.dumps(
                [{"line": 2, "at": str(database.value("select now()")), "level": "error", "message": "end"}]
            )
            database.finish(listener, jobs[id], logs=logs)
        assert [first(of_function, "log")["message"] for _ in range(2)] == ["one", "end"]
        assert of_function.empty()
        database.rows("select zmesh.end_lease(%s)", listener, url=database.listener_url)


def test_a_stream_says_what_is_wrong_with_its_request(api: Api) -> None:
    refused(api.call("GET", "/live?topics=invocations,logs"), 422, "invalid_input", "topics")
    refused(api.call("GET", "/functions/none/logs"), 404, "function_not_found")
    refused(api.client.get(f"{api.url}/live"), 401, "missing_credentials")
    eventually(lambda: api.call("GET", "/queue").json()["functions"] == [], "an empty queue")


async def test_clients_that_connect_at_the_same_moment_do_not_exceed_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was counted only once its stream had begun, and by then the next had been admitted."""

    async def allowed() -> None: ...

    monkeypatch.setattr(live, "MOST_CLIENTS", 1)
    feeds = live.LiveFeeds(*cast(Any, (None, SimpleNamespace(released=False), None)))
    project = uuid4()
    streams = []
    for _ in range(2):
        feeds.require_room(project)
        streams.append(feeds.follow(project, (), None, allowed))
    assert await anext(streams[0]) == b"retry: 1000\n\n"
    assert [event async for event in streams[1]] == []
    with pytest.raises(Problem):
        feeds.require_room(project)
    await cast(Any, streams[0]).aclose()
    feeds.require_room(project)
