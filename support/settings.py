"""Settings of a process, read from environment variables; an invalid value is refused with the name of its variable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

Model = TypeVar("Model", bound="ProcessSettings")

Required = Annotated[str, Field(min_length=1)]


class SettingsError(Exception):
    """An environment variable is missing or invalid; the message names it."""


@dataclass(frozen=True, slots=True)
class Variable:
    """Names the environment variable of a field, in its `Annotated` type."""

    name: str


class ProcessSettings(BaseModel):
    """Base of the settings that `read_settings` reads: each field is annotated with its Variable."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)  # some settings are secrets

    @classmethod
    def variables(cls) -> dict[str, str]:
        """The field of each environment variable."""
        return {
            item.name: field
            for field, info in cls.model_fields.items()
            for item in info.metadata
            if isinstance(item, Variable)
        }


def _token(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{16,}", text):
        raise ValueError("give at least 16 characters of printable ASCII, without spaces or line breaks")
    return text


class ServiceSettings(ProcessSettings):
    """Settings of a server process: its logs, and its admin port, if it has one."""

    admin_host: Annotated[str, Variable("ZMESH_ADMIN_HOST")] = "127.0.0.1"
    admin_port: Annotated[Annotated[int, Field(ge=0, le=65535)] | None, Variable("ZMESH_ADMIN_PORT")] = None
    metrics_token: Annotated[Annotated[str, AfterValidator(_token)] | None, Variable("ZMESH_METRICS_TOKEN")] = None
    log_format: Annotated[Literal["text", "json"], Variable("ZMESH_LOG_FORMAT")] = "text"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Variable("ZMESH_LOG_LEVEL")] = "info"


def read_settings(model: type[Model], environment: Mapping[str, str]) -> Model:
    """The settings in an environment; an empty variable counts as unset. Raises SettingsError."""
    fields = model.variables()
    values = {field: environment[name] for name, field in fields.items() if environment.get(name)}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        names = {field: name for name, field in fields.items()}
        problems = [f"{names[str(one['loc'][0])]} {_problem(one)}" for one in error.errors()]
        raise SettingsError("; ".join(dict.fromkeys(problems)) + ".") from error


def _problem(error: Mapping[str, Any]) -> str:
    context: dict[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return "is not set"
        case "int_parsing":
            problem = "must be a whole number"
        case "float_parsing":
            problem = "must be a number"
        case "greater_than_equal":
            problem = f"must be at least {context['ge']:g}"
        case "less_than_equal":
            problem = f"must be at most {context['le']:g}"
        case "literal_error":
            problem = f"must be {context['expected']}"
        case "value_error":
            return f"is invalid: {context['error']}"
        case _:
            return f"is invalid: {error['msg']}"
    return f"{problem} (got {error['input']!r})"
