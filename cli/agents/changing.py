"""Tools that change functions and schedules, each with a plan first."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cli.agents.plans import Settling
from cli.agents.reading import FunctionName, differences, live_alias
from cli.agents.running import Confirm
from cli.agents.sources import CODE, Code, EntryFile, EntryPoint, Files, Language, difference, wanted
from cli.client import Client
from cli.connecting import find_function, look_up_function
from cli.errors import CliError
from cli.functions.building import build_packages
from cli.functions.deploying import unchanged_since

Data = Mapping[str, Any]
ELSEWHERE = ("code", "files", "env_vars", "message")  # parts of a change that its plan shows in another way


class Settings(BaseModel):
    """Settings to change. Who may call a function is not among them."""

    model_config = ConfigDict(extra="forbid")

    timeout_ms: int | None = Field(default=None, description="Wall-clock limit of a run, 1 to 900000.")
    memory_mb: int | None = Field(default=None, description="Memory limit of a run, 64 to 8192.")
    variables: dict[str, str | None] | None = Field(
        default=None, description="Variables of zmesh.env to set, null removes one. Not for passwords: use secrets."
    )
    network: Literal["open", "none"] | None = Field(default=None, description="What runs may connect to.")
    max_attempts: int | None = Field(default=None, description="Attempts of an invocation that no caller waits for.")
    description: str | None = Field(default=None, description="What the function is for.")
    tags: list[str] | None = Field(default=None, description="Tags; replaces all.")
    enabled: bool | None = Field(default=None, description="Whether the function may be invoked.")


class Changer:
    """What an agent may change."""

    def __init__(self, client: Client, plans: Settling) -> None:
        self._client = client
        self._plans = plans

    def deploy_function(
        self,
        name: FunctionName,
        code: Code = "",
        files: Files = None,
        entry_file: EntryFile = "",
        language: Language = "",
        entry_point: EntryPoint = "",
        settings: Annotated[Settings | None, Field(description="Settings to change; the others stay.")] = None,
        message: Annotated[str, Field(max_length=1000, description="Why; kept with the new version.")] = "",
        confirm: Confirm = "",
    ) -> Data:
        """Create a function, or change its code or settings. Changed code becomes a new version; roll_back undoes it.

        The first call answers with a plan: the diff and the settings that change. The second, with confirm, deploys.
        """
        now = look_up_function(self._client, name)
        given = {} if settings is None else settings.model_dump(exclude_none=True)
        given.pop("variables", None)
        desired = {
            **wanted(name, now, code, files, entry_file=entry_file, language=language, entry_point=entry_point),
            **given,
            "env_vars": _variables(now, settings),
        }
        changes = {key: value for key, value in desired.items() if now is None or now[key] != value}
        if not changes:
            return {"action": "unchanged", "function": name}
        if "files" in changes:
            changes["entry_file"] = desired["entry_file"]
        if message:
            changes["message"] = message
        sent = {"name": now["name"] if now else name, **({"revision": now["revision"]} if now else {}), **changes}
        return self._plans.settle(
            "deploy",
            {"id": now["id"] if now else None, "sent": sent},
            {
                "function": now["slug"] if now else name,
                "exists": now is not None,
                "message": message,
                "settings": _differing(now or {}, {key: changes[key] for key in changes if key not in ELSEWHERE}),
                "variables": _changed_names((now or {}).get("env_vars", {}), desired["env_vars"]),
                "diff": difference(now, desired),
                **(live_alias(self._client, now) if now else {}),
            },
            confirm,
            lambda: self._deploy(sent, desired),
        )

    def roll_back(
        self,
        name: FunctionName,
        version: Annotated[int, Field(ge=1, description="The version to restore.")],
        confirm: Confirm = "",
    ) -> Data:
        """Restore the code of an older version. The present code is kept as a version, so this can be undone.

        The first call answers with a plan: the diff. The second one, with confirm, rolls back.
        """
        function = find_function(self._client, name)
        path = f"/functions/{function['id']}/versions/{version}/rollback"
        return self._plans.settle(
            "roll back",
            {"id": function["id"], "revision": function["revision"], "version": version},
            {
                "function": function["slug"],
                **differences(self._client, function, version, function["version"]),
                **live_alias(self._client, function),
            },
            confirm,
            lambda: _deployed("rolled back", self._client.call("POST", path, headers=unchanged_since(function)).body),
        )

    def set_schedule(
        self,
        name: Annotated[str, Field(min_length=1, max_length=100, description="Name of the schedule.")],
        function: Annotated[str, Field(max_length=100, description="Function to invoke; empty: as is.")] = "",
        cron: Annotated[str, Field(max_length=200, description='Such as "0 3 * * *"; empty: as is.')] = "",
        timezone: Annotated[str, Field(max_length=100, description="IANA name; empty: as is, or UTC.")] = "",
        payload: Annotated[Any, Field(description="Payload of its invocations; null: as is, or {}.")] = None,
        enabled: Annotated[bool | None, Field(description="false pauses it, true resumes it; null: as is.")] = None,
        confirm: Confirm = "",
    ) -> Data:
        """Create a schedule, or change, pause or resume the one of this name.

        The first call answers with a plan: what changes, and the next due times. The second one, with confirm, does it.
        """
        now = next(iter(self._client.items("/schedules", name=name)), None)
        given = {"cron": cron or None, "timezone": timezone or None, "payload": payload, "enabled": enabled}
        changes = {key: value for key, value in given.items() if value is not None and (now or {}).get(key) != value}
        invoked = find_function(self._client, function) if function else None
        if invoked and not (now and now["function_id"] == invoked["id"]):
            changes["function_id"] = invoked["id"]
        if now and not changes:
            return {"action": "unchanged", "schedule": name}
        if not now and not (function and cron):
            raise CliError(f'There is no schedule "{name}".', code="schedule_not_found", hint="Pass function and cron.")
        return self._plans.settle(
            "set schedule",
            {"name": name, "changes": changes, "updated_at": now and now["updated_at"]},
            {
                "schedule": name,
                "exists": now is not None,
                "changes": _differing(now or {}, {**changes, **({"function": invoked["slug"]} if invoked else {})}),
                "next_due": self._due_times({"timezone": "UTC", "enabled": True, **(now or {}), **changes}),
            },
            confirm,
            lambda: self._set_schedule(name, now, changes),
        )

    def _deploy(self, sent: Data, desired: Data) -> Data:
        if sent.keys() & set(CODE):
            build_packages(self._client, [{"name": sent["name"], **desired}], fresh=False)
        [done] = self._client.call("POST", "/deployments", {"functions": [sent]}).body["items"]
        return _deployed(done["action"], done["function"])

    def _set_schedule(self, name: str, now: Data | None, changes: Data) -> Data:
        if now is None:
            made = self._client.call("POST", "/schedules", {"name": name, **changes}).body
        else:
            made = self._client.call("PATCH", f"/schedules/{now['id']}", changes).body
        keys = ("name", "function", "cron", "timezone", "enabled", "next_due_at")
        return {"action": "updated" if now else "created", "schedule": {key: made[key] for key in keys}}

    def _due_times(self, schedule: Data) -> list[str]:
        if not schedule["enabled"]:
            return []
        query = urllib.parse.urlencode({"cron": schedule["cron"], "timezone": schedule["timezone"]})
        return list(self._client.call("GET", f"/schedules/preview?{query}").body["due_at"])


def _differing(before: Data, after: Data) -> dict[str, list[Any]]:
    """Each value that changes, before and after, as a plan shows it to people: with names of functions, not ids."""
    return {
        key: [before.get(key), value]
        for key, value in after.items()
        if key != "function_id" and before.get(key) != value
    }


def _variables(now: Data | None, settings: Settings | None) -> dict[str, str]:
    existing = now["env_vars"] if now else {}
    given = (settings.variables if settings else None) or {}
    return {name: value for name, value in {**existing, **given}.items() if value is not None}


def _changed_names(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, list[str]]:
    """Names only: people keep passwords in variables."""
    return {
        "set": sorted(name for name in after if before.get(name) != after[name]),
        "removed": sorted(before.keys() - after.keys()),
    }


def _deployed(action: str, function: Data) -> Data:
    return {"action": action, "function": function["slug"], "version": function["version"]}
