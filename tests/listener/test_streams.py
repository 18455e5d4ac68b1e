"""Streams between a run, the database and a reader: no faster than it is taken, and nothing without a reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from listener import streams
from listener.streams import WINDOW_BYTES, Stream, Streams
from sql import streams as named
from tests.databases import Database, Row

HEAD = {"status": 200, "headers": {}}
HALF = b"x" * (WINDOW_BYTES // 2)
NEVER = asyncio.Event()


class Scene:
    """A running job, the listener that streams its response, and a reader's connection."""

    def __init__(self, database: Database, job: Row, lease: UUID, all: Streams, reader: AsyncConnection) -> None:
        self.database, self.job, self.lease, self.all, self.reader = database, job, lease, all, reader

    @property
    def id(self) -> UUID:
        id: UUID = self.job["id"]
        return id

    async def take(self) -> list[bytes | None]:
        return [taken.body for taken in await named.take(self.reader, [self.id])]


def queued(database: Database, channel: str) -> tuple[Row, UUID]:
    """A running job whose caller listens on this channel, and its listener."""
    project = database.project()
    database.function(project)
    database.rows(
        "insert into zmesh.invocations (project_id, function, source, reply_channel) values (%s, 'greet', 'api', %s)",
        project.id,
        channel,
        url=database.api_url,
    )
    lease = database.listener()
    [job] = database.claim(lease)
    return job, lease


@pytest.fixture
async def scene(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    kind = getattr(request, "param", "s")
    job, lease = queued(database, f"zmesh_{kind}_{'0' * 32}")
    changed = asyncio.Event()
    async with (
        AsyncConnectionPool(database.listener_url, min_size=1, open=False, kwargs={"autocommit": True}) as pool,
        await AsyncConnection.connect(database.api_url, autocommit=True) as reader,
    ):
        all = Streams(pool, changed)
        running = asyncio.create_task(all.run())
        yield Scene(database, job, lease, all, reader)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def fill(stream: Stream) -> None:
    stream.start(HEAD)
    stream.write(HALF)
    stream.write(HALF)


async def test_a_run_goes_on_when_its_reader_has_taken_something(scene: Scene) -> None:
    with scene.all.opened(scene.id, scene.lease) as stream:
        fill(stream)
        assert stream.full
        await stream.written(NEVER)
        assert stream.full  # it is in the database, and nobody took it
        room = asyncio.create_task(stream.room())
        assert b"".join(filter(None, await scene.take())) == HALF + HALF
        await room
        assert not stream.full
        stream.write(b"end")
        await stream.written(NEVER)
    assert await scene.take() == [b"end"]
    assert await scene.take() == [None]


async def test_the_reader_is_told_and_gets_the_head(scene: Scene) -> None:
    async with await AsyncConnection.connect(scene.database.admin_url, autocommit=True) as listening:
        await listening.execute(f"listen zmesh_s_{'0' * 32}".encode())
        with scene.all.opened(scene.id, scene.lease) as stream:
            stream.start(HEAD)
            stream.write(b"a")
            await stream.written(NEVER)
        async for told in listening.notifies(timeout=10, stop_after=1):
            assert told.payload == f"{scene.id}+"
    [taken] = await named.take(scene.reader, [scene.id])
    assert (taken.head, taken.number) == ('{"status": 200, "headers": {}}', 1)


@pytest.mark.parametrize("scene", ["r", "i"], indirect=True)
async def test_where_nobody_reads_pieces_nothing_is_written_and_the_run_does_not_wait(scene: Scene) -> None:
    with scene.all.opened(scene.id, scene.lease) as stream:
        fill(stream)
        await stream.room()
        assert not stream.full
    assert scene.database.rows("select 1 from zmesh.stream_chunks") == []


async def test_a_run_goes_on_without_its_reader_when_that_is_gone(scene: Scene) -> None:
    with scene.all.opened(scene.id, scene.lease) as stream:
        fill(stream)
        await stream.written(NEVER)
        room = asyncio.create_task(stream.room())
        await named.close(scene.reader, [scene.id])
        await room
        assert not stream.read
    assert scene.database.rows("select 1 from zmesh.stream_chunks") == []


async def test_a_reader_that_takes_nothing_is_given_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(streams, "POLL_SECONDS", 0.05)
    with scene.all.opened(scene.id, scene.lease) as stream:
        fill(stream)
        await stream.room()
        assert not stream.read
    assert await scene.take() == []


async def test_a_listener_that_lost_its_lease_begins_no_stream(scene: Scene) -> None:
    other = scene.database.listener()
    with scene.all.opened(scene.id, other) as stream:
        fill(stream)
        await stream.room()
        assert not stream.read


async def test_a_write_whose_answer_was_lost_is_written_once(scene: Scene) -> None:
    chunk = named.Chunk(scene.id, 1, b"abc", '{"status": 200, "headers": {}}')
    async with await AsyncConnection.connect(scene.database.listener_url, autocommit=True) as connection:
        for _ in range(2):
            assert await named.write(connection, scene.lease, [chunk], WINDOW_BYTES) == {scene.id: 3}
    assert await scene.take() == [b"abc"]


def test_streams_that_nobody_takes_to_their_end_are_forgotten(database: Database) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute(
            "insert into zmesh.streams (invocation_id, started_at, channel, head)"
            " values (gen_random_uuid(), zmesh.now() - interval '6 minutes', 'c', '{}'),"
            "        (gen_random_uuid(), zmesh.now() - interval '4 minutes', 'c', '{}')"
        )
        connection.execute("select zmesh.forget_streams()")
    assert len(database.rows("select 1 from zmesh.streams")) == 1
