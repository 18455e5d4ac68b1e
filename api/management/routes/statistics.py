"""Figures of functions and of the project."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from api.auth.credentials import CallerRequest, role
from api.auth.functions import function_of
from api.database import Database
from api.http.endpoints import BEARER, FunctionId, problems
from api.http.json_bodies import NUL_MESSAGE
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import invalid
from api.http.times import DATE_TIME, time_of
from api.management.models.statistics import (
    DeploymentTime,
    ErrorKindDetails,
    ErrorKinds,
    Figures,
    FunctionStatistics,
    FunctionSummary,
    LastHour,
    Percentiles,
    Point,
    ProjectLimitsDetails,
    ProjectStatistics,
    Usage,
    UsagePoint,
    VersionFigures,
)
from api.management.percentiles import FRACTIONS, merged, percentile
from sql import live, statistics
from sql.statistics import (
    METRICS,
    SORTS,
    Callers,
    Counts,
    Durations,
    FunctionsWanted,
    Histogram,
    ListedFunction,
    Minute,
    Range,
)

HOUR = 3600
STEPS = (60, 300, 900, HOUR, 6 * HOUR, 24 * HOUR)
MOST_POINTS = 500
POINTS_BY_DEFAULT = 120
MINUTES_KEPT = timedelta(hours=24)
HOURS_KEPT = timedelta(days=31)
DEPLOYMENTS_SHOWN = 100
KINDS_SHOWN = 50
CALLS_LOOKED_AT = 10  # for what starts a function
OUTCOMES = ("success", "error", "timeout", "cancelled")

Since = Annotated[
    str | None, QueryParameter(description="Default: an hour ago; 31 days at most.", schema_extra=DATE_TIME)
]
Until = Annotated[str | None, QueryParameter(description="Default: now.", schema_extra=DATE_TIME)]
Step = Annotated[
    int | None,
    QueryParameter(
        description="Seconds: 60, 300, 900, 3600, 21600 or 86400; below 3600 for the last 24 hours only. "
        "Default: the smallest that gives no more than 120 points."
    ),
]
Histograms = Mapping[str, Mapping[int, int]]


def _range(since: str | None, until: str | None, step: int | None) -> Range:
    """Raises Problem 422."""
    now = datetime.now(UTC)
    end = min(time_of("until", until) or now, now)
    begin = time_of("since", since) or end - timedelta(hours=1)
    if begin < now - HOURS_KEPT:
        raise invalid("since", "must be within the last 31 days")
    if begin >= end:
        raise invalid("since", "must be before until")
    if step is None:
        step = _fitting_step(now - begin, end - begin)
    if step not in STEPS:
        raise invalid("step", f"must be one of {', '.join(map(str, STEPS))}")
    if step < HOUR and begin < now - MINUTES_KEPT:
        raise invalid("step", "must be at least 3600 for times more than 24 hours ago")
    begin = datetime.fromtimestamp(begin.timestamp() // step * step, UTC)
    if (end - begin).total_seconds() / step > MOST_POINTS:
        raise invalid("step", f"gives more than {MOST_POINTS} points; choose a longer one")
    return Range(begin, end, step, hourly=step >= HOUR)


def _fitting_step(age: timedelta, length: timedelta) -> int:
    possible = [step for step in STEPS if step >= HOUR or age <= MINUTES_KEPT]
    return next((step for step in possible if length.total_seconds() / step <= POINTS_BY_DEFAULT), STEPS[-1])


def _percentiles(histogram: Mapping[int, int] | None) -> Percentiles | None:
    if not histogram:
        return None
    p50, p95, p99 = (percentile(histogram, fraction) for fraction in FRACTIONS)
    return Percentiles.model_construct(p50=p50, p95=p95, p99=p99)


def _figures(counts: Iterable[Counts], histograms: Histograms) -> dict[str, Any]:
    rows = list(counts)
    calls = {outcome: sum(getattr(row, outcome) for row in rows) for outcome in OUTCOMES}
    return {**calls, **{metric: _percentiles(histograms.get(metric)) for metric in METRICS}}


class _Read:
    """What was read of a function or project, by step and by version."""

    def __init__(self, range: Range, counts: Sequence[Counts], histograms: Sequence[Histogram]) -> None:
        self._range = range
        self._steps = {row.at: row for row in counts if row.at is not None}
        self._versions = {row.version or 0: row for row in counts if row.at is None}
        self._histograms: dict[datetime | int | None, dict[str, dict[int, int]]] = defaultdict(dict)
        for one in histograms:
            key = one.version if one.at is None else one.at
            self._histograms[key][one.metric] = dict(zip(one.buckets, one.counts, strict=True))

    @classmethod
    async def of(cls, database: Database, id: UUID, range: Range) -> _Read:
        counts = await database.read(lambda c: statistics.counts(c, id, range))
        return cls(range, counts, await database.read(lambda c: statistics.histograms(c, id, range)))

    def points(self) -> list[Point]:
        at, points = self._range.since, []
        while at < self._range.until:
            row = self._steps.get(at)
            figures = _figures([] if row is None else [row], self._histograms.get(at, {}))
            points.append(Point.model_construct(at=at, **figures))
            at += timedelta(seconds=self._range.step)
        return points

    def versions(self) -> list[VersionFigures]:
        return [
            VersionFigures.model_construct(version=number, **_figures([row], self._histograms.get(number, {})))
            for number, row in sorted(self._versions.items(), reverse=True)
        ]

    def total(self) -> Figures:
        steps = [self._histograms[at] for at in self._steps if at in self._histograms]
        together = {metric: merged(one.get(metric, {}) for one in steps) for metric in METRICS}
        return Figures.model_construct(**_figures(self._steps.values(), together))


@get(
    "/functions/{id:str}/statistics",
    operation_id="getFunctionStatistics",
    summary="Read statistics of a function",
    responses=problems(404, 422),
)
async def function_statistics(
    request: CallerRequest,
    database: NamedDependency[Database],
    id: FunctionId,
    since: Since = None,
    until: Until = None,
    step: Step = None,
) -> FunctionStatistics:
    """Invocations by the time they ended, in steps, and by version. Figures lag by about five seconds."""
    range = _range(since, until, step)
    function = await function_of(database, request, id)
    read = await _Read.of(database, function.id, range)
    deployed = await database.read(lambda c: statistics.deployments(c, function.id, range, DEPLOYMENTS_SHOWN))
    return FunctionStatistics.model_construct(
        since=range.since,
        until=range.until,
        step=range.step,
        points=read.points(),
        total=read.total(),
        versions=read.versions(),
        deployments=[
            DeploymentTime.model_construct(version=one.version, at=one.at, deployed_by=one.deployed_by)
            for one in deployed
        ],
    )


@get(
    "/statistics",
    operation_id="getStatistics",
    summary="Read statistics of the project",
    responses=problems(422),
)
async def project_statistics(
    request: CallerRequest,
    database: NamedDependency[Database],
    since: Since = None,
    until: Until = None,
    step: Step = None,
) -> ProjectStatistics:
    """The same for all functions together, those that were deleted included."""
    range = _range(since, until, step)
    read = await _Read.of(database, request.user.project_id, range)
    return ProjectStatistics.model_construct(
        since=range.since, until=range.until, step=range.step, points=read.points(), total=read.total()
    )


@get(
    "/statistics/functions",
    operation_id="listFunctionSummaries",
    summary="List functions with statistics of the last hour",
    responses=problems(422),
)
async def list_summaries(
    request: CallerRequest,
    database: NamedDependency[Database],
    search: Annotated[
        str | None, QueryParameter(min_length=1, max_length=100, description="A part of name, slug or a tag.")
    ] = None,
    show: Annotated[
        Literal["all", "failing", "disabled"], QueryParameter(description="failing: with errors in the last hour.")
    ] = "all",
    sort: Annotated[
        Literal["name", "calls", "errors", "deployed"],
        QueryParameter(description="name: by slug; the others begin with the largest or latest."),
    ] = "name",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[FunctionSummary]:
    """Without their code. Calls and errors are those of the last 60 minutes, in all and by minute."""
    if search is not None and "\x00" in search:
        raise invalid("search", NUL_MESSAGE)
    wanted = FunctionsWanted(request.user.project_id, search, show, sort)
    after = _place(cursor, sort)
    found = await database.read(lambda c: statistics.list_functions(c, wanted, after, limit + 1))
    activity = await _Activity.of(database, [one.id for one in found[:limit]])
    return Page[FunctionSummary].of(found, limit, activity.summary, lambda one: (one.key, one.id))


def _place(cursor: str | None, sort: str) -> tuple[str | float, UUID] | None:
    if cursor is None:
        return None
    if SORTS[sort][1]:
        return read_cursor(cursor, tuple[float, UUID], (0.0, UUID(int=0)))
    return read_cursor(cursor, tuple[str, UUID], ("", UUID(int=0)))


class _Activity:
    """What some functions did within the last hour, and what starts them."""

    def __init__(self, minutes: Iterable[Minute], durations: Iterable[Durations], callers: Iterable[Callers]) -> None:
        self._minutes: dict[UUID, list[Minute]] = defaultdict(list)
        for minute in minutes:
            self._minutes[minute.function_id].append(minute)
        self._durations = {one.function_id: dict(zip(one.buckets, one.counts, strict=True)) for one in durations}
        self._callers = {one.function_id: one.sources for one in callers}

    @classmethod
    async def of(cls, database: Database, ids: Sequence[UUID]) -> _Activity:
        minutes = await database.read(lambda c: statistics.last_hour(c, ids))
        durations = await database.read(lambda c: statistics.last_hour_durations(c, ids))
        return cls(minutes, durations, await database.read(lambda c: statistics.callers(c, ids, CALLS_LOOKED_AT)))

    def summary(self, one: ListedFunction) -> FunctionSummary:
        series, errors = [0] * 60, [0] * 60
        for minute in self._minutes[one.id]:
            if 0 <= minute.ago < 60:
                series[59 - minute.ago], errors[59 - minute.ago] = minute.calls, minute.errors
        hour = LastHour.model_construct(
            calls=sum(series),
            errors=sum(errors),
            series=series,
            error_series=errors,
            duration_ms=_percentiles(self._durations.get(one.id)),
        )
        known = {name: getattr(one, name) for name in FunctionSummary.model_fields.keys() - {"called_by", "last_hour"}}
        known["called_by"] = self._callers.get(one.id, [])
        return FunctionSummary.model_construct(**known, last_hour=hour)


@get(
    "/functions/{id:str}/errors",
    operation_id="listErrors",
    summary="List kinds of errors of a function",
    responses=problems(404, 422),
)
async def list_errors(
    request: CallerRequest, database: NamedDependency[Database], id: FunctionId, since: Since = None
) -> ErrorKinds:
    """The 50 most frequent ones since the full hour of `since`. `GET /invocations?fingerprint=` lists their
    invocations."""
    begin = _range(since, None, None).since
    function = await function_of(database, request, id)
    found = await database.read(lambda c: statistics.error_kinds(c, function.id, begin, KINDS_SHOWN))
    names = ErrorKindDetails.model_fields
    kinds = [ErrorKindDetails.model_construct(**{name: getattr(kind, name) for name in names}) for kind in found]
    return ErrorKinds(items=kinds)


@get("/usage", operation_id="getUsage", summary="What the project uses", responses=problems(422))
async def usage(
    request: CallerRequest,
    database: NamedDependency[Database],
    since: Since = None,
    until: Until = None,
    step: Step = None,
) -> Usage:
    """Calls, durations and CPU time of all functions in steps, and the limits, with how much of each there is."""
    range, project_id = _range(since, until, step), request.user.project_id
    spent = await database.read(lambda c: statistics.spent(c, project_id, range))
    found = await database.read(lambda c: live.limits(c, project_id))
    return Usage(
        since=range.since,
        until=range.until,
        step=range.step,
        points=[UsagePoint(**{name: getattr(one, name) for name in UsagePoint.model_fields}) for one in spent],
        limits=ProjectLimitsDetails(**{name: getattr(found, name) for name in ProjectLimitsDetails.model_fields}),
    )


router = Router(
    "/",
    route_handlers=[function_statistics, project_statistics, list_summaries, list_errors, usage],
    guards=[role("viewer")],
    security=BEARER,
    tags=["statistics"],
)
