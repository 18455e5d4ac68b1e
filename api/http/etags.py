"""ETag and If-Match (RFC 9110), so that concurrent changes do not overwrite each other."""

from __future__ import annotations

import re
from typing import Any

from litestar.connection import Request

from api.http.problems import Problem
from sql.catalog import Function

LARGEST = 2**31 - 1


def etag_of(function: Function) -> dict[str, str]:
    """The header that names this state of a function."""
    return {"ETag": f'"{function.revision}"'}


def required_revisions(request: Request[Any, Any, Any]) -> list[int] | None:
    """The revisions that If-Match allows; None without a condition. Unknown tags match nothing."""
    given = ",".join(request.headers.getall("if-match", []))
    if not given or given.strip() == "*":
        return None
    tags = [re.fullmatch(r'"?(\d{1,10})"?', tag.strip()) for tag in given.split(",")]
    return [revision for tag in tags if tag and (revision := int(tag[1])) <= LARGEST]


def revision_conflict(function: Function) -> Problem:
    """412 for a change that is based on an outdated revision."""
    return Problem(
        412,
        "changed_meanwhile",
        f'Function "{function.slug}" has changed since you read it; it is now at revision {function.revision}.',
        "Read it again, reapply your change, and send the new ETag as If-Match.",
        headers=etag_of(function),
    )
