"""Health."""

from __future__ import annotations

from typing import Literal

from litestar import Response, Router, get
from litestar.openapi.datastructures import ResponseSpec
from pydantic import BaseModel

from api.database import Database
from sql import health as queries
from sql.errors import DomainError


class Health(BaseModel):
    """Whether the API can work. Without a listener it accepts invocations that nobody runs."""

    status: Literal["ok", "unavailable"]
    database: Literal["ok", "unavailable"]
    listeners: int


@get(
    "/health",
    operation_id="health",
    summary="Health",
    responses={503: ResponseSpec(Health, description="The database is not reachable.", generate_examples=False)},
)
async def health(database: Database) -> Response[Health]:
    """For load balancers and people; needs no credentials."""
    try:
        found = await database.read(queries.health)
    except DomainError:
        return Response(Health(status="unavailable", database="unavailable", listeners=0), status_code=503)
    return Response(Health(status="ok", database="ok", listeners=found.listeners))


router = Router("/", route_handlers=[health], tags=["health"])
