"""What a project has in the queue, and the listeners that work on it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from api.database import Database
from sql import live
from sql.live import LiveListener, ProjectLoad, QueuedFunction, RunningInvocation

FUNCTIONS_SHOWN = 200
RUNNING_SHOWN = 500


class QueueFigures:
    """Reads the queue by function, in bounded time whatever its length."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def summary(self, project_id: UUID) -> dict[str, Any]:
        """Everything but the running invocations."""
        functions = await self._database.read(lambda c: live.queue_by_function(c, project_id, FUNCTIONS_SHOWN))
        listeners = await self._database.read(live.listeners)
        load = await self._database.read(lambda c: live.load(c, project_id))
        return _summary(functions, listeners, load)

    async def running(self, project_id: UUID) -> list[RunningInvocation]:
        """The running invocations, oldest first."""
        return await self._database.read(lambda c: live.running(c, project_id, RUNNING_SHOWN))


def _summary(functions: list[QueuedFunction], listeners: list[LiveListener], load: ProjectLoad) -> dict[str, Any]:
    waiting = [one.oldest_at for one in functions if one.oldest_at is not None]
    return {
        "queued": load.queued,
        "delayed": sum(one.delayed for one in functions),
        "running": sum(one.running for one in functions),
        "max_running": load.max_running,
        "max_queued": load.max_queued,
        "oldest_at": min(waiting, default=None),
        "slots": {"total": sum(one.slots for one in listeners), "busy": sum(one.running for one in listeners)},
        "functions": [{name: getattr(one, name) for name in QueuedFunction.__slots__} for one in functions],
        "listeners": [{name: getattr(one, name) for name in LiveListener.__slots__} for one in listeners],
    }
