"""zmesh.toml: what a project folder declares, and what a function's own folder may say of the function."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cli.errors import CliError, did_you_mean
from cli.functions.folders import SETTINGS

Model = TypeVar("Model", bound=BaseModel)
ENCODING = "utf-8-sig"  # some editors begin files with a byte order mark
QUOTES = 'A name with characters other than A-Z a-z 0-9 _ and - needs quotes: [functions."send mail"]'
Option = Literal[
    "callback_url", "concurrency_key", "delay", "expires_at", "idempotency_key", "max_attempts", "priority", "version"
]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Event = Literal["INSERT", "UPDATE", "DELETE"]
Shares = int | dict[str, int]


class Declared(BaseModel):
    """Unknown keys and values of another type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class FunctionSettings(Declared):
    """A function: [functions.NAME] in the project's zmesh.toml, or the zmesh.toml in the function's own folder."""

    path: str | None = Field(None, description="File or folder of the code. Default: functions/NAME.")
    entry: str | None = Field(None, description="File of a folder that is loaded first.")
    entry_point: str = Field("handler", description="Name of the function to call in the code.")
    style: Literal["lambda"] | None = Field(None, description="lambda: the handler takes (event, context).")
    init: Literal["once"] | None = Field(None, description="once: top-level code is executed once, not in each run.")
    preload: list[str] = Field(
        [], description="Packages imported before runs are forked. Default: those that runs import."
    )
    timeout_ms: int = Field(10_000, ge=1, le=900_000, description="Wall-clock limit of a run.")
    memory_mb: int = Field(256, ge=64, le=8192, description="Memory limit of a run, in MiB.")
    env: dict[str, str] = Field({}, description="Environment variables, available in zmesh.env.")
    secrets: list[str] = Field([], description="Secrets that must be set before a deployment.")
    network: Literal["open", "none"] = Field("open", description="none: only the project's database.")
    enabled: bool = Field(True, description="false: it cannot be invoked.")
    description: str = Field("", max_length=1000, description="What the function is for.")
    tags: list[str] = Field([], max_length=20, description="Tags for finding the function.")
    auth: Literal["api_key", "jwt", "none"] = Field("api_key", description="Who may call the public route.")
    methods: list[Method] = Field(
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        min_length=1,
        max_length=7,
        description="HTTP methods that the public route accepts.",
    )
    cors_origins: list[str] = Field(
        ["*"], max_length=50, description="Origins of web pages that may call the function."
    )
    anonymous_options: list[Option] = Field(
        [], max_length=8, description="Invocation options that callers without credentials may set."
    )
    key_options: list[Option] = Field(
        ["concurrency_key", "delay", "expires_at", "idempotency_key"],
        max_length=8,
        description="Invocation options that API keys may set.",
    )
    public_errors: bool = Field(False, description="Whether callers without credentials get details of errors.")
    max_attempts: int = Field(3, ge=1, le=100, description="Attempts of an invocation without a waiting caller.")
    retry_base_ms: int = Field(
        1000, ge=1, le=86_400_000, description="Wait after the first failure; doubles each time."
    )
    retry_max_ms: int = Field(300_000, ge=1, le=604_800_000, description="The longest wait between two attempts.")
    max_concurrency: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Largest number of concurrent runs. Default: the project's limit."
    )
    max_concurrency_per_key: int = Field(
        1, ge=1, le=1_000_000, description="Largest number of concurrent runs with the same concurrency key."
    )
    aliases: dict[str, Shares] = Field(
        {}, description='Names of versions: a number, or shares in percent, such as { "7" = 90, "8" = 10 }.'
    )

    def fields(self) -> dict[str, Any]:
        """What is set, as the API calls it."""
        given = self.model_dump(exclude_unset=True, exclude={"path", "entry", "aliases"})
        return {("env_vars" if name == "env" else name): value for name, value in given.items()}


