"""Invocations: a function's history, one invocation, its logs, and cancelling it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, get_args
from uuid import UUID

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter

from api.auth import person_or_key, role
from api.database import Database
from api.models.base import Page, page_cursor, read_cursor
from api.models.invocations import (
    InvocationDetails,
    InvocationSummary,
    NumberedLine,
    Status,
    details,
    numbered,
    summary,
)
from api.problems import Problem, not_found
from api.routes.common import BEARER, BEARER_OR_KEY, CallerRequest, Cursor, FunctionId, Limit, problems
from api.routes.functions import function_of
from sql import invocations
from sql.invocations import LogLine, Recorded

LAST_ID = UUID(int=2**128 - 1)
LINES_IN_HISTORY = 100
LINES_IN_DETAILS = 1000
Id = Annotated[UUID, PathParameter(description="Id of the invocation.")]
LineLimit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many lines a page has at most.")]


async def _last_lines(
    database: Database, found: Sequence[Recorded], limit: int
) -> dict[UUID, tuple[list[LogLine], bool]]:
    """The last lines of each invocation, and whether there are more."""
    ids = [recorded.id for recorded in found if recorded.started_at is not None]
    lines = await database.read(lambda c: invocations.last_lines(c, ids, limit + 1)) if ids else []
    by_invocation: dict[UUID, list[LogLine]] = defaultdict(list)
    for line in lines:
        by_invocation[line.invocation_id].append(line)
    return {id: (by_invocation[id][-limit:], len(by_invocation[id]) > limit) for id in (r.id for r in found)}


@get(
    "/functions/{id:str}/invocations",
    operation_id="listInvocations",
    summary="History and logs",
    guards=[role("viewer")],
    responses=problems(404, 422),
    security=BEARER,
)
async def list_invocations(
    request: CallerRequest,
    database: NamedDependency[Database],
    id: FunctionId,
    status: Annotated[Status | None, QueryParameter(description="Only invocations of this status.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[InvocationSummary]:
    """Invocations of a function, newest first, each with its last 100 log lines."""
    function = await function_of(database, request, id)
    before = read_cursor(cursor, UUID, LAST_ID)
    statuses = get_args(Status) if status is None else (status,)
    found = await database.read(lambda c: invocations.history(c, function.id, statuses, before, limit + 1))
    shown = found[:limit]
    lines = await _last_lines(database, shown, LINES_IN_HISTORY)
    return Page[InvocationSummary].model_construct(
        items=[summary(recorded, *lines[recorded.id]) for recorded in shown],
        next_cursor=page_cursor(str(shown[-1].id)) if len(found) > limit else None,
    )


async def _recorded(database: Database, request: CallerRequest, id: UUID) -> Recorded:
    project_id = request.user.project_id
    recorded = await database.read(lambda c: invocations.find_invocation(c, project_id, id))
    if recorded is None or not request.user.may_see(recorded.function_id):
        raise not_found("invocation", id)
    return recorded


async def _details(database: Database, recorded: Recorded) -> InvocationDetails:
    lines = await _last_lines(database, [recorded], LINES_IN_DETAILS)
    return details(recorded, *lines[recorded.id])


@get(
    "/invocations/{id:uuid}",
    operation_id="getInvocation",
    summary="Read an invocation",
    guards=[person_or_key],
    responses=problems(404),
    security=BEARER_OR_KEY,
)
async def get_invocation(
    request: CallerRequest, database: NamedDependency[Database], id: Id
) -> Response[InvocationDetails]:
    """Where it stands, and all that is known about it. Retry-After is set while it has not ended."""
    recorded = await _recorded(database, request, id)
    headers = {} if recorded.finished_at else {"Retry-After": "1"}
    return Response(await _details(database, recorded), headers=headers)


@get(
    "/invocations/{id:uuid}/logs",
    operation_id="listLogs",
    summary="Read an invocation's logs",
    guards=[person_or_key],
    responses=problems(404, 422),
    security=BEARER_OR_KEY,
)
async def list_logs(
    request: CallerRequest, database: NamedDependency[Database], id: Id, limit: LineLimit = 500, cursor: Cursor = None
) -> Page[NumberedLine]:
    """Every line it printed, oldest first, over all attempts."""
    recorded = await _recorded(database, request, id)
    attempt, line = read_cursor(cursor, tuple[int, int], (0, 0))
    if not (0 <= attempt < 2**15 and 0 <= line < 2**31):
        attempt, line = 0, 0
    found = await database.read(lambda c: invocations.lines_after(c, recorded.id, attempt, line, limit + 1))
    last = found[limit - 1] if len(found) > limit else None
    return Page[NumberedLine].model_construct(
        items=[numbered(line) for line in found[:limit]],
        next_cursor=page_cursor((last.attempt, last.line)) if last else None,
    )


async def _cancel(database: Database, request: CallerRequest, id: UUID) -> InvocationDetails:
    recorded = await _recorded(database, request, id)
    async with database.checked() as connection:
        if not await invocations.cancel(connection, recorded.id):
            raise Problem(409, "already_ended", "The invocation has ended already.")
    return await _details(database, await _recorded(database, request, id))


@post(
    "/invocations/{id:uuid}/cancel",
    operation_id="cancelInvocation",
    summary="Cancel an invocation",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 404, 409),
    security=BEARER,
)
async def cancel_invocation(request: CallerRequest, database: NamedDependency[Database], id: Id) -> InvocationDetails:
    """What is queued ends at once; what runs is stopped within moments, and may yet be shown as running."""
    return await _cancel(database, request, id)


@delete(
    "/invocations/{id:uuid}",
    operation_id="deleteInvocation",
    summary="Cancel an invocation",
    guards=[role("developer")],
    responses=problems(403, 404, 409),
    security=BEARER,
)
async def delete_invocation(request: CallerRequest, database: NamedDependency[Database], id: Id) -> None:
    """The same as cancelling. History stays: an invocation that has ended is not deleted."""
    await _cancel(database, request, id)


router = Router(
    "/",
    route_handlers=[list_invocations, get_invocation, list_logs, cancel_invocation, delete_invocation],
    tags=["invocations"],
)
