"""Starts a listener process from its environment."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from psycopg_pool import AsyncConnectionPool

from listener.service import Listener
from listener.settings import Settings, SettingsError, read_settings
from sandbox import Sandbox
from sql.sealing import SealingError

log = logging.getLogger(__name__)
POOL_SIZE = 6


def main() -> int:
    """Run until SIGTERM or SIGINT; returns the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # what it warns of, we log with its meaning
    try:
        settings = read_settings(os.environ)
        asyncio.run(_serve(settings))
    except (SettingsError, SealingError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sandbox = Sandbox(slots=settings.slots, run_dir=settings.run_dir)
    await sandbox.start()
    try:
        async with AsyncConnectionPool(
            settings.database_url,
            min_size=2,
            max_size=POOL_SIZE,
            open=False,
            timeout=5,
            check=AsyncConnectionPool.check_connection,
            kwargs={"autocommit": True, "application_name": "zmesh listener"},
        ) as pool:
            report = sandbox.report()
            log.info("sandbox: %s%s", report.level, "".join(f"; {gap}" for gap in report.gaps))
            await Listener(settings, sandbox, pool).run(stop)
    finally:
        await sandbox.close()
