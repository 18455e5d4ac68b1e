"""What a deployment of a project folder changes: asked of the server, which does it or only tries, and shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import click

from cli.client import ApiError, Client
from cli.connecting import functions_by_name
from cli.functions.building import build_packages
from cli.functions.deploying import UNLOADABLE, Deployment
from cli.functions.excerpts import located_in
from cli.functions.versions import DIFF_COLOURS
from cli.output import style

MARKS = {"created": ("+", "green"), "updated": ("~", "yellow"), "deleted": ("-", "red"), "undeclared": ("?", None)}
KINDS = {"change": "table change"}
CONTENTS = {"code", "files"}
HIDDEN = {"build_id": "other packages", "payload": "another payload"}
MOST_NAMED = 5  # of a kind that the folder does not declare
Item = Mapping[str, Any]


class Deployable(Protocol):
    """What a project should have, from wherever it comes."""

    @property
    def functions(self) -> list[dict[str, Any]]:
        """With their code and settings."""

    @property
    def sources(self) -> Mapping[str, Path]:
        """The file or folder of each function that has one here, by name."""

    def request(self) -> dict[str, Any]:
        """What POST /deployments/project takes."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to deploy."""

    prune: bool = False
    overwrite: bool = False
    force: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What changes, or has changed; `diffs` have the changes of code by function."""

    answer: Mapping[str, Any]
    diffs: Mapping[str, Deployment] = field(default_factory=dict)

    @property
    def items(self) -> list[Item]:
        return list(self.answer["items"])

    @property
    def changes(self) -> list[Item]:
        """What is not as declared."""
        return [item for item in self.items if item["action"] not in ("unchanged", "undeclared")]

    @property
    def migrations(self) -> list[str]:
        """Names of the files that are applied to the project's schema."""
        return list(self.answer["migrations"])

    @property
    def is_empty(self) -> bool:
        """Whether everything is as declared."""
        return not self.changes and not self.migrations

    @property
    def differences(self) -> int:
        """How many things are not the same on both sides, which includes those that are not declared."""
        return len([item for item in self.items if item["action"] != "unchanged"]) + len(self.migrations)

    @property
    def of_declared(self) -> Plan:
        """The plan without what it leaves alone."""
        items = [item for item in self.items if item["action"] != "undeclared"]
        return Plan({**self.answer, "items": items}, self.diffs)

    @property
    def missing_secrets(self) -> list[Item]:
        return list(self.answer["missing_secrets"])

    def described(self) -> dict[str, Any]:
        """For programs; without values of variables and secrets."""
        return {
            "changes": len(self.changes) + len(self.migrations),
            "migrations": self.migrations,
            "items": [self._described(item) for item in self.items],
            "missing_secrets": self.missing_secrets,
        }

    def _described(self, item: Item) -> dict[str, Any]:
        described = {key: value for key, value in item.items() if key not in ("secret", "path")}
        if "env_vars" in item["changed"]:
            names = {side: sorted(item["changed"]["env_vars"][side] or {}) for side in ("before", "after")}
            described["changed"] = {**item["changed"], "env_vars": names}
        if item["kind"] == "function" and item["name"] in self.diffs:
            described["files"] = summaries(self.diffs[item["name"]])
        return described


def plan(client: Client, project: Deployable, options: Options) -> Plan:
    """What a deployment would change. Has packages built that it needs. Raises CliError."""
    build_packages(client, project.functions, fresh=False)
    return planned(client, project, options)


def planned(client: Client, project: Deployable, options: Options) -> Plan:
    """The same where the packages have been built. Raises CliError."""
    answer = _send(client, project, options, plan=True)
    return Plan(answer, _diffs(client, project, answer))


def deploy(client: Client, project: Deployable, options: Options) -> Plan:
    """Deploy what was planned, which has built the packages. Raises CliError, and then nothing has changed."""
    return Plan(_send(client, project, options, plan=False))


def _send(client: Client, project: Deployable, options: Options, *, plan: bool) -> Mapping[str, Any]:
    query = "&".join([f"plan={str(plan).lower()}", f"force={str(options.force).lower()}"])
    body = {**project.request(), "prune": options.prune, "overwrite": options.overwrite, "message": options.message}
    try:
        answer: Mapping[str, Any] = client.call("POST", f"/deployments/project?{query}", body).body
    except ApiError as error:
        hint = "Fix it, or deploy it as it is with --force." if error.code in UNLOADABLE else error.hint
        message = re.sub(r"\b(functions|schedules|webhooks|aliases)\.(\d+)\b", _named(body), error.message)
        here = {project.sources[one["name"]]: one for one in project.functions if one["name"] in project.sources}
        place = located_in(error, here)
        raise ApiError(error.status, message, code=error.code, hint=hint, place=place) from error
    return answer


def _named(body: Mapping[str, Any]) -> Any:
    """Places of the request by the names of what is there."""

    def name(found: re.Match[str]) -> str:
        items = body[found[1]]
        index = int(found[2])
        return f"{found[1]}.{items[index]['name']}" if index < len(items) else found[0]

    return name


