"""What is happening now: the queue, and changes and logs as they come."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Stream

from api.auth.credentials import CallerRequest, check_again, role
from api.auth.functions import function_of
from api.database import Database
from api.http.endpoints import BEARER, FunctionId, problems
from api.http.operations import EventStream
from api.http.problems import invalid
from api.management.live import TOPICS, LiveFeeds
from api.management.models.live import QueueDetails
from api.management.queue import QueueFigures

EVENTS = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
WATCHED = ("invocations", "functions", "queue")


@get("/queue", operation_id="getQueue", summary="The queue, runs and listeners", responses=problems())
async def get_queue(request: CallerRequest, queue: NamedDependency[QueueFigures]) -> QueueDetails:
    """What waits by function, what runs now, and the listeners with their slots."""
    summary = await queue.summary(request.user.project_id)
    running = await queue.running(request.user.project_id)
    rows = [{name: getattr(one, name) for name in one.__slots__} for one in running]
    return QueueDetails.model_construct(**summary, running_now=rows)  # type: ignore[arg-type]


@get(
    "/live",
    operation_id="followProject",
    operation_class=EventStream,
    summary="Follow the project's changes",
    responses=problems(422),
)
async def follow_project(
    request: CallerRequest,
    feeds: NamedDependency[LiveFeeds],
    topics: Annotated[
        str, QueryParameter(max_length=100, description="Some of invocations, functions and queue, by commas.")
    ] = ",".join(WATCHED),
) -> Response[Any]:
    """Server-sent events: `invocations` with those that were inserted, were started or ended, `functions` with the ids
    of those that changed, `queue` as `GET /queue` without runs, every two seconds. Nothing is repeated after a lost
    connection: read the lists again."""
    wanted = topics.split(",")
    if not set(wanted) <= set(WATCHED):
        raise invalid("topics", f"must be some of {', '.join(WATCHED)}, separated by commas")
    return _stream(request, feeds, wanted, None)


@get(
    "/logs",
    operation_id="followLogs",
    operation_class=EventStream,
    summary="Follow the logs of all functions",
    responses=problems(),
)
async def follow_logs(request: CallerRequest, feeds: NamedDependency[LiveFeeds]) -> Response[Any]:
    """Server-sent events `log`, a line each, as lines are printed. Of an invocation that prints more than a hundred
    lines in half a second, some are left out; its own log has them all."""
    return _stream(request, feeds, ["logs"], None)


@get(
    "/functions/{id:str}/logs",
    operation_id="followFunctionLogs",
    operation_class=EventStream,
    summary="Follow the logs of a function",
    responses=problems(404),
)
async def follow_function_logs(
    request: CallerRequest, database: NamedDependency[Database], feeds: NamedDependency[LiveFeeds], id: FunctionId
) -> Response[Any]:
    """The same for one function."""
    function = await function_of(database, request, id)
    return _stream(request, feeds, ["logs"], function.id)


def _stream(request: CallerRequest, feeds: LiveFeeds, topics: list[str], function_id: UUID | None) -> Response[Any]:
    assert set(topics) <= set(TOPICS)
    project_id = request.user.project_id
    feeds.require_room(project_id)
    events = feeds.follow(project_id, topics, function_id, lambda: check_again(request))
    return Stream(events, media_type=EVENTS, headers=HEADERS)


router = Router(
    "/",
    route_handlers=[get_queue, follow_project, follow_logs, follow_function_logs],
    guards=[role("viewer")],
    security=BEARER,
    tags=["live"],
)
