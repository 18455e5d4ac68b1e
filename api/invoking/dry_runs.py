"""Dry runs: nothing that they do has an effect, and their answers tell what it would have been."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from litestar import Response

from api.database import Database
from api.http.models import raw
from api.http.problems import Problem, of_domain_error
from api.invoking.calls import CallResult
from api.invoking.models import log_line_of
from api.invoking.request_headers import Preference
from api.invoking.responses import envelope_response, respond
from sql import catalog, history
from sql.catalog import Function
from sql.errors import DomainError, translated
from sql.invocations import Options
from support.invocation_options import CALLBACK_URL, DELAY, EXPIRES_AT, IDEMPOTENCY_KEY, RUN_AT

MOST_LINES = 1000
WITHOUT_EFFECT = (RUN_AT, DELAY, EXPIRES_AT, CALLBACK_URL, IDEMPOTENCY_KEY)


def require_none_of(headers: Any) -> None:
    """Raises Problem 400 for options that a dry run cannot honour: it is now, and only its caller learns of it."""
    for option in WITHOUT_EFFECT:
        if option.header in headers:
            raise Problem(400, "invalid_header", f"{option.header} cannot be combined with dry_run.")


async def dry_version(database: Database, function: Function, options: Options) -> int:
    """The number of a draft of the version to run, whose runs are dry. Raises Problem."""
    try:
        with translated():
            async with database.changing(function.project_id) as connection:
                return await catalog.save_dry_run(connection, function.id, options.version, options.alias)
    except DomainError as error:
        raise of_domain_error(error) from error


async def respond_dry(
    database: Database, project_id: UUID, result: CallResult, preference: Preference
) -> Response[Any]:
    """The envelope of a dry run: with its log, and what it would have changed once it has ended."""
    more: dict[str, Any] = {"logs": [], "changes": None}
    if result.state.final:
        id = result.state.id
        lines = await database.read(lambda c: history.lines_after(c, id, 0, 0, MOST_LINES))
        changes = await database.read(lambda c: history.changes_of(c, project_id, id))
        more = {"logs": [log_line_of(line).model_dump() for line in lines], "changes": raw(changes)}
    return await respond(envelope_response, result, preference, more=more)