class ScheduleSettings(Declared):
    """A schedule: [schedules.NAME]."""

    function: str = Field(description="Name or slug of the function.")
    cron: str = Field(min_length=1, max_length=200, description="Cron expression, such as 0 3 * * *.")
    timezone: str = Field("UTC", description="IANA name, such as Europe/Berlin.")
    payload: Any = Field({}, description="Payload of its invocations.")
    payload_json: str | None = Field(None, description="The payload as JSON, for values that TOML lacks, such as null.")
    overlap: Literal["skip", "queue"] = Field("skip", description="What to do if the previous run has not ended.")
    missed: Literal["skip", "once", "all"] = Field("once", description="What to do about missed due times.")
    enabled: bool = Field(True, description="false: it is paused.")


class WebhookSettings(Declared):
    """A webhook: [webhooks.NAME]. Its secret is made by the server."""

    function: str = Field(description="Name or slug of the function.")
    preset: Literal["none", "hmac", "shared_secret", "github", "shopify", "stripe", "slack", "standard"] = Field(
        "none", description="Signature scheme of the sender."
    )
    replay_window_seconds: int = Field(300, ge=10, le=86_400, description="Largest age of a signed timestamp.")
    signature_header: str | None = Field(None, description="hmac and shared_secret: header of the signature or secret.")
    answer: Literal["accepted", "result"] = Field("accepted", description="Response to the sender.")
    enabled: bool = Field(True, description="false: its URL responds with 404.")


class ChangeSettings(Declared):
    """A table change: one [[changes]] each."""

    table: str = Field(min_length=1, max_length=200, description="Table, as in SQL: orders, or shop.orders.")
    function: str = Field(description="Name or slug of the function.")
    events: list[Event] = Field(
        ["INSERT", "UPDATE", "DELETE"], min_length=1, max_length=3, description="Changes that invoke the function."
    )
    when: str | None = Field(None, max_length=10_000, description="SQL condition on new and old.")
    columns: list[str] | None = Field(None, min_length=1, description="Only updates that change one of these columns.")


class ProjectFile(Declared):
    """The zmesh.toml of a project folder."""

    secrets: list[str] = Field([], description="Secrets of the project that must be set before a deployment.")
    functions: dict[str, FunctionSettings] = Field({}, description="Settings of functions, by name.")
    schedules: dict[str, ScheduleSettings] = Field({}, description="Schedules, by name.")
    webhooks: dict[str, WebhookSettings] = Field({}, description="Webhooks, by name.")
    changes: list[ChangeSettings] = Field([], description="Table changes.")


PARTS: dict[str, type[Declared]] = {
    "functions": FunctionSettings,
    "schedules": ScheduleSettings,
    "webhooks": WebhookSettings,
    "changes": ChangeSettings,
}


def check_inside(root: Path, path: Path) -> None:
    """Raises CliError for a path that leads out of the project folder, through a link for example: the file there would
    be uploaded or overwritten."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise CliError(
            f"{path} leads out of the project folder.",
            code="link_outside",
            hint="Copy the file into the folder instead.",
        )


def read_project_file(root: Path) -> ProjectFile:
    """The zmesh.toml of a project folder. Raises CliError that names the line."""
    path = root / SETTINGS
    if not path.is_file():
        raise CliError(
            f"{root.resolve()} has no {SETTINGS}.",
            code="no_project",
            hint="Create a project folder with `zmesh init`, or name what to deploy: zmesh deploy FILE",
        )
    return _read(path, ProjectFile)


def read_function_file(folder: Path) -> FunctionSettings:
    """The zmesh.toml in a function's own folder; defaults if there is none. Raises CliError."""
    path = folder / SETTINGS
    if not path.is_file():
        return FunctionSettings()
    found = _read(path, FunctionSettings)
    if found.path is not None:
        raise CliError(f"{path}: path is for the zmesh.toml of a project.", code="bad_settings_file")
    return found


def parse_function_file(text: object) -> FunctionSettings | None:
    """The settings in the text of a function's file; None where read_function_file() would refuse it."""
    try:
        found = FunctionSettings.model_validate(tomllib.loads(text)) if isinstance(text, str) else None
    except (ValidationError, tomllib.TOMLDecodeError, RecursionError):
        return None
    return None if found is None or found.path is not None else found