def _diffs(client: Client, project: Deployable, answer: Mapping[str, Any]) -> dict[str, Deployment]:
    """How the code of functions differs from what is deployed."""
    wanted = {function["name"]: function for function in project.functions}
    changed = {
        item["name"]: item
        for item in answer["items"]
        if item["kind"] == "function" and item["action"] == "updated" and CONTENTS & item["changed"].keys()
    }
    before = functions_by_name(client, changed) if changed else {}
    return {
        name: Deployment(old, {**wanted[name], "version": changed[name]["version"]}, files=wanted[name]["files"])
        for name, old in before.items()
    }


def summaries(deployment: Deployment) -> list[dict[str, Any]]:
    """Of each file that differs, how many lines were added and removed, or that all of it was."""
    return [{"path": path, **_summary(lines)} for path, lines in deployment.diffs().items()]


def _summary(lines: list[str]) -> dict[str, Any]:
    if not lines[0].startswith("---"):
        return {"file": {"+": "added", "-": "removed"}.get(lines[0][:1], "replaced")}
    body = lines[2:]  # after the two names
    return {side: sum(line.startswith(mark) for line in body) for side, mark in (("added", "+"), ("removed", "-"))}


def show(plan: Plan, *, done: bool) -> None:
    """For people. `done`: it was carried out."""
    for name in plan.migrations:
        click.echo(f"{style('+', fg='green')} migration {style(name, bold=True)}")
    for item in plan.changes:
        _show_item(item, plan.diffs)
    for secret in plan.missing_secrets:
        by = f" (needed by {', '.join(secret['functions'])})" if secret["functions"] else ""
        click.echo(f"{style('!', fg='red')} secret {style(secret['name'], bold=True)} is not set{by}")
    _show_undeclared([item for item in plan.items if item["action"] == "undeclared"])
    click.echo(summary(plan, done=done))


def summary(plan: Plan, *, done: bool) -> str:
    """How many things change, in a line."""
    found = [item["action"] for item in plan.items]
    counts = [f"{found.count(action)} {action}" for action in ("created", "updated", "deleted") if action in found]
    if migrations := len(plan.migrations):
        counts.insert(0, f"{migrations} migration{'s' if migrations > 1 else ''}")
    left = f"; {found.count('undeclared')} not declared here" if "undeclared" in found else ""
    if not counts:
        return f"No changes: the project is as declared{left}."
    return f"{'Deployed' if done else 'Plan'}: {', '.join(counts)}{left}."


def _show_undeclared(items: Sequence[Item]) -> None:
    """Print a line each, or one for many of a kind: a project may have hundreds that the folder does not declare."""
    mark = style(MARKS["undeclared"][0], fg=MARKS["undeclared"][1])
    for kind, of_kind in groupby(sorted(items, key=itemgetter("kind")), itemgetter("kind")):
        names = [style(item["name"], bold=True) for item in of_kind]
        noun = KINDS.get(kind, kind)
        if len(names) > MOST_NAMED:
            rest = len(names) - MOST_NAMED
            plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
            shown = f"{', '.join(names[:MOST_NAMED])} and {rest} more"
            click.echo(f"{mark} {len(names)} {plural} are not declared here, and are left alone: {shown}")
            continue
        for name in names:
            click.echo(f"{mark} {noun} {name} is not declared here, and is left alone")


def _show_item(item: Item, diffs: Mapping[str, Deployment]) -> None:
    mark, colour = MARKS[item["action"]]
    kind = KINDS.get(item["kind"], item["kind"])
    version = f" (version {item['version']})" if item["version"] and item["action"] in ("created", "updated") else ""
    click.echo(f"{style(mark, fg=colour)} {kind} {style(item['name'], bold=True)}{version}")
    if item["changed_elsewhere"]:
        click.echo(style("    ! something else has changed it since the last deployment", fg="red"))
    for key, value in item["changed"].items():
        if key not in CONTENTS:
            click.echo(f"    {_setting(key, value)}")
    if item["kind"] == "function" and item["name"] in diffs:
        _show_diff(diffs[item["name"]])


def _setting(key: str, value: Mapping[str, Any]) -> str:
    if key in HIDDEN:
        return HIDDEN[key]
    if key == "env_vars":  # not their values: those may be secrets
        before, after = value["before"] or {}, value["after"] or {}
        parts = [
            ("set", [name for name in after if before.get(name) != after[name]]),
            ("removed", [name for name in before if name not in after]),
        ]
        return "variables " + "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)
    return f"{key}: {_text(value['before'])} → {_text(value['after'])}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _show_diff(deployment: Deployment) -> None:
    for file, lines in zip(summaries(deployment), deployment.diffs().values(), strict=True):
        if "added" in file:
            counts = (style(f"+{file['added']}", fg="green"), style(f"-{file['removed']}", fg="red"))
            click.echo(f"    {file['path'] or 'code'}  {' '.join(counts)}")
        for line in lines:
            click.echo(style(f"    {line}", fg=DIFF_COLOURS.get(line[:1])))
