"""Functions and versions as HTTP shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema

from api.http.json_bodies import LARGEST_PAYLOAD
from api.http.models import UNSET, Change, JsonValue, Model, Name, Text, matching
from api.management.models.files import EntryFile, FileSizes, FilesToStore, StoredFiles

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


def _distinct(items: list[str]) -> list[str]:
    return list(dict.fromkeys(items))


def _is_given(code: Any, others: ValidationInfo) -> Any:
    """Also where other fields are wrong, so that all are named at once."""
    if code is None and others.data.get("files") == {}:
        raise ValueError("Field required")
    return code


_CODE = "Source text, at most 1 MiB; of a folder, that of its entry file."
EntryPoint = Annotated[Text, matching(r"^[A-Za-z_$][A-Za-z0-9_$]{0,99}$", description="Name of the function to call.")]
Style = Annotated[
    Literal["lambda"] | None,
    Field(description="How the handler is called: lambda, with event and context; null: as its form tells."),
]
Init = Annotated[
    Literal["once"] | None,
    Field(
        description="When top-level code is executed: once, in a process from which runs are forked; null: in each run."
    ),
]
DeployedBy = Annotated[
    str | None,
    Field(
        description="Address of a member, name of an API key, or role of a database client; null: deployed before this "
        "was recorded."
    ),
]
PreloadName = Annotated[Text, matching(r"^[A-Za-z0-9_@./~:-]{1,214}$")]
Preload = Annotated[
    list[PreloadName],
    Field(
        max_length=64,
        description="Packages that are imported before runs are forked; empty: those that runs were seen to import.",
    ),
]
Code = Annotated[Text, AfterValidator(_fits), Field(description=_CODE)]
NewCode = Annotated[Code | None, BeforeValidator(_is_given), WithJsonSchema({"type": "string", "description": _CODE})]
Timeout = Annotated[int, Field(ge=1, le=900_000, description="Wall-clock limit; at most 15 minutes.")]
Memory = Annotated[int, Field(ge=64, le=8192, description="Memory limit in MiB.")]
VariableName = Annotated[Text, matching(r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Environment = Annotated[
    dict[VariableName, Text], AfterValidator(_is_small), Field(description="Variables that the code gets in zmesh.env.")
]
Network = Annotated[
    Literal["open", "none"],
    Field(
        description="What runs may connect to: open, anything; none, only the project's database by zmesh.db. "
        "Where the project has none, all its functions have none."
    ),
]
Description = Annotated[Text, Field(max_length=1000, description="What the function is for.")]
Tag = Annotated[Text, matching(r"^[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,49}$")]
Tags = Annotated[list[Tag], Field(max_length=20, description="Tags for finding it."), AfterValidator(_distinct)]
Auth = Annotated[
    Literal["api_key", "jwt", "none"],
    Field(description="Who may call the public route: holders of an API key, members with a token, or anyone."),
]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Methods = Annotated[
    list[Method],
    Field(min_length=1, max_length=7, description="HTTP methods that the public route accepts."),
    AfterValidator(_distinct),
]
Origin = Annotated[Text, matching(r"^(\*|[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]-]+)$", max_length=255)]
Origins = Annotated[
    list[Origin],
    Field(max_length=50, description="Origins of web pages that may call the public route; * is any."),
    AfterValidator(_distinct),
]
InvocationOption = Literal[
    "callback_url", "concurrency_key", "delay", "expires_at", "idempotency_key", "max_attempts", "priority", "version"
]
AnonymousOptions = Annotated[
    list[InvocationOption],
    Field(max_length=8, description="Invocation options that callers without credentials may set."),
    AfterValidator(_distinct),
]
KeyOptions = Annotated[
    list[InvocationOption],
    Field(max_length=8, description="Invocation options that API keys, and the tokens of viewers, may set."),
    AfterValidator(_distinct),
]
PublicErrors = Annotated[
    bool, Field(description="Whether callers without credentials get the type, message and stack of an error.")
]
Attempts = Annotated[
    int, Field(ge=1, le=100, description="Largest number of attempts of an invocation that no caller waits for.")
]
RetryBase = Annotated[
    int, Field(ge=1, le=86_400_000, description="Wait after the first failed attempt; doubles each time.")
]
RetryMax = Annotated[int, Field(ge=1, le=604_800_000, description="The longest wait between two attempts.")]
Concurrency = Annotated[
    Annotated[int, Field(ge=1, le=1_000_000)] | None,
    Field(description="Largest number of concurrent runs; null: the project's limit."),
]
ConcurrencyPerKey = Annotated[
    int, Field(ge=1, le=1_000_000, description="Largest number of concurrent runs with the same concurrency key.")
]
KEY_OPTIONS: list[InvocationOption] = ["concurrency_key", "delay", "expires_at", "idempotency_key"]
EVERY_METHOD: list[Method] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class FunctionToCreate(Model):
    """A new function: `code` alone, or `files` and the `entry_file` among them."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "send-welcome", "language": "python", "code": EXAMPLE_CODE}]}
    )

    name: Name
    language: Language
    entry_file: EntryFile = None
    files: FilesToStore = Field(default_factory=dict)
    code: NewCode = Field(default=None, validate_default=True)
    entry_point: EntryPoint = "handler"
    style: Style = None
    init: Init = None
    timeout_ms: Timeout = 10_000
    memory_mb: Memory = 256
    env_vars: Environment = Field(default_factory=dict)
    network: Network = "open"
    preload: Preload = Field(default_factory=list)
    enabled: bool = True
    description: Description = ""
    tags: Tags = Field(default_factory=list)
    auth: Auth = "api_key"
    methods: Methods = Field(default_factory=lambda: list(EVERY_METHOD))
    cors_origins: Origins = Field(default_factory=lambda: ["*"])
    anonymous_options: AnonymousOptions = Field(default_factory=list)
    key_options: KeyOptions = Field(default_factory=lambda: list(KEY_OPTIONS))
    public_errors: PublicErrors = False
    max_attempts: Attempts = 3
    retry_base_ms: RetryBase = 1000
    retry_max_ms: RetryMax = 300_000
    max_concurrency: Concurrency = None
    max_concurrency_per_key: ConcurrencyPerKey = 1


