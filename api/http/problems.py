"""Failures of the request or the platform, as RFC 9457 problem details with stable codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from sql.errors import Conflict, DomainError, Forbidden, Invalid, NotFound, Unavailable

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2
MIB = 1024 * 1024
LARGEST = 8 * MIB


class Problem(Exception):
    """Answered as problem details; `code` is for programs, `detail` and `hint` are for people."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        hint: str = "",
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        self.errors = list(errors)
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The document."""
        body: dict[str, Any] = {
            "type": f"urn:zmesh:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.hint:
            body["hint"] = self.hint
        if self.errors:
            body["errors"] = self.errors
        return msgspec.json.encode(body)

    def response(self) -> bytes:
        """The whole response, for what the application never sees; the connection is closed after it."""
        body = self.body()
        more = "".join(f"{name.lower()}: {value}\r\n" for name, value in self.headers.items())
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n{more}connection: close\r\n\r\n"
        )
        return head.encode() + body


def unauthorized(code: str, detail: str, hint: str = "", *, scheme: str = "Bearer") -> Problem:
    """401 with the challenge that the specification of HTTP asks for."""
    challenge = f'{scheme} realm="zmesh"'
    if scheme == "Bearer" and code != "missing_credentials":
        challenge += f', error="invalid_token", error_description="{detail}"'
    return Problem(401, code, detail, hint, headers={"WWW-Authenticate": challenge})


def not_found(what: str, name: object = "") -> Problem:
    """404 for something that does not exist in the caller's project."""
    named = f' "{name}"' if name else ""
    return Problem(404, f"{what}_not_found", f"The {what}{named} does not exist in this project.")


def not_found_here() -> Problem:
    """404 for endpoints that are not served on a project's host."""
    return Problem(
        404,
        "not_found",
        "Only functions and webhooks are served on this host.",
        "Use the address of the platform for everything else.",
    )


def invalid(field: str, message: str, hint: str = "") -> Problem:
    """422 for one field."""
    detail = f"{field}: {message}" if field else message
    return Problem(422, "invalid_input", detail, hint, errors=[{"field": field, "message": message}])


def too_large(what: str, most_bytes: int | None = None) -> Problem:
    """413 for what may have so many bytes, 8 MiB unless told."""
    return Problem(
        413,
        "payload_too_large",
        f"The {what} is larger than {(most_bytes or LARGEST) // MIB} MiB.",
        "Store large data where the function can fetch it, and send a reference.",
    )


def unavailable(detail: str = "The database is unreachable.") -> Problem:
    """503 that asks to come again."""
    return Problem(503, "unavailable", detail, "Try again in a moment.", headers={"Retry-After": str(RETRY_SECONDS)})


def busy(detail: str) -> Problem:
    """503 when this process is overloaded."""
    return Problem(503, "busy", detail, "Try again in a moment.", headers={"Retry-After": str(RETRY_SECONDS)})


# Rules of the schema that a request may break although its model accepted it, and the field that each is about where
# PostgreSQL names no column.
_FIELDS = {
    "functions_name_is_short": "name",
    "functions_slug_is_plain": "name",
    "functions_entry_point_is_an_identifier": "entry_point",
    "functions_code_is_at_most_1_mib": "code",
}
_NAMES_TAKEN = {
    "functions_name_is_unique": "A function with this name already exists.",
    "functions_slug_is_unique": "A function with the same slug already exists.",
    "schedules_name_is_unique": "A schedule with this name already exists.",
    "webhooks_name_is_unique": "A webhook with this name already exists.",
    "projects_slug_key": "A project with the same slug already exists.",
}
# Refusals with a code of their own.
_CODES = {
    "memberships_one_is_an_owner": "last_owner",
    "memberships_owned_projects_are_limited": "project_limit",
    "memberships_are_unique": "already_a_member",
    "api_key_functions_exist": "function_not_found",
    "function_versions_retired_ones_do_not_run": "version_retired",
}


def of_domain_error(error: DomainError) -> Problem:
    """What a refusal of the database is to an HTTP client."""
    match error:
        case Conflict() if error.constraint in _NAMES_TAKEN:
            message, hint = _NAMES_TAKEN[error.constraint], "Choose another name."
            if error.hint:  # the database says which is in the way
                message, hint = f"{error.message[:1].upper()}{error.message[1:]}.", error.hint
            return Problem(409, "name_taken", message, hint, errors=[{"field": "name", "message": message}])
        case Invalid() if error.constraint == "invocations_payload_is_at_most_8_mib":
            return too_large("payload")
        case Invalid():
            return invalid(error.column or _FIELDS.get(error.constraint, ""), error.message, error.hint)
        case Unavailable():
            return unavailable()
    status = {NotFound: 404, Forbidden: 403, Conflict: 409}.get(type(error), 409)
    return Problem(status, _CODES.get(error.constraint, error.code), error.message, error.hint)
