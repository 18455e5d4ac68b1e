"""The triggers of functions in one environment, in the form in which another can be given them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.client import Client
from cli.manifest import ChangeSettings, Declared, ScheduleSettings, WebhookSettings

Items = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Triggers:
    """Triggers in the form that POST /deployments/project takes."""

    schedules: Items = field(default_factory=list)
    webhooks: Items = field(default_factory=list)
    changes: Items = field(default_factory=list)

    def request(self) -> Mapping[str, Items]:
        """Their part of the request."""
        return {"schedules": self.schedules, "webhooks": self.webhooks, "changes": self.changes}

    def names(self) -> Iterator[tuple[str, str]]:
        """The kind and the name of each, for people."""
        yield from (("schedule", one["name"]) for one in self.schedules)
        yield from (("webhook", one["name"]) for one in self.webhooks)
        yield from (("table change", f"{one['table']} → {one['function']}") for one in self.changes)

    def without(self, others: Triggers) -> Triggers:
        """Those that `others` lacks or has differently."""
        return Triggers(
            [one for one in self.schedules if one not in others.schedules],
            [one for one in self.webhooks if one not in others.webhooks],
            [one for one in self.changes if one not in others.changes],
        )


def triggers_of(client: Client, functions: Collection[str]) -> Triggers:
    """The triggers of the functions with these slugs. Raises CliError."""
    return Triggers(
        list(_declared(client, "/schedules", ScheduleSettings, functions)),
        list(_declared(client, "/webhooks", WebhookSettings, functions)),
        list(_declared(client, "/changes", ChangeSettings, functions)),
    )


def _declared(client: Client, path: str, model: type[Declared], functions: Collection[str]) -> Iterator[dict[str, Any]]:
    names = {"name", *model.model_fields}
    for item in client.items(path):
        if item["function"] in functions:
            yield {name: value for name, value in item.items() if name in names}
