"""Functions and versions as HTTP shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.models.base import LEFT_OUT, Change, Model, Name, Text

LARGEST_CODE = 1024 * 1024
LARGEST_ENVIRONMENT = 64 * 1024
EXAMPLE_CODE = 'def handler(payload, zmesh):\n    return {"message": f"Welcome {payload[\'name\']}"}\n'

Language = Literal["javascript", "python", "typescript"]


def _fits(code: str) -> str:
    if len(code.encode()) > LARGEST_CODE:
        raise ValueError("is larger than 1 MiB")
    return code


def _is_small(variables: dict[str, str]) -> dict[str, str]:
    if sum(len(name) + len(value.encode()) for name, value in variables.items()) > LARGEST_ENVIRONMENT:
        raise ValueError("are larger than 64 KiB together")
    return variables


EntryPoint = Annotated[
    Text, Field(pattern=r"^[A-Za-z_$][A-Za-z0-9_$]{0,99}$", description="Name of the function to call.")
]
Code = Annotated[Text, AfterValidator(_fits), Field(description="Source text, at most 1 MiB.")]
Timeout = Annotated[int, Field(ge=1, le=900_000, description="Wall-clock limit; at most 15 minutes.")]
Memory = Annotated[int, Field(ge=64, le=8192, description="Memory limit in MiB.")]
VariableName = Annotated[Text, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Environment = Annotated[
    dict[VariableName, Text], AfterValidator(_is_small), Field(description="What the code finds in zmesh.env.")
]


class FunctionToCreate(Model):
    """A new function."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "send-welcome", "language": "python", "code": EXAMPLE_CODE}]}
    )

    name: Name
    language: Language
    code: Code
    entry_point: EntryPoint = "handler"
    timeout_ms: Timeout = 10_000
    memory_mb: Memory = 256
    env_vars: Environment = Field(default_factory=dict)
    enabled: bool = True


class FunctionChange(Change):
    """What to change of a function; `env_vars` replaces all variables."""

    name: Name = LEFT_OUT
    language: Language = LEFT_OUT
    code: Code = LEFT_OUT
    entry_point: EntryPoint = LEFT_OUT
    timeout_ms: Timeout = LEFT_OUT
    memory_mb: Memory = LEFT_OUT
    env_vars: Environment = LEFT_OUT
    enabled: bool = LEFT_OUT


class FunctionDetails(BaseModel):
    """A function with its current code."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    project_id: UUID
    name: str
    slug: str
    language: Language
    entry_point: str
    code: str
    timeout_ms: int
    memory_mb: int
    env_vars: dict[str, str]
    version: int = Field(description="Grows with every change of the code, rollback included.")
    enabled: bool
    created_at: datetime
    updated_at: datetime


class FunctionVersion(BaseModel):
    """One state of a function's code."""

    model_config = ConfigDict(from_attributes=True)

    version: int
    current: bool = Field(description="Whether this is what runs now.")
    language: Language
    entry_point: str
    code: str
    created_at: datetime = Field(description="When this state was deployed.")
