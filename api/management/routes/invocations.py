"""Invocations: a function's history, one invocation, its logs, and cancelling it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter, QueryParameter
from litestar.response import Stream

from api.auth.credentials import CallerRequest, person_or_key, role
from api.auth.functions import function_of
from api.database import Database
from api.http.endpoints import BEARER, BEARER_OR_KEY, FunctionId, problems
from api.http.json_bodies import NUL_MESSAGE
from api.http.models import raw
from api.http.operations import ListLogs
from api.http.paging import Cursor, Limit, Page, make_cursor, read_cursor
from api.http.problems import Problem, invalid, not_found
from api.http.times import DATE_TIME, time_of
from api.invoking.limits import Limits
from api.invoking.models import (
    Changes,
    InvocationDetails,
    InvocationSummary,
    NumberedLogLine,
    Retried,
    RetryRequest,
    Source,
    Status,
    details,
    numbered_log_line_of,
    summary,
)
from api.management.following import Followers, position_of
from sql import callbacks, history
from sql.callbacks import Callback
from sql.history import DEAD, FIRST_ID, LAST_ID, Complete, Filter, Recorded, StoredLogLine

EVENTS = "text/event-stream"
LINES_IN_HISTORY = 100
LINES_IN_DETAILS = 1000
Id = Annotated[UUID, PathParameter(description="Id of the invocation.")]
LineLimit = Annotated[int, QueryParameter(ge=1, le=1000, description="Largest number of lines in the page.")]


async def _last_lines(
    database: Database, found: Sequence[Recorded], limit: int
) -> dict[UUID, tuple[list[StoredLogLine], bool]]:
    """The last lines of each invocation, and whether there are more."""
    ids = [recorded.id for recorded in found if recorded.started_at is not None]
    lines = await database.read(lambda c: history.last_lines(c, ids, limit + 1)) if ids else []
    by_invocation: dict[UUID, list[StoredLogLine]] = defaultdict(list)
    for line in lines:
        by_invocation[line.invocation_id].append(line)
    return {id: (by_invocation[id][-limit:], len(by_invocation[id]) > limit) for id in (r.id for r in found)}


StatusFilter = Annotated[Status | None, QueryParameter(description="Only invocations with this status.")]
SourceFilter = Annotated[Source | None, QueryParameter(description="Only those started by this source.")]
VersionFilter = Annotated[
    int | None, QueryParameter(ge=1, le=2**31 - 1, description="Only invocations of this version.")
]
After = Annotated[
    str | None, QueryParameter(description="Only those created at this time or later.", schema_extra=DATE_TIME)
]
Before = Annotated[
    str | None, QueryParameter(description="Only those created before this time.", schema_extra=DATE_TIME)
]
ErrorFilter = Annotated[
    str | None,
    QueryParameter(
        min_length=1, max_length=200, description="Only those with this text in the type or message of the error."
    ),
]
FingerprintFilter = Annotated[
    UUID | None, QueryParameter(description="Only those with errors of this kind; see GET /functions/{id}/errors.")
]
WithLogs = Annotated[bool, QueryParameter(description="false: omit the logs; the list is empty.")]


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
    status: StatusFilter = None,
    source: SourceFilter = None,
    version: VersionFilter = None,
    created_after: After = None,
    created_before: Before = None,
    error: ErrorFilter = None,
    fingerprint: FingerprintFilter = None,
    logs: WithLogs = True,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[InvocationSummary]:
    """Invocations of a function, newest first, each with its last 100 log lines."""
    function = await function_of(database, request, id)
    criteria = Filter(
        project_id=function.project_id,
        function_id=function.id,
        statuses=None if status is None else [status],
        source=source,
        version=version,
        created_after=time_of("created_after", created_after),
        created_before=time_of("created_before", created_before),
        error=_searchable(error),
        fingerprint=fingerprint,
    )
    return await _page(database, criteria, cursor, limit, logs=logs)


@get(
    "/invocations",
    operation_id="listProjectInvocations",
    summary="List the project's invocations",
    guards=[role("viewer")],
    responses=problems(404, 422),
    security=BEARER,
)
async def list_project_invocations(
    request: CallerRequest,
    database: NamedDependency[Database],
    function: Annotated[str | None, QueryParameter(description="Id or slug: only those of this function.")] = None,
    status: StatusFilter = None,
    source: SourceFilter = None,
    version: VersionFilter = None,
    created_after: After = None,
    created_before: Before = None,
    error: ErrorFilter = None,
    fingerprint: FingerprintFilter = None,
    logs: WithLogs = True,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[InvocationSummary]:
    """Invocations of all functions, newest first, each with its last 100 log lines."""
    criteria = Filter(
        project_id=request.user.project_id,
        function_id=None if function is None else (await function_of(database, request, function)).id,
        statuses=None if status is None else [status],
        source=source,
        version=version,
        created_after=time_of("created_after", created_after),
        created_before=time_of("created_before", created_before),
        error=_searchable(error),
        fingerprint=fingerprint,
    )
    return await _page(database, criteria, cursor, limit, logs=logs)


def _searchable(text: str | None) -> str | None:
    if text is not None and "\x00" in text:
        raise invalid("error", NUL_MESSAGE)
    return text


async def _page(
    database: Database, criteria: Filter, cursor: str | None, limit: int, *, logs: bool
) -> Page[InvocationSummary]:
    before = read_cursor(cursor, UUID, LAST_ID)
    found = await database.read(lambda c: history.list_invocations(c, criteria, before, limit + 1))
    lines = await _last_lines(database, found[:limit] if logs else [], LINES_IN_HISTORY)
    return Page[InvocationSummary].of(
        found, limit, lambda recorded: summary(recorded, *lines.get(recorded.id, ([], False))), attrgetter("id")
    )


async def _recorded(database: Database, request: CallerRequest, id: UUID) -> Complete:
    project_id = request.user.project_id
    recorded = await database.read(lambda c: history.find_invocation(c, project_id, id))
    if recorded is None or not request.user.may_see(recorded.function_id):
        raise not_found("invocation", id)
    return recorded


async def _details(database: Database, recorded: Complete) -> InvocationDetails:
    lines = await _last_lines(database, [recorded], LINES_IN_DETAILS)
    callback: Callback | None = None
    if recorded.callback_url is not None and recorded.finished_at is not None:
        callback = await database.read(lambda c: callbacks.find(c, recorded.id))
    return details(recorded, *lines[recorded.id], callback)


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
    """Its status and all its details. Retry-After is set until it ends."""
    recorded = await _recorded(database, request, id)
    headers = {} if recorded.finished_at else {"Retry-After": "1"}
    return Response(await _details(database, recorded), headers=headers)


@get(
    "/invocations/{id:uuid}/logs",
    operation_id="listLogs",
    operation_class=ListLogs,
    summary="Read or follow an invocation's logs",
    guards=[person_or_key],
    responses={
        204: ResponseSpec(
            None, description="The client has already received the end of the stream.", generate_examples=False
        ),
        **problems(404, 422),
    },
    security=BEARER_OR_KEY,
)
async def list_logs(
    request: CallerRequest,
    database: NamedDependency[Database],
    followers: NamedDependency[Followers],
    id: Id,
    limit: LineLimit = 500,
    cursor: Cursor = None,
) -> Response[Page[NumberedLogLine]]:
    """Every line it printed, oldest first, over all attempts. With `Accept: text/event-stream` they come as events, as
    they are printed, until the invocation ends; `Last-Event-ID` goes on after that line."""
    recorded = await _recorded(database, request, id)
    if EVENTS in request.headers.get("accept", ""):
        return _followed(request, followers, recorded.id)
    attempt, line = read_cursor(cursor, tuple[int, int], (0, 0))
    if not (0 <= attempt < 2**15 and 0 <= line < 2**31):
        attempt, line = 0, 0
    found = await database.read(lambda c: history.lines_after(c, recorded.id, attempt, line, limit + 1))
    page = Page[NumberedLogLine].of(found, limit, numbered_log_line_of, attrgetter("attempt", "line"))
    return Response(page, headers={"Vary": "Accept"})


def _followed(request: CallerRequest, followers: Followers, id: UUID) -> Response[Any]:
    place = position_of(request.headers.get("last-event-id"))
    if place is None:
        return Response(None, status_code=204)  # an EventSource that is told so does not come again
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Accept"}
    return Stream(followers.follow(id, place), media_type=EVENTS, headers=headers)


async def _cancel(database: Database, request: CallerRequest, id: UUID) -> InvocationDetails:
    recorded = await _recorded(database, request, id)
    async with database.changing(request.user.project_id) as connection:
        if not await history.cancel(connection, recorded.id):
            raise Problem(409, "already_ended", "The invocation has already ended.")
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
    """A queued invocation ends at once; a running one is stopped within moments, and may still be shown as running."""
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
    """The same as cancel. History stays: an invocation that has ended is not deleted."""
    await _cancel(database, request, id)


@get(
    "/invocations/{id:uuid}/changes",
    operation_id="getChanges",
    summary="List the changes of a dry run",
    guards=[role("developer")],
    responses=problems(403, 404),
    security=BEARER,
)
async def get_changes(request: CallerRequest, database: NamedDependency[Database], id: Id) -> Response[Changes]:
    """Tables and rows; kept for an hour."""
    recorded = await _recorded(database, request, id)
    changes = await database.read(lambda c: history.changes_of(c, request.user.project_id, recorded.id))
    if changes is None:
        raise Problem(404, "no_changes", "The invocation was not a dry run, has not ended, or is older than an hour.")
    return Response(raw(changes), media_type="application/json")  # type: ignore[arg-type]


@post(
    "/invocations/{id:uuid}/retry",
    operation_id="retryInvocation",
    summary="Retry an invocation",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 404, 409, 429),
    security=BEARER,
)
async def retry_invocation(
    request: CallerRequest, database: NamedDependency[Database], limits: NamedDependency[Limits], id: Id
) -> InvocationDetails:
    """Gives an invocation that did not succeed one more attempt, with the same id, payload and history."""
    recorded = await _recorded(database, request, id)
    await limits.admit_job(request.user.project_id)
    async with database.changing(request.user.project_id) as connection:
        retried = await history.retry(connection, request.user.project_id, [recorded.id])
    if not retried:
        raise Problem(
            409,
            "not_retryable",
            f"The invocation is {recorded.status}, or its function was deleted, or its version is retired.",
            "Only invocations that ended as error, timeout or cancelled can be retried, up to 100 times.",
        )
    return await _details(database, await _recorded(database, request, id))


@post(
    "/invocations/retry",
    operation_id="retryInvocations",
    summary="Retry failed invocations",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 404, 422, 429),
    security=BEARER,
)
async def retry_invocations(
    request: CallerRequest,
    database: NamedDependency[Database],
    limits: NamedDependency[Limits],
    data: JSONBody[RetryRequest],
) -> Retried:
    """Retries these, or the failed ones that match, oldest first, up to `limit`; those that cannot be retried are left
    out. Repeat with `next_cursor` until it is null: each is retried once."""
    project_id = request.user.project_id
    await limits.admit_job(project_id)
    if data.ids is not None and data.model_fields_set != {"ids"}:
        raise invalid("ids", "cannot be combined with other conditions")
    ids, more = data.ids, False
    if ids is None:
        criteria = await _dead(database, request, data)
        after = read_cursor(data.cursor, UUID, FIRST_ID)
        found = await database.read(lambda c: history.ids_of(c, criteria, after, data.limit + 1))
        ids, more = found[: data.limit], len(found) > data.limit
    async with database.changing(request.user.project_id) as connection:
        retried = await history.retry(connection, project_id, ids)
    return Retried(items=sorted(retried), next_cursor=make_cursor(ids[-1]) if more else None)


async def _dead(database: Database, request: CallerRequest, data: RetryRequest) -> Filter:
    """What a request to try again is about, other than single invocations."""
    function = None if data.function is None else await function_of(database, request, data.function)
    return Filter(
        project_id=request.user.project_id,
        function_id=None if function is None else function.id,
        statuses=DEAD if data.status is None else [data.status],
        source=data.source,
        version=data.version,
        created_after=data.created_after,
        created_before=data.created_before,
        error=data.error,
    )


router = Router(
    "/",
    route_handlers=[
        list_invocations,
        list_project_invocations,
        get_invocation,
        list_logs,
        get_changes,
        cancel_invocation,
        delete_invocation,
        retry_invocation,
        retry_invocations,
    ],
    tags=["invocations"],
)
