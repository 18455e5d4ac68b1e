"""Logs followed live: server-sent events of lines that another process writes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from psycopg import AsyncConnection

from api.database import Database, Query, Result
from api.invoking.waiting import Replies
from api.management import following
from api.management.following import Followers
from sql import history
from sql.history import Place
from tests.api.client import Api, refused
from tests.databases import Row

Event = dict[str, Any]


class Run:
    """An invocation that runs, as the listener that runs it sees it."""

    def __init__(self, api: Api) -> None:
        self._database = api.database
        [self.id] = api.database.enqueue(api.project)
        self._listener = api.database.listener(1)
        self.job: Row = {}
        while self.job.get("id") != self.id:  # other tests' invocations as well
            [self.job] = api.database.claim(self._listener, 1)

    def prints(self, *messages: str, first: int) -> None:
        numbers = list(range(first, first + len(messages)))
        many = len(messages)
        self._database.rows(
            "select zmesh.append_logs(%s, %s, %s, %s, %s, %s, %s)",
            *(self._listener, [self.id] * many, [1] * many, numbers),
            *(["2030-01-01T00:00:00Z"] * many, ["info"] * many, list(messages)),
            url=self._database.listener_url,
        )

    def ends(self, *messages: str, first: int) -> None:
        lines = [
            {"line": n, "at": "2030-01-01T00:00:00Z", "level": "info", "message": message}
            for n, message in enumerate(messages, first)
        ]
        assert self._database.finish(self._listener, self.job, logs=json.dumps(lines), duration_ms=7)

    def is_lost(self) -> None:
        query = "update zmesh.listeners set lease_expires_at = zmesh.now() - interval '1 second' where id = %s"
        self._database.rows(query, self._listener)
        self._database.rows("select zmesh.reap()")


@contextmanager
def followed(api: Api, id: UUID, **headers: str) -> Iterator[Iterator[Event]]:
    wanted = {"authorization": f"Bearer {api.token}", "accept": "text/event-stream", **headers}
    with api.client.stream("GET", f"{api.url}/invocations/{id}/logs", headers=wanted) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        yield events(answer)


def events(answer: httpx.Response) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        name, separator, value = line.partition(": ")
        if separator and name:
            fields[name] = value
        elif "data" in fields:
            yield {"event": fields["event"], "id": fields["id"], **json.loads(fields["data"])}
            fields = {}


def test_lines_come_while_they_are_printed_and_the_stream_ends_with_the_invocation(api: Api) -> None:
    api.deploy()
    run = Run(api)
    run.prints("one", "two", first=1)
    with followed(api, run.id) as stream:
        first = next(stream)
        assert (first["event"], first["id"], first["message"], first["level"]) == ("log", "1-1", "one", "info")
        assert next(stream)["message"] == "two"
        run.prints("three", first=3)
        assert next(stream)["message"] == "three"
        run.prints("three", first=3)  # a listener that missed the answer says it again
        run.ends("three", "four", first=3)
        assert next(stream)["id"] == "1-4"
        end = next(stream)
        assert (end["event"], end["status"], end["duration_ms"]) == ("end", "success", 7)
        assert list(stream) == []


def test_a_stream_goes_on_after_the_last_line_that_was_seen(api: Api) -> None:
    api.deploy()
    run = Run(api)
    run.ends(*(f"line {n}" for n in range(1, 1201)), first=1)
    with followed(api, run.id, **{"last-event-id": "1-3"}) as stream:
        seen = list(stream)
    assert [event["id"] for event in seen] == [*(f"1-{n}" for n in range(4, 1201)), "end"]
    told = {"accept": "text/event-stream", "last-event-id": "end"}
    assert api.call("GET", f"/invocations/{run.id}/logs", headers=told).status_code == 204


@pytest.mark.parametrize("place", ["x", "1", "1-", "99999-1", "1-9999999999"])
def test_a_place_that_no_stream_gave_out_is_refused(api: Api, place: str) -> None:
    api.deploy()
    [id] = api.database.enqueue(api.project)
    headers = {"accept": "text/event-stream", "last-event-id": place}
    refused(api.call("GET", f"/invocations/{id}/logs", headers=headers), 400, "invalid_header")


def test_nobody_follows_the_invocations_of_others(api: Api, stranger: Api) -> None:
    api.deploy()
    [id] = api.database.enqueue(api.project)
    headers = {"accept": "text/event-stream"}
    refused(stranger.call("GET", f"/invocations/{id}/logs", headers=headers), 404, "invocation_not_found")


def test_only_the_listener_that_runs_an_invocation_writes_its_log(api: Api) -> None:
    api.deploy()
    run = Run(api)
    other = api.database.listener(1)
    api.database.rows(
        "select zmesh.append_logs(%s, %s, '{1}', '{1}', '{2030-01-01}', '{info}', '{forged}')",
        *(other, [run.id]),
        url=api.database.listener_url,
    )
    assert api.database.rows("select * from zmesh.logs where invocation_id = %s", run.id) == []
    run.ends(first=1)


def test_what_was_printed_stays_when_the_listener_is_lost(api: Api) -> None:
    api.deploy(max_attempts=1)
    run = Run(api)
    run.prints("the last words", first=1)
    run.is_lost()
    with followed(api, run.id) as stream:
        assert [event.get("message", event.get("status")) for event in stream] == ["the last words", "error"]


class CountingDatabase(Database):
    """Counts what is asked of it."""

    reads = 0

    async def read(self, query: Query[Result]) -> Result:
        self.reads += 1
        return await super().read(query)


async def test_all_who_follow_share_one_poll(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.05)
    api.deploy()
    ids = api.database.enqueue(api.project, count=100)
    database = CountingDatabase(api.database.api_url)
    await database.open()
    replies = Replies(api.database.api_url, database, lambda _: None)
    followers = Followers(database, replies)
    streams = [followers.follow(id, (0, 0)) for id in ids]
    for stream in streams:
        assert await anext(stream) == b"retry: 1000\n\n"
    nexts = [asyncio.create_task(anext(stream)) for stream in streams]  # type: ignore[arg-type]
    polls = 5
    while database.reads < (polls + 1) * len(ids) / following.LARGEST_READ:
        await asyncio.sleep(0.01)
    api.database.rows("select zmesh.cancel(%s)", ids)
    ends = await asyncio.gather(*nexts)
    assert all(b'"status":"cancelled"' in end for end in ends)
    assert database.reads < 20 * len(ids) / following.LARGEST_READ
    replies.release()
    await database.close()


async def test_lines_that_many_wait_for_are_read_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are built on the event loop: a crowd at one log must not multiply them."""
    asked: list[list[Place]] = []
    progress = history.progress

    async def noting(connection: AsyncConnection, places: Sequence[Place], limit: int) -> list[list[history.Progress]]:
        asked.append(list(places))
        return await progress(connection, places, limit)

    monkeypatch.setattr(history, "progress", noting)
    api.deploy()
    run = Run(api)
    run.prints("a", "b", first=1)
    database = Database(api.database.api_url)
    await database.open()
    replies = Replies(api.database.api_url, database, lambda _: None)
    followers = Followers(database, replies)
    streams = [followers.follow(run.id, (0, 0)) for _ in range(20)]
    for stream in streams:
        assert await anext(stream) == b"retry: 1000\n\n"
    events = await asyncio.gather(*(anext(stream) for stream in streams))
    assert all(b'"message":"a"' in event for event in events)
    assert [places for places in asked if len(set(places)) < len(places)] == []
    run.ends(first=3)
    replies.release()
    await database.close()
