"""What the models of requests and responses have in common."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from api.http.json_bodies import NUL_MESSAGE, has_nul


def _without_nul(value: Any) -> Any:
    if has_nul(value):
        raise ValueError(NUL_MESSAGE)
    return value


def _read_as(kind: Callable[[str], Any], what: str) -> BeforeValidator:
    def read(value: Any) -> Any:
        try:
            return kind(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"Input should be {what}") from error

    return BeforeValidator(read)


# JSON has neither: both come as texts.
Id = Annotated[UUID, _read_as(UUID, "a UUID")]
Time = Annotated[AwareDatetime, _read_as(datetime.fromisoformat, "a time such as 2026-05-01T09:30:00Z")]
Text = Annotated[str, AfterValidator(_without_nul)]
JsonValue = Annotated[Any, AfterValidator(_without_nul)]
Name = Annotated[Text, Field(min_length=1, max_length=100, description="Unique in the project.")]
FunctionReference = Annotated[Text, Field(min_length=1, max_length=100, description="Id or slug of the function.")]
# A JSON text that goes from the database to the client as it is.
RawJson = Annotated[Any, WithJsonSchema({"description": "Any JSON value."})]


def matching(regex: str, **more: Any) -> Any:
    """A field with this pattern, which pydantic would not put into the schema after a validator."""
    return Field(pattern=regex, json_schema_extra={"pattern": regex}, **more)


class Model(BaseModel):
    """Unknown fields are errors, so that a misspelt one does not pass unnoticed."""

    model_config = ConfigDict(extra="forbid")


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


UNSET: Any = None  # default of a Change's fields; `changes` returns only those that were sent


class Change(Model):
    """A partial update: fields that are left out keep their values."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def raw(text: str | None) -> msgspec.Raw | None:
    """A JSON text as a part of a response."""
    return None if text is None else msgspec.Raw(text.encode())
