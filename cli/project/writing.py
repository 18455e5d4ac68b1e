"""The text of a project's zmesh.toml, from what the project has."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cli.manifest import (
    ChangeSettings,
    Declared,
    FunctionSettings,
    ProjectFile,
    ScheduleSettings,
    WebhookSettings,
    payload_of,
    shares_of,
)
from cli.project.toml_writing import can_be_written, key, table

Items = Sequence[Mapping[str, Any]]


def project_toml(
    functions: Mapping[str, Mapping[str, Any]],
    schedules: Items,
    webhooks: Items,
    changes: Items,
    local: ProjectFile,
    here: Collection[str],
) -> str:
    """All of it. Of `local`, the file that is there, it keeps what no project has: the secrets that are needed, and
    functions that exist `here` only."""
    only_here = {
        name: settings.model_dump(exclude_unset=True)
        for name, settings in local.functions.items()
        if name in here and name not in functions
    }
    parts = [table("", {"secrets": local.secrets})] if local.secrets else []
    parts += [
        table(f"[functions.{key(name)}]", settings)
        for name, settings in sorted({**functions, **only_here}.items())
        if settings
    ]
    parts += [table(f"[schedules.{key(one['name'])}]", _schedule(one)) for one in schedules]
    parts += [table(f"[webhooks.{key(one['name'])}]", _given(WebhookSettings, one)) for one in webhooks]
    parts += [table("[[changes]]", _change(one)) for one in changes]
    return "\n".join(parts)


def same_project(toml: str, local: ProjectFile, slugs: Mapping[str, str], own: Mapping[str, FunctionSettings]) -> bool:
    """Whether the text declares what the file does. By name of the function: `slugs`, and what its own folder says."""
    return _plain(ProjectFile.model_validate(tomllib.loads(toml)), slugs, own) == _plain(local, slugs, own)


def _plain(file: ProjectFile, slugs: Mapping[str, str], own: Mapping[str, FunctionSettings]) -> dict[str, Any]:
    """The same for what is written in different ways: defaults, shares, payloads, names of functions, order."""
    functions = {
        name: _effective(own.get(name, FunctionSettings()), file.functions.get(name, FunctionSettings()))
        for name in file.functions.keys() | own.keys()
    }
    schedules = {
        name: {
            **schedule.model_dump(exclude={"payload_json"}),
            "payload": payload_of(name, schedule),
            "function": slugs.get(schedule.function, schedule.function),
        }
        for name, schedule in file.schedules.items()
    }
    webhooks = {
        name: {**webhook.model_dump(), "function": slugs.get(webhook.function, webhook.function)}
        for name, webhook in file.webhooks.items()
    }
    changes = sorted(
        (change.table, slugs.get(change.function, change.function), sorted(change.events), change.when, change.columns)
        for change in file.changes
    )
    return {
        "functions": functions,
        "schedules": schedules,
        "webhooks": webhooks,
        "changes": changes,
        "secrets": file.secrets,
    }


def _effective(own: FunctionSettings, settings: FunctionSettings) -> dict[str, Any]:
    aliases = {**own.aliases, **settings.aliases}
    return {
        **own.model_dump(),
        **settings.model_dump(exclude_unset=True),
        "aliases": {alias: dict(shares_of(shares)) for alias, shares in aliases.items()},
    }


def _given(model: type[Declared], item: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a thing that are not defaults."""
    return {
        name: item[name]
        for name, field in model.model_fields.items()
        if name in item and (field.is_required() or item[name] != field.get_default())
    }


def _schedule(item: Mapping[str, Any]) -> dict[str, Any]:
    settings = _given(ScheduleSettings, item)
    if "payload" in settings and not can_be_written(settings["payload"]):
        settings["payload_json"] = json.dumps(settings.pop("payload"), ensure_ascii=False)
    return settings


def _change(item: Mapping[str, Any]) -> dict[str, Any]:
    settings = _given(ChangeSettings, item)
    if sorted(item["events"]) == sorted(ChangeSettings.model_fields["events"].get_default()):
        settings.pop("events", None)
    return settings
