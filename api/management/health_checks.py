"""What the database knows of the platform's health."""

from __future__ import annotations

from collections.abc import Sequence

from api.batching import Batcher
from api.database import Database
from sql import health
from sql.health import Health


class HealthChecks:
    """One query answers all who arrived during the one before it: anybody may ask, and a query for each of thousands
    would keep others waiting for the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asking: Batcher[None, Health] = Batcher(self._find)

    async def found(self) -> Health:
        """Raises DomainError if the database cannot be reached."""
        return await self._asking.ask(None)

    async def _find(self, asked: Sequence[None]) -> list[Health]:
        return [await self._database.read(health.health)] * len(asked)
