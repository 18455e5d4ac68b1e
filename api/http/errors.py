"""Every exception that can leave an endpoint, as problem details."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from api.http.problems import MEDIA_TYPE, Problem, busy, invalid, of_domain_error, too_large
from observing.events import InternalError
from observing.stream import emit
from sql.errors import DomainError
from support.executors import Busy

AnyRequest = Request[Any, Any, Any]
MISSING_PARAMETER = re.compile(r"Missing required query parameter '(\w+)'")
LENGTH_OF_TEXT = re.compile(r"Value should have (at least|at most) (\d+) items? after validation, not (\d+)")


def _response(problem: Problem) -> Response[bytes]:
    return Response(problem.body(), status_code=problem.status, media_type=MEDIA_TYPE, headers=problem.headers)


def _problem(_: AnyRequest, problem: Problem) -> Response[bytes]:
    return _response(problem)


def _domain_error(_: AnyRequest, error: DomainError) -> Response[bytes]:
    return _response(of_domain_error(error))


def _busy(_: AnyRequest, error: Busy) -> Response[bytes]:
    return _response(busy(f"The server is overloaded: too many requests are waiting for {error}."))


def _validation(_: AnyRequest, error: ValidationException) -> Response[bytes]:
    """What Litestar and pydantic found: one entry for each field."""
    if missing := MISSING_PARAMETER.match(error.detail):
        return _response(invalid(missing[1], "is required in the query"))
    found: list[Any] = error.extra if isinstance(error.extra, list) else []
    errors = [
        {"field": _field(str(one.get("key", ""))), "message": _message(str(one.get("message", "")))}
        for one in found
        if isinstance(one, dict)
    ]
    if any(e["field"] == "data" for e in errors) or not errors:
        return _response(Problem(400, "malformed_json", "The body is empty; this endpoint expects a JSON object."))
    detail = "; ".join(f"{e['field']}: {e['message']}" if e["field"] else e["message"] for e in errors)
    return _response(Problem(422, "invalid_input", detail, errors=errors))


def _field(key: str) -> str:
    return key.removeprefix("data.").removesuffix(".[key]")


def _message(message: str) -> str:
    if message.startswith("Input should be a valid dictionary or instance of"):
        return "Input should be a JSON object"
    if length := LENGTH_OF_TEXT.match(message):
        unit = "character" if length[2] == "1" else "characters"
        return f"Text should have {length[1]} {length[2]} {unit}, not {length[3]}"
    return "Unknown field" if message == "Extra inputs are not permitted" else message.removeprefix("Value error, ")


def _http(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    status = HTTPStatus(error.status_code)
    if status == 413:
        return _response(too_large("body", request.route_handler.resolve_request_max_body_size()))
    code, detail = {
        400: ("bad_request", error.detail),
        404: (
            "not_found",
            "There is no such endpoint. GET /schema lists them; where an id is a UUID, no name will do.",
        ),
        405: ("method_not_allowed", "This endpoint does not support this method."),
    }.get(status, (status.phrase.lower().replace(" ", "_"), error.detail))
    return _response(Problem(status, code, detail, headers=error.headers))


def _unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    request_id = request.headers.get("x-request-id", "")  # the caller's own, or the one that the middleware added
    emit(InternalError(request.method, error))
    hint = f"Quote request id {request_id} to the operator."
    return _response(Problem(500, "internal_error", "Internal server error.", hint))


HANDLERS: ExceptionHandlersMap = {
    Problem: _problem,
    DomainError: _domain_error,
    Busy: _busy,
    ValidationException: _validation,
    HTTPException: _http,
    Exception: _unexpected,
}
