"""Builds of packages as HTTP shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.http.models import Model, Text, matching
from api.management.models.functions import Code, Language


class Bundle(Model):
    """Packages that were uploaded, in the form in which listeners store them."""

    hash: Annotated[Text, matching(r"^[0-9a-f]{64}$", description="SHA-256 of the archive.")]
    chunks: Annotated[int, Field(ge=1, le=512, description="Number of chunks of 1 MiB.")]


class BundleChunk(Model):
    """A chunk of a bundle."""

    data: Annotated[Text, Field(max_length=1_500_000, description="At most 1 MiB, compressed by zlib, in base64.")]


class BuildToRequest(Model):
    """Code whose packages are to be installed. Its manifest is looked for as for a function with this code."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"language": "python", "files": {"requirements.txt": "pandas>=2\n"}}]}
    )

    language: Language
    code: Code = ""
    files: Annotated[
        dict[Text, Any],
        Field(
            max_length=1000,
            description="Texts by path: requirements.txt, pyproject.toml, package.json, package-lock.json, and code.",
        ),
    ] = Field(default_factory=dict)
    bundle: Bundle | None = Field(
        default=None, description="Use these packages, uploaded before by PUT /bundles, instead of registries."
    )
    lock: Annotated[Text, Field(max_length=2 * 1024 * 1024)] | None = Field(
        default=None,
        description="`lock` of another build of this manifest: install exactly that, where no lock is among the files.",
    )
    fresh: bool = Field(
        default=False, description="true: resolve the packages again, even if the same manifest was built before."
    )


class Package(BaseModel):
    """An installed package."""

    name: str
    version: str
    hash: str | None = Field(default=None, description="Hash of the archive that was installed, as the lock has it.")


class BuildError(BaseModel):
    """Why a build failed."""

    type: str
    message: str


class BuildSummary(BaseModel):
    """A build in a list, without its packages and its lock."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    runtime: Literal["python", "node"]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempts: int = Field(description="Number of starts; more than one if its listener was lost.")
    package_count: int = Field(description="How many packages were installed.")
    platform: str | None = Field(description="The platform that it was installed for.")
    layer_bytes: int | None = Field(description="Size of all installed files; null where there are none.")
    error: BuildError | None


class BuildDetails(BuildSummary):
    """A build, and what it has made so far."""

    packages: list[Package] = Field(description="What was installed.")
    lock: str | None = Field(description="Exact versions and hashes, as requirements.txt or package-lock.json.")


class BuildLogLine(BaseModel):
    """A line that a build printed."""

    model_config = ConfigDict(from_attributes=True)

    line: int
    at: datetime
    message: str
