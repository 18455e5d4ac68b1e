"""Health."""

from __future__ import annotations

from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec

from api.management.health_checks import HealthChecks
from api.management.models.health import Health
from sql.errors import DomainError
from support.loop_watch import LoopWatch


@get(
    "/health",
    operation_id="health",
    summary="Health",
    responses={503: ResponseSpec(Health, description="The database is not reachable.", generate_examples=False)},
)
async def health(
    health_checks: NamedDependency[HealthChecks], loop_watch: NamedDependency[LoopWatch]
) -> Response[Health]:
    """For load balancers and people; needs no credentials."""
    held = round(loop_watch.recent_ms, 1)
    try:
        found = await health_checks.found()
    except DomainError:
        away = Health(
            status="unavailable", database="unavailable", listeners=0, event_loop_held_ms=held, listener_loop_held_ms=0
        )
        return Response(away, status_code=503)
    return Response(
        Health(
            status="ok",
            database="ok",
            listeners=found.listeners,
            event_loop_held_ms=held,
            listener_loop_held_ms=found.loop_held_ms,
        )
    )


router = Router("/", route_handlers=[health], tags=["health"])