def is_project(folder: Path) -> bool:
    """Whether the folder's zmesh.toml declares a project rather than one function."""
    path = folder / SETTINGS
    if not path.is_file():
        return False
    try:
        return not (tomllib.loads(path.read_text(ENCODING)).keys() - ProjectFile.model_fields.keys())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError):
        return True  # reading it as one says what is wrong


def payload_of(name: str, schedule: ScheduleSettings) -> Any:
    """The payload of a schedule. Raises CliError for what is not JSON."""
    try:
        if schedule.payload_json is not None:
            return json.loads(schedule.payload_json)
        json.dumps(schedule.payload, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise CliError(
            f"{SETTINGS}: the payload of [schedules.{name}] is not JSON: {error}.", code="bad_settings_file"
        ) from error
    return schedule.payload


def _read(path: Path, model: type[Model]) -> Model:
    try:
        text = path.read_text(ENCODING)
        return model.model_validate(tomllib.loads(text))
    except ValidationError as error:
        if model is FunctionSettings and is_project(path.parent):
            raise _is_a_project(path.parent) from error
        raise _refusal(path, text, model, error) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        hint = QUOTES if "end of a table declaration" in str(error) and _line_at(error, text).endswith("]") else ""
        raise CliError(f"{path} cannot be read: {error}.", code="bad_settings_file", hint=hint) from error


def _line_at(error: Exception, text: str) -> str:
    found = re.search(r"at line (\d+)", str(error))
    return text.splitlines()[int(found[1]) - 1].strip() if found else ""


def _is_a_project(folder: Path) -> CliError:
    return CliError(
        f"{folder} is a project, not a function.",
        code="is_a_project",
        hint=f"Name one of its functions, or deploy the whole project: zmesh deploy {folder}",
    )


def _refusal(path: Path, text: str, model: type[BaseModel], error: ValidationError) -> CliError:
    """The first mistake, with its line if that can be found."""
    # A misspelt key explains one that is missing.
    first = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    place = [part for part in first["loc"] if not isinstance(part, str) or part not in ("int", "dict[str,int]")]
    line = line_of(text, place)
    where = f"{path}:{line}" if line else str(path)
    key, table = str(place[-1]), ".".join(str(part) for part in place[:-1])
    within = f" in [{table}]" if table else ""
    if first["type"] == "extra_forbidden":
        known = (PARTS[str(place[0])] if model is ProjectFile and len(place) > 1 else model).model_fields
        hint = did_you_mean(key, known) or f"Known keys: {', '.join(known)}"
        return CliError(f'{where}: unknown key "{key}"{within}.', code="bad_settings_file", hint=hint)
    if first["type"] == "missing":
        return CliError(f'{where}: "{key}" is missing{within}.', code="bad_settings_file")
    got = "" if isinstance(first["input"], (dict, list)) else f" (got {first['input']!r})"
    return CliError(f"{where}: {key}{within}: {first['msg']}{got}.", code="bad_settings_file")


def line_of(text: str, place: list[int | str]) -> int | None:
    """The line that sets a key, by the names of its tables; None if it is written in a way that is hard to find."""
    tables: list[str] = []
    seen: dict[str, int] = {}
    found = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[(\[?)([^\]]+)\]", line):
            tables = _keys(header[2])
            if header[1]:
                index = seen[header[2]] = seen.get(header[2], -1) + 1
                tables.append(str(index))
            keys = tables
        elif key := re.match(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""", line):
            keys = tables + _keys(key[1])
        else:
            continue
        wanted = [str(part) for part in place]
        if keys[: len(wanted)] == wanted:
            return number  # the first table below it
        if keys and keys == wanted[: len(keys)]:
            found = number  # the table, or a key whose value has it
    return found


def _keys(dotted: str) -> list[str]:
    return [bare or quoted[1:-1] for bare, quoted in re.findall(r"""([\w-]+)|("[^"]*"|'[^']*')""", dotted)]


def shares_of(shares: Shares) -> Mapping[str, int]:
    """The shares of an alias, for which a number alone stands for all."""
    return {str(shares): 100} if isinstance(shares, int) else shares
