"""Schedules."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from operator import attrgetter
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter

from api.auth.credentials import DEPLOY_KEYS, CallerRequest, function_disabled, role
from api.auth.functions import function_of
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.json_bodies import LARGEST_PAYLOAD, NUL_MESSAGE
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import invalid, not_found
from api.management.models.schedules import (
    ScheduleChange,
    ScheduleDetails,
    SchedulePreview,
    ScheduleRunDetails,
    ScheduleStarted,
    ScheduleToCreate,
)
from sql import schedules
from sql.errors import Conflict
from sql.schedules import Schedule

LAST_TIME = datetime.max.replace(tzinfo=UTC)
Id = Annotated[UUID, PathParameter(description="Id of the schedule.")]


async def _schedule(database: Database, request: CallerRequest, id: UUID) -> Schedule:
    project_id = request.user.project_id
    schedule = await database.read(lambda c: schedules.find_schedule(c, project_id, id))
    if schedule is None or not request.user.may_see(schedule.function_id):
        raise not_found("schedule", id)
    return schedule


@get(
    "/schedules",
    operation_id="listSchedules",
    opt={DEPLOY_KEYS: True},
    summary="List schedules",
    responses=problems(422),
)
async def list_schedules(
    request: CallerRequest,
    database: NamedDependency[Database],
    name: Annotated[str | None, QueryParameter(max_length=100, description="Only the one with this name.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[ScheduleDetails]:
    """Ordered by name."""
    after, project_id = read_cursor(cursor, str, ""), request.user.project_id
    if name is not None and "\x00" in name:
        return Page[ScheduleDetails].model_construct(items=[], next_cursor=None)
    found = await database.read(
        lambda c: schedules.list_schedules(c, project_id, name, after, limit + 1, request.user.named_functions)
    )
    return Page[ScheduleDetails].of(found, limit, ScheduleDetails.of, attrgetter("name"))


@post(
    "/schedules",
    operation_id="createSchedule",
    opt={DEPLOY_KEYS: True},
    summary="Create a schedule",
    guards=[role("developer")],
    responses=problems(403, 404, 409, 422),
)
async def create_schedule(
    request: CallerRequest, database: NamedDependency[Database], data: JSONBody[ScheduleToCreate]
) -> ScheduleDetails:
    """pg_cron fires it where it is installed, else a listener."""
    function = await function_of(database, request, data.function_id)
    values = data.model_dump() | {
        "function_id": function.id,
        "name": data.name or f"{function.slug[:90]}-{secrets.token_hex(3)}",
        "payload": msgspec.json.encode(data.payload).decode(),
    }
    async with database.changing(request.user.project_id) as connection:
        id = await schedules.insert_schedule(connection, function.project_id, values)
    return ScheduleDetails.of(await _schedule(database, request, id))


@get(
    "/schedules/preview",
    operation_id="previewSchedule",
    opt={DEPLOY_KEYS: True},
    summary="Preview the next due times of a cron expression",
    responses=problems(422),
)
async def preview_schedule(
    database: NamedDependency[Database],
    cron: Annotated[str, QueryParameter(min_length=1, max_length=200, description="Cron expression of a schedule.")],
    timezone: Annotated[str, QueryParameter(max_length=100, description="IANA name, such as Europe/Berlin.")] = "UTC",
    count: Annotated[int, QueryParameter(ge=1, le=100, description="Number of due times.")] = 5,
) -> SchedulePreview:
    """Validates the expression as creating a schedule does."""
    for field, text in (("cron", cron), ("timezone", timezone)):
        if "\x00" in text:
            raise invalid(field, NUL_MESSAGE)
    due_at = await database.read(lambda c: schedules.preview(c, cron, timezone, count))
    return SchedulePreview(cron=cron, timezone=timezone, due_at=due_at)


@get(
    "/schedules/{id:uuid}",
    operation_id="getSchedule",
    opt={DEPLOY_KEYS: True},
    summary="Read a schedule",
    responses=problems(404),
)
async def get_schedule(request: CallerRequest, database: NamedDependency[Database], id: Id) -> ScheduleDetails:
    """Includes the next due time."""
    return ScheduleDetails.of(await _schedule(database, request, id))


@patch(
    "/schedules/{id:uuid}",
    operation_id="updateSchedule",
    opt={DEPLOY_KEYS: True},
    summary="Update a schedule",
    guards=[role("developer")],
    responses=problems(403, 404, 409, 422),
)
async def update_schedule(
    request: CallerRequest, database: NamedDependency[Database], id: Id, data: JSONBody[ScheduleChange]
) -> ScheduleDetails:
    """Setting `enabled` to false pauses it; due times during the pause are skipped."""
    schedule = await _schedule(database, request, id)
    changes = data.changes()
    if "function_id" in changes:
        changes["function_id"] = (await function_of(database, request, changes["function_id"])).id
    if "payload" in changes:
        changes["payload"] = msgspec.json.encode(changes["payload"]).decode()
    if changes:
        async with database.changing(request.user.project_id) as connection:
            await schedules.update_schedule(connection, schedule.id, changes)
    return ScheduleDetails.of(await _schedule(database, request, id))


@delete(
    "/schedules/{id:uuid}",
    operation_id="deleteSchedule",
    opt={DEPLOY_KEYS: True},
    summary="Delete a schedule",
    guards=[role("developer")],
    responses=problems(403, 404),
)
async def delete_schedule(request: CallerRequest, database: NamedDependency[Database], id: Id) -> None:
    """Its invocations stay in the history."""
    schedule = await _schedule(database, request, id)
    async with database.changing(request.user.project_id) as connection:
        if not await schedules.delete_schedule(connection, schedule.project_id, id):
            raise not_found("schedule", id)


@post(
    "/schedules/{id:uuid}/run",
    operation_id="runSchedule",
    summary="Run a schedule now",
    guards=[role("developer")],
    status_code=202,
    responses=problems(403, 404, 409),
)
async def run_schedule(
    request: CallerRequest, database: NamedDependency[Database], id: Id
) -> Response[ScheduleStarted]:
    """Invokes the function now, even if the schedule is paused or its previous run has not ended."""
    schedule = await _schedule(database, request, id)
    try:
        async with database.changing(request.user.project_id) as connection:
            invocation_id = await schedules.run_schedule(connection, schedule.id)
    except Conflict as error:
        raise function_disabled(schedule.function) from error
    started = ScheduleStarted(invocation_id=invocation_id)
    return Response(started, headers={"Location": f"/invocations/{invocation_id}"})


@get(
    "/schedules/{id:uuid}/runs",
    operation_id="listScheduleRuns",
    summary="List due times and their outcomes",
    responses=problems(404, 422),
)
async def list_runs(
    request: CallerRequest, database: NamedDependency[Database], id: Id, limit: Limit = 50, cursor: Cursor = None
) -> Page[ScheduleRunDetails]:
    """Latest first, including skipped ones with the reason."""
    schedule = await _schedule(database, request, id)
    before = read_cursor(cursor, datetime, LAST_TIME)
    found = await database.read(lambda c: schedules.list_runs(c, schedule.id, before, limit + 1))
    return Page[ScheduleRunDetails].of(found, limit, ScheduleRunDetails.of, attrgetter("due_at"))


router = Router(
    "/",
    route_handlers=[
        *(list_schedules, create_schedule, preview_schedule, get_schedule, update_schedule, delete_schedule),
        *(run_schedule, list_runs),
    ],
    guards=[role("viewer")],
    security=BEARER,
    tags=["schedules"],
    request_max_body_size=LARGEST_PAYLOAD,
)
