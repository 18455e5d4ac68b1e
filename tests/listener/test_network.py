"""The network drops packets: connections silently stop answering."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.databases import Database
from tests.listener.conftest import Running, ScriptedSandbox, eventually
from tests.listener.test_service import ended

FIRST, SECOND = "127.0.0.77", "127.0.0.78"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="only root may drop packets, by the command ip"
)


@asynccontextmanager
async def another_way_to(host: str, port: int, address: str) -> AsyncIterator[int]:
    """Passes on what comes to this address; gives its port."""

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
        target.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(pass_on(reader, server_writer), pass_on(server_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(connected, address)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextmanager
def dropped(address: str) -> Iterator[None]:
    """Nothing that is sent to this address arrives any more."""
    route = ["blackhole", address, "table", "local"]
    subprocess.run(["ip", "route", "add", *route], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "route", "del", *route], check=True)


async def test_a_listener_whose_connections_went_dead_opens_others(
    database: Database, running: Running, sandbox: ScriptedSandbox
) -> None:
    project = database.project()
    database.function(project)
    server = conninfo_to_dict(database.listener_url)
    host, port = str(server["host"]), int(server["port"] or 0)
    async with another_way_to(host, port, FIRST) as first, another_way_to(host, port, SECOND) as second:
        url = make_conninfo(database.listener_url, host=f"{FIRST},{SECOND}", port=f"{first},{second}")
        async with running(database_url=url):
            before = database.enqueue(project)
            await eventually(lambda: ended(database, before), "the end of what came before")
            with dropped(FIRST):
                after = database.enqueue(project)
                await eventually(lambda: ended(database, after), "the end of what came after")
