"""Projects, their people and their keys, as HTTP shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from api.auth.models import Email
from api.http.models import UNSET, Change, FunctionReference, Model, Text, matching

Role = Literal["owner", "developer", "viewer"]
ProjectName = Annotated[
    Text, Field(min_length=1, max_length=100, description="The slug is derived from it, and stays when it changes.")
]

ProjectNetwork = Annotated[
    Literal["open", "none"],
    Field(
        description="What runs may connect to: open, what their function may; none, only the project's database by "
        "zmesh.db, whatever the function's setting."
    ),
]


def _time(value: object) -> object:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


KeyScope = Annotated[
    Literal["invoke", "deploy"],
    Field(description="What the key may do: invoke functions, or deploy them (in CI). Neither includes the other."),
]
AllowedScripts = Annotated[
    list[Annotated[Text, matching(r"^(@[a-z0-9_.~-]+/)?[A-Za-z0-9_~-][A-Za-z0-9_.~-]*$", max_length=214)]],
    Field(
        max_length=100,
        description="npm packages whose install scripts run, in the sandbox of the build, when they are built.",
    ),
]


class ProjectToCreate(Model):
    """A new project."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Web shop"}]})

    name: ProjectName


class ProjectChange(Change):
    """What to change of a project."""

    name: ProjectName = UNSET
    network: ProjectNetwork = UNSET
    allow_scripts: AllowedScripts = UNSET


class ProjectDetails(BaseModel):
    """A project, as one of its members sees it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    slug: str = Field(description="Unique on the platform.")
    role: Role = Field(description="Your role in it.")
    schema_name: str = Field(description="Schema of its tables.")
    role_name: str = Field(description="Database role of its functions.")
    network: ProjectNetwork
    allow_scripts: list[str]
    created_at: datetime


class ProjectDatabaseDetails(BaseModel):
    """How to connect to a project's database as its own role."""

    database_url: str = Field(description="Includes the password and gives the rights of the project's functions.")
    role_name: str
    schema_name: str


class MemberDetails(BaseModel):
    """A member of the project."""

    model_config = ConfigDict(from_attributes=True)

    user_id: UUID
    email: str
    role: Role


class MemberChange(Model):
    """Another role for a member."""

    role: Role


class InvitationToCreate(Model):
    """An invitation to create."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "grace@example.org", "role": "developer"}]})

    email: Annotated[Email, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
    role: Role = "developer"


class InvitationDetails(BaseModel):
    """An open invitation."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    role: Role
    created_at: datetime
    expires_at: datetime


class NewInvitationDetails(InvitationDetails):
    """An invitation at its creation."""

    token: str = Field(description="Not shown again. Anyone who has it can accept the invitation.")


class KeyToCreate(Model):
    """A new API key."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "shop frontend", "functions": ["checkout"]}]})

    name: Annotated[Text, Field(min_length=1, max_length=100)]
    functions: Annotated[list[FunctionReference], Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Ids or slugs of the functions it is for; null: all, including later ones."
    )
    scope: KeyScope = "invoke"
    expires_at: Annotated[AwareDatetime, BeforeValidator(_time)] | None = Field(
        default=None, description="null: never."
    )


class KeyDetails(BaseModel):
    """An API key without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    prefix: str = Field(description="Prefix by which it is listed.")
    scope: KeyScope
    functions: list[str] | None = Field(description="Slugs of the functions it is for; null: all.")
    created_at: datetime
    created_by: str | None = Field(description="E-mail address of its creator.")
    last_used_at: datetime | None = Field(description="To the minute.")
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKeyDetails(KeyDetails):
    """An API key at its creation."""

    key: str = Field(description="Not shown again.")
