"""Versions, aliases and deployments as HTTP shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.http.models import Model, Name, Text
from api.management.models.files import EntryFile, FileChange, FileSizes, StoredFiles
from api.management.models.functions import (
    EXAMPLE_CODE,
    DeployedBy,
    FunctionChange,
    FunctionDetails,
    Init,
    Language,
    Style,
)
from sql.versions import Alias


class FunctionVersion(BaseModel):
    """One state of a function's code."""

    model_config = ConfigDict(from_attributes=True)

    version: int
    current: bool = Field(description="Whether this is what runs now.")
    language: Language
    entry_point: str
    style: Style
    init: Init
    code: str
    entry_file: EntryFile
    files: StoredFiles
    file_sizes: FileSizes
    created_at: datetime = Field(description="When this state was deployed.")
    deployed_by: DeployedBy
    build_id: UUID | None = Field(description="The build whose packages it runs with; null: it needs none.")
    retired_at: datetime | None = Field(description="When the version was retired; null if it is not.")
    message: str = Field(description="Message of its deployment; may be empty.")


class Changed(BaseModel):
    """A value before and after."""

    before: str | None
    after: str | None


class VersionDiff(BaseModel):
    """What changed between two versions. Settings that are not part of a version are not included."""

    before: int | None = Field(description="null: there was nothing before the first version.")
    after: int
    code: str = Field(description="Unified diff of the code; empty where it is the same.")
    files: dict[str, FileChange] = Field(description="The other files that differ, by their paths.")
    settings: dict[str, Changed] = Field(description="Entry point, entry file and language, where they differ.")
    packages: dict[str, Changed] = Field(description="Versions of packages that differ, by their names.")


def _is_all(shares: dict[str, int]) -> dict[str, int]:
    if sum(shares.values()) != 100:
        raise ValueError(f"must add up to 100, not {sum(shares.values())}")
    return shares


Shares = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")],
        Annotated[int, Field(ge=1, le=100)],
    ],
    AfterValidator(_is_all),
    Field(min_length=1, max_length=20, description="Percent of the invocations by version; 100 together."),
]


class AliasToSet(Model):
    """Versions of an alias and their shares."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"versions": {"7": 90, "8": 10}}]})

    versions: Shares


class AliasDetails(BaseModel):
    """A name of versions."""

    name: str
    versions: dict[str, int] = Field(description="Percent of the invocations by version.")
    updated_at: datetime

    @classmethod
    def of(cls, alias: Alias) -> AliasDetails:
        return cls(name=alias.name, versions=alias.shares, updated_at=alias.updated_at)


class FunctionToDeploy(FunctionChange):
    """Desired state of a function. A new one requires language, and code or files; other fields keep their values if
    left out."""

    name: Name
    revision: int | None = Field(
        default=None, ge=1, description="Deploy only if the function is at this revision, as with If-Match."
    )
    message: Text = Field(default="", max_length=1000, description="Describes what the new version changes.")
    share: int | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Percent of the invocations that the new version gets at first, by the alias live; the rest stays "
        "with the version that gets most of them now. Default: the alias is left as it is, and without one the new "
        "version gets all. A function's first version gets all.",
    )

    def settings(self) -> dict[str, Any]:
        """The fields that were sent and are the function's; the others are the deployment's."""
        return {name: value for name, value in self.changes().items() if name not in ("message", "share")}


class Deployment(Model):
    """Functions that are deployed together, or not at all."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"functions": [{"name": "send-welcome", "language": "python", "code": EXAMPLE_CODE}]}]
        }
    )

    functions: Annotated[list[FunctionToDeploy], Field(min_length=1, max_length=100)]


class Deployed(BaseModel):
    """Outcome of the deployment of a function."""

    action: Literal["created", "updated", "unchanged"]
    function: FunctionDetails


class DeploymentDetails(BaseModel):
    """Outcomes of a deployment, in the order of the request."""

    items: list[Deployed]
