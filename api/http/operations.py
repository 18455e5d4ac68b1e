"""OpenAPI operations with headers and media types that are handled by hand."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIResponse, Operation, Parameter, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.openapi.spec.media_type import OpenAPIMediaType

ANY_JSON = Schema(description="Any JSON value.")
TEXT = Schema(type=OpenAPIType.STRING)


def header_parameter(name: str, description: str, schema: Schema) -> Parameter:
    """An optional header of a request."""
    return Parameter(name=name, param_in="header", description=description, schema=schema, required=False)


IF_MATCH = header_parameter(
    "If-Match", "ETag of the function as you read it; 412 if it was changed since. Without it there is no check.", TEXT
)
LAST_EVENT_ID = header_parameter("Last-Event-ID", "Id of the last event received: the stream continues after it.", TEXT)


@dataclass
class ListLogs(Operation):
    """GET /invocations/{id}/logs."""

    def __post_init__(self) -> None:
        self.parameters = [*(self.parameters or []), LAST_EVENT_ID]
        response = (self.responses or {}).get("200")
        if isinstance(response, OpenAPIResponse) and response.content is not None:
            response.content["text/event-stream"] = OpenAPIMediaType(schema=TEXT)


@dataclass
class EventStream(Operation):
    """An endless response of server-sent events."""

    def __post_init__(self) -> None:
        response = (self.responses or {}).get("200")
        if isinstance(response, OpenAPIResponse):
            response.content = {"text/event-stream": OpenAPIMediaType(schema=TEXT)}


@dataclass
class ConditionalChange(Operation):
    """A change that If-Match guards."""

    def __post_init__(self) -> None:
        self.parameters = [*(self.parameters or []), IF_MATCH]


@dataclass
class ReceiveWebhook(Operation):
    """POST /hooks/{token}."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(
            required=False,
            description="The sender's message, signed as the preset of the webhook requires.",
            content={"application/json": OpenAPIMediaType(schema=ANY_JSON)},
        )
