"""Deployments of whole projects as HTTP shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from api.http.models import Model, Name, Text, matching
from api.management.models.changes import EVENTS, Event, Table
from api.management.models.functions import EXAMPLE_CODE, FunctionToCreate, VariableName
from api.management.models.schedules import Cron, Missed, Overlap, Timezone
from api.management.models.versions import Shares
from api.webhooks.models import Answer, Header, Preset, Window
from support import project_migrations

MOST = 1000  # of each kind
LARGEST_MIGRATION = 1024 * 1024
MIGRATION_NAME = project_migrations.NAME.pattern.replace("?P<number>", "?:")  # as JSON Schema has groups
FunctionName = Annotated[Text, Field(min_length=1, max_length=100, description="Name or slug of the function.")]
SecretNames = Annotated[
    list[VariableName], Field(max_length=100, description="Secrets that must be set, for the function or the project.")
]


# PostgreSQL refuses what it cannot store: many large payloads are not walked through here.
Payload = Annotated[Any, WithJsonSchema({"description": "Any JSON value."})]


class FunctionToDeclare(FunctionToCreate):
    """The whole state of a function."""

    secrets: SecretNames = Field(default_factory=list)


class ScheduleToDeclare(Model):
    """The whole state of a schedule."""

    name: Name
    function: FunctionName
    cron: Cron
    timezone: Timezone = "UTC"
    payload: Payload = Field(default_factory=dict, description="Payload of its invocations.")
    overlap: Overlap = "skip"
    missed: Missed = "once"
    enabled: bool = True


class WebhookToDeclare(Model):
    """The whole state of a webhook, but its secret: a new one gets a new secret, which is shown once."""

    name: Name
    function: FunctionName
    preset: Preset = "none"
    replay_window_seconds: Window = 300
    signature_header: Header | None = None
    answer: Answer = "accepted"
    enabled: bool = True


class ChangeToDeclare(Model):
    """The whole state of a table change."""

    table: Table
    function: FunctionName
    events: list[Event] = Field(default=EVENTS, min_length=1, max_length=3)
    when: Annotated[Text, Field(min_length=1, max_length=10_000)] | None = None
    columns: list[Annotated[Text, Field(min_length=1, max_length=63)]] | None = Field(
        default=None, min_length=1, max_length=100
    )


class AliasToDeclare(Model):
    """The whole state of an alias."""

    function: FunctionName
    name: Annotated[Text, matching(r"^[a-z][a-z0-9-]{0,62}$")]
    versions: Shares


class MigrationToApply(Model):
    """A file of migrations/."""

    name: Annotated[Text, matching(f"^{MIGRATION_NAME}$", max_length=110)]
    sql: Text = Field(max_length=LARGEST_MIGRATION)


class ProjectToDeploy(Model):
    """What a project should have."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "functions": [{"name": "nightly-report", "language": "python", "code": EXAMPLE_CODE}],
                    "schedules": [{"name": "nightly", "function": "nightly-report", "cron": "0 3 * * *"}],
                }
            ]
        }
    )

    functions: Annotated[list[FunctionToDeclare], Field(max_length=MOST)] = Field(default_factory=list)
    schedules: Annotated[list[ScheduleToDeclare], Field(max_length=MOST)] = Field(default_factory=list)
    webhooks: Annotated[list[WebhookToDeclare], Field(max_length=MOST)] = Field(default_factory=list)
    changes: Annotated[list[ChangeToDeclare], Field(max_length=MOST)] = Field(default_factory=list)
    aliases: Annotated[list[AliasToDeclare], Field(max_length=MOST)] = Field(default_factory=list)
    migrations: Annotated[list[MigrationToApply], Field(max_length=MOST)] | None = Field(
        default=None,
        description="All migrations of the project's schema; those that were not applied yet are, before the rest. "
        "null: they are left alone.",
    )
    secrets: SecretNames = Field(default_factory=list)
    message: Text = Field(default="", max_length=1000, description="Stored with every version that this creates.")
    prune: bool = Field(default=False, description="Delete what is not declared.")
    overwrite: bool = Field(default=False, description="Also overwrite changes made elsewhere.")
    based_on: dict[Text, Text] | None = Field(
        default=None,
        max_length=6 * MOST,
        description="`state` of an earlier response: what has these hashes may be overwritten.",
    )


Kind = Literal["function", "schedule", "webhook", "change", "alias"]


class Difference(BaseModel):
    """A setting before and after; both are null for code, files and payloads."""

    before: Any
    after: Any


class PlannedItem(BaseModel):
    """What a deployment does about one thing."""

    kind: Kind
    name: str
    action: Literal["created", "updated", "unchanged", "deleted", "undeclared"] = Field(
        description="undeclared: it exists and stays unchanged."
    )
    changed: dict[str, Difference] = Field(description="The settings of an updated thing that differ.")
    changed_elsewhere: bool = Field(
        description="Whether this would overwrite what something else has done since the last deployment."
    )
    version: int | None = Field(description="A function's version afterwards.")
    path: str | None = Field(description="A new webhook's path.")
    secret: str | None = Field(description="A webhook's new secret, which is not shown again; null in a plan.")


class MissingSecret(BaseModel):
    """A secret that is not set."""

    name: str
    functions: list[str] = Field(description="Names of the functions that need it; empty: the project does.")


class ProjectPlan(BaseModel):
    """What a deployment changed, or would change."""

    items: list[PlannedItem]
    migrations: list[str] = Field(description="Names of the migrations that were applied, or would be.")
    missing_secrets: list[MissingSecret] = Field(description="Without them nothing is deployed.")
    state: dict[str, str] = Field(description="Hashes of all that there is now, by kind and name.")
