"""OpenAPI operations of the routes that invoke functions; their bodies are read by hand."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.openapi.spec import Operation, Parameter, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.openapi.spec.example import Example
from litestar.openapi.spec.media_type import OpenAPIMediaType

from api.http.operations import ANY_JSON, TEXT, header_parameter
from support.invocation_options import OPTIONS, VERSION, InvocationOption

PREFER = header_parameter(
    "Prefer", "respond-async: answer 202 at once. wait=n: answer 202 after n seconds at the latest.", TEXT
)
VERSION_IN_QUERY = Parameter(
    name="version", param_in="query", description=f"The same as {VERSION.header}.", schema=TEXT, required=False
)


def _parameter(option: InvocationOption) -> Parameter:
    # Times have no format: generators of clients support no header that is a time.
    schema = Schema(
        type=OpenAPIType(option.type),
        minimum=option.minimum,
        maximum=option.maximum,
        min_length=None if option.max_length is None else 1,
        max_length=option.max_length,
        examples=None if option.example is None else [option.example],
    )
    return header_parameter(option.header, option.help, schema)


@dataclass
class InvokeDraft(Operation):
    """POST /functions/{id}/test."""

    def __post_init__(self) -> None:
        _add_headers(self)


@dataclass
class Invoke(Operation):
    """POST /functions/{id}/invoke."""

    def __post_init__(self) -> None:
        _add_headers(self)
        self.parameters = [*(self.parameters or []), VERSION_IN_QUERY]
        example = {"payload": {"user_id": "abc123"}}
        schema = Schema(
            type=OpenAPIType.OBJECT,
            properties={
                "payload": Schema(description="Any JSON value, at most 8 MiB. Default: {}."),
                "dry_run": Schema(
                    type=OpenAPIType.BOOLEAN,
                    description="true: without network, and with every change of the database rolled back.",
                ),
            },
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
                "text/plain": OpenAPIMediaType(schema=TEXT),
                "application/octet-stream": OpenAPIMediaType(schema=binary),
            },
        )


def _add_headers(operation: Operation) -> None:
    operation.parameters = [*(operation.parameters or []), PREFER, *map(_parameter, OPTIONS)]
