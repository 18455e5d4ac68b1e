"""Starts a listener process from its environment."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

import uvloop
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from listener.layers import LayerError
from listener.monitoring import Monitoring
from listener.service import Listener
from listener.settings import Settings
from observing.admin import AdminPortError
from observing.events import ImageTemplateRefused, SandboxStarted
from observing.logs import log_to_stderr
from observing.stream import emit
from sandbox import ImageTemplateLimits, ImageTemplateState, Sandbox, SandboxError
from sql.connecting import KEEPALIVE_OPTIONS, with_required_auth
from support.sealing import SealingError
from support.settings import SettingsError, read_settings

POOL_SIZE = 6
BELIEVED_SECONDS = 1.0
DEEPEST = 32  # the maximum that zmesh.settings allows
MOST_RUNS = 4000  # as many as there are uids for runs
OWN_FILES = 64  # what a listener has open without runs, and a few more
FILES_PER_RUN, MOST_FILES_PER_RUN = 4, 16  # its channel and output; with sessions and children that wait to be runs


def main() -> int:
    """Run until SIGTERM or SIGINT; returns the exit status."""
    try:
        settings = read_settings(Settings, os.environ)
        log_to_stderr(settings.log_format, settings.log_level)
        _allow_files(settings.slots)
        uvloop.run(_serve(settings))
    except (SettingsError, SealingError, SandboxError, AdminPortError, LayerError) as error:
        print(f"The listener cannot start. {error}", file=sys.stderr)
        return 2
    return 0


def _allow_files(slots: int) -> None:
    """Raise the limit on open files, as far as we may, to what so many slots can use. Raises SettingsError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    least = OWN_FILES + FILES_PER_RUN * slots
    if most < least:
        raise SettingsError(
            f"ZMESH_SLOTS is {slots}, for which a listener must be able to open {least} files, but the limit here is "
            f"{hard}: raise it (ulimit -n; LimitNOFILE= of systemd; ulimits of a container), or set fewer slots."
        )
    wanted = min(OWN_FILES + MOST_FILES_PER_RUN * slots, most)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runs = min(
        settings.slots * (1 + DEEPEST) + settings.builds, MOST_RUNS
    )  # a run that waits lends its slot, but its process stays
    sandbox = Sandbox(
        slots=runs,
        run_dir=settings.run_dir,
        hidden=platform_folders(),
        images=settings.layers_dir,
        image_templates=ImageTemplateLimits(settings.package_templates, settings.package_templates_mb),
        on_image_refused=_tell_of_refusal,
    )
    await sandbox.start()
    try:
        _require(settings.sandbox_required, sandbox)
        async with connection_pool(settings.database_url) as pool:
            listener = Listener(settings, sandbox, pool)
            monitoring = Monitoring(settings, sandbox, pool, listener, stop)
            await monitoring.start()
            await listener.run(stop)
            monitoring.close()
    finally:
        await sandbox.close()


def connection_pool(database_url: str) -> AsyncConnectionPool:
    """The listener's connections, not yet open."""
    seen_alive: WeakKeyDictionary[AsyncConnection, float] = WeakKeyDictionary()

    async def check(connection: AsyncConnection) -> None:
        """Test a connection before its use, but at most once a second: each test costs a round trip."""
        if time.monotonic() - seen_alive.get(connection, 0.0) > BELIEVED_SECONDS:
            await AsyncConnectionPool.check_connection(connection)
            seen_alive[connection] = time.monotonic()

    return AsyncConnectionPool(
        with_required_auth(database_url),
        min_size=2,
        max_size=POOL_SIZE,
        open=False,
        timeout=5,
        check=check,
        kwargs={**KEEPALIVE_OPTIONS, "autocommit": True, "application_name": "zmesh listener"},
    )


def _tell_of_refusal(state: ImageTemplateState) -> None:
    language: Literal["javascript", "python"] = "javascript" if state.runtime == "node" else "python"
    function = None if state.init_once is None else state.init_once.function
    emit(ImageTemplateRefused(state.image, language, state.why_not or "", function))


def _require(level: str | None, sandbox: Sandbox) -> None:
    report = sandbox.report()
    emit(SandboxStarted(report.level, report.mode, report.node, tuple(report.gaps)))
    if level == "full" and report.level != "full":
        raise SettingsError(
            f"ZMESH_SANDBOX_REQUIRED is full, but here runs are isolated less: {'; '.join(report.gaps)}"
        )


def platform_folders() -> list[Path]:
    """Folders with the platform's own code, which no function needs to read."""
    packages = Path(__file__).resolve().parent.parent
    return [packages / name for name in ("api", "cli", "examples", "listener", "observing", "sql", "support")]
