"""Problem details as the documentation of the API shows them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457. `code` is stable and for programs; `detail` and `hint` are for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:zmesh:problem:invalid_input",
                    "title": "Unprocessable Entity",
                    "status": 422,
                    "detail": "timeout_ms: Input should be greater than or equal to 1",
                    "code": "invalid_input",
                    "errors": [{"field": "timeout_ms", "message": "Input should be greater than or equal to 1"}],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str | None = None
    errors: list[FieldError] = Field(default_factory=list)
