"""OpenAPI operations whose bodies are read by hand."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIResponse, Operation, Parameter, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.openapi.spec.example import Example
from litestar.openapi.spec.media_type import OpenAPIMediaType

ANY_JSON = Schema(description="Any JSON value.")
PREFER = Parameter(
    name="Prefer",
    param_in="header",
    description="respond-async: answer 202 at once. wait=n: answer 202 after n seconds at the latest.",
    schema=Schema(type=OpenAPIType.STRING),
    required=False,
)
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    param_in="header",
    description="Makes a retry safe: the same key with the same request gets the first one's answer.",
    schema=Schema(type=OpenAPIType.STRING, min_length=1, max_length=255),
    required=False,
)
IF_MATCH = Parameter(
    name="If-Match",
    param_in="header",
    description="ETag of what you have read: answers 412 when it was changed since. Left out: no check.",
    schema=Schema(type=OpenAPIType.STRING),
    required=False,
)


def _option(name: str, description: str, schema: Schema) -> Parameter:
    return Parameter(name=name, param_in="header", description=description, schema=schema, required=False)


_TEXT = Schema(type=OpenAPIType.STRING)
# No format: generators of clients know no header that is a time.
_TIME = Schema(type=OpenAPIType.STRING, examples=["2026-05-01T09:30:00Z"])
OPTIONS = [
    _option("X-Zmesh-Version", "A version to run, or an alias that chooses one; else `live`, else the current.", _TEXT),
    _option(
        "X-Zmesh-Priority",
        "Higher goes first within the project; 0 when left out.",
        Schema(type=OpenAPIType.INTEGER, minimum=-100, maximum=100),
    ),
    _option("X-Zmesh-Run-At", "Not before this time; answers 202.", _TIME),
    _option(
        "X-Zmesh-Delay",
        "Not before so many seconds have passed; answers 202.",
        Schema(type=OpenAPIType.NUMBER, minimum=0),
    ),
    _option("X-Zmesh-Expires-At", "Not started later than this: ends as an error of type expired instead.", _TIME),
    _option(
        "X-Zmesh-Max-Attempts",
        "How often it is tried at most. Left out: once where the caller waits, else as the function says.",
        Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=100),
    ),
    _option("X-Zmesh-Concurrency-Key", "Of those with the same key, one runs at a time.", _TEXT),
]
VERSION = Parameter(
    name="version", param_in="query", description="The same as X-Zmesh-Version.", schema=_TEXT, required=False
)


@dataclass
class ListLogs(Operation):
    """GET /invocations/{id}/logs."""

    def __post_init__(self) -> None:
        last = _option("Last-Event-ID", "Of the last event that was seen: the stream goes on after it.", _TEXT)
        self.parameters = [*(self.parameters or []), last]
        answer = (self.responses or {}).get("200")
        if isinstance(answer, OpenAPIResponse) and answer.content is not None:
            answer.content["text/event-stream"] = OpenAPIMediaType(schema=_TEXT)


@dataclass
class ConditionalChange(Operation):
    """What If-Match guards."""

    def __post_init__(self) -> None:
        self.parameters = [*(self.parameters or []), IF_MATCH]


@dataclass
class Invoke(Operation):
    """POST /functions/{id}/invoke."""

    def __post_init__(self) -> None:
        _add_headers(self)
        self.parameters = [*(self.parameters or []), VERSION]
        example = {"payload": {"user_id": "abc123"}}
        schema = Schema(
            type=OpenAPIType.OBJECT,
            properties={"payload": Schema(description="Any JSON value, at most 8 MiB; {} when left out.")},
            additional_properties=False,
        )
        self.request_body = RequestBody(
            required=False,
            content={"application/json": OpenAPIMediaType(schema=schema, examples={"object": Example(value=example)})},
        )


@dataclass
class PublicInvoke(Operation):
    """POST /api/functions/{slug}."""

    def __post_init__(self) -> None:
        _add_headers(self)
        binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        self.request_body = RequestBody(
            required=False,
            description="JSON, a form or text becomes the payload; the raw body is in zmesh.request.",
            content={
                "application/json": OpenAPIMediaType(
                    schema=ANY_JSON, examples={"object": Example(value={"user_id": "abc123"})}
                ),
                "application/x-www-form-urlencoded": OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT)),
                "text/plain": OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING)),
                "application/octet-stream": OpenAPIMediaType(schema=binary),
            },
        )


@dataclass
class ReceiveHook(Operation):
    """POST /hooks/{token}."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(
            required=False,
            description="What the sender sends, signed as the webhook's preset says.",
            content={"application/json": OpenAPIMediaType(schema=ANY_JSON)},
        )


def _add_headers(operation: Operation) -> None:
    operation.parameters = [*(operation.parameters or []), PREFER, IDEMPOTENCY_KEY, *OPTIONS]