class FunctionChange(Change):
    """What to change of a function; `env_vars` replaces all variables."""

    name: Name = UNSET
    language: Language = UNSET
    code: Code = UNSET
    entry_file: EntryFile = UNSET
    files: FilesToStore = UNSET
    entry_point: EntryPoint = UNSET
    style: Style = UNSET
    init: Init = UNSET
    timeout_ms: Timeout = UNSET
    memory_mb: Memory = UNSET
    env_vars: Environment = UNSET
    network: Network = UNSET
    preload: Preload = UNSET
    enabled: bool = UNSET
    description: Description = UNSET
    tags: Tags = UNSET
    auth: Auth = UNSET
    methods: Methods = UNSET
    cors_origins: Origins = UNSET
    anonymous_options: AnonymousOptions = UNSET
    key_options: KeyOptions = UNSET
    public_errors: PublicErrors = UNSET
    max_attempts: Attempts = UNSET
    retry_base_ms: RetryBase = UNSET
    retry_max_ms: RetryMax = UNSET
    max_concurrency: Concurrency = UNSET
    max_concurrency_per_key: ConcurrencyPerKey = UNSET


HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$")]
HeaderValue = Annotated[str, Field(pattern=r"^[\t -~]{0,8000}$")]


class RequestToTest(Model):
    """An HTTP request as which a test reaches the function, as if the public route had received it."""

    method: Method = "POST"
    path: Annotated[str, Field(pattern=r"^/[!-~]{0,2000}$")] = Field(
        default="/", description="Below the function's own path, percent-encoded."
    )
    query: Annotated[str, Field(pattern=r"^[!-~]{0,8000}$")] = Field(
        default="", description="Percent-encoded, without the question mark."
    )
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=100)] = Field(default_factory=dict)
    body: Text = Field(default="", max_length=LARGEST_PAYLOAD, description="What the payload is made of, too.")


class DraftToTest(Change):
    """Code and settings to try in place of the function's own; what is left out is the function's."""

    payload: JsonValue = Field(default_factory=dict, description="Any JSON value.")
    request: RequestToTest = UNSET
    language: Language = UNSET
    code: Code = UNSET
    entry_file: EntryFile = UNSET
    files: FilesToStore = UNSET
    entry_point: EntryPoint = UNSET
    style: Style = UNSET
    timeout_ms: Timeout = UNSET
    memory_mb: Memory = UNSET
    env_vars: Environment = UNSET
    network: Network = UNSET
    dry_run: bool = Field(
        default=False, description="Run without network, roll back all changes of the database, and return them."
    )


class DraftToRun(DraftToTest):
    """Code to run as the function of this name; where there is none, as a new one with default settings."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "send-welcome", "language": "python", "code": EXAMPLE_CODE}]}
    )

    name: Name


class FunctionDetails(BaseModel):
    """A function with its current code."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    project_id: UUID
    name: str
    slug: str
    language: Language
    entry_point: str
    style: Style
    init: Init
    preload: list[str]
    code: str
    entry_file: EntryFile
    files: StoredFiles
    file_sizes: FileSizes
    timeout_ms: int
    memory_mb: int
    env_vars: dict[str, str]
    network: Literal["open", "none"]
    enabled: bool
    description: str
    tags: list[str]
    auth: Literal["api_key", "jwt", "none"]
    methods: list[Method]
    cors_origins: list[str]
    anonymous_options: list[InvocationOption]
    key_options: list[InvocationOption]
    public_errors: bool
    max_attempts: int
    retry_base_ms: int
    retry_max_ms: int
    max_concurrency: int | None
    max_concurrency_per_key: int
    build_id: UUID | None = Field(description="The build whose packages it runs with; null: it needs none.")
    version: int = Field(description="Grows with every change of code or files, rollback included.")
    revision: int = Field(description="Grows with every change of anything; it is the ETag.")
    created_at: datetime
    updated_at: datetime
    not_forked_because: str | None = Field(
        description="Why runs import the function's packages, or execute its top-level code, by themselves instead of "
        "being forked from a process that has done so. Null in lists, and where they need not."
    )
