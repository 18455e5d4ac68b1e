"""What the documentation of the endpoints shares."""

from __future__ import annotations

from typing import Annotated

from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter

from api.http.problem_models import ProblemDetails
from api.http.problems import MEDIA_TYPE

BEARER: list[dict[str, list[str]]] = [{"bearer": []}]
BEARER_OR_KEY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
API_KEY: list[dict[str, list[str]]] = [{"apiKey": []}, {"bearerKey": []}]

FunctionId = Annotated[str, PathParameter(description="Id or slug of the function.")]

_MEANINGS = {
    400: "The body is not JSON, or the request is malformed.",
    401: "Credentials are missing, wrong, expired or revoked.",
    403: "The role does not allow this.",
    404: "Not found in this project.",
    405: "The function does not accept this method.",
    409: "Conflict with the current state.",
    412: "Changed since it was read: it has none of the ETags in If-Match.",
    413: "The body is too large.",
    422: "A value is invalid; `errors` says which.",
    429: "Too many requests; Retry-After says when to try again.",
    503: "The database is unreachable.",
}


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """The failures an endpoint documents; 400, 401, 403 and 503 are on every one: memberships end."""
    return {
        status: ResponseSpec(
            ProblemDetails, description=_MEANINGS[status], media_type=MEDIA_TYPE, generate_examples=False
        )
        for status in sorted({400, 401, 403, 503, *statuses})
    }
