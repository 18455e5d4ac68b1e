"""Bringing the things of one kind to their declared state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from api.http.problems import Problem, of_domain_error
from api.management.deploying.functions import in_deployment
from api.management.models.deployments import Difference, Kind, PlannedItem
from sql.errors import DomainError, translated

Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """What only the one who created or changed a thing is told."""

    path: str | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A thing before and after; None where it did not exist, or was not declared. `contents` changed as well."""

    kind: Kind
    name: str
    before: Settings | None
    after: Settings | None
    deleted: bool = False
    contents: tuple[str, ...] = ()
    version: int | None = None
    made: Made = field(default_factory=Made)

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def action(self) -> Any:
        if self.deleted:
            return "deleted"
        if self.after is None:
            return "undeclared"
        if self.before is None:
            return "created"
        return "updated" if self.contents or hash_of(self.before) != hash_of(self.after) else "unchanged"

    def overwrites(self, known: Mapping[str, str], based_on: Mapping[str, str] | None) -> bool:
        """Whether it changes what is neither as the last deployment left it nor as the caller has seen it."""
        action = self.action
        if action in ("unchanged", "undeclared") or (action == "deleted" and self.key not in known):
            return False
        now = None if self.before is None else hash_of(self.before)
        return now != known.get(self.key) and (based_on is None or now != based_on.get(self.key))

    def shown(self, *, changed_elsewhere: bool, is_plan: bool) -> PlannedItem:
        """As HTTP shows it."""
        return PlannedItem(
            kind=self.kind,
            name=self.name,
            action=self.action,
            changed=self._differences() if self.action == "updated" else {},
            changed_elsewhere=changed_elsewhere,
            version=self.version,
            path=None if is_plan else self.made.path,
            secret=None if is_plan else self.made.secret,
        )

    def _differences(self) -> dict[str, Difference]:
        before, after = self.before or {}, self.after or {}
        differing = {
            name: Difference(before=before.get(name), after=after[name])
            for name in after
            if name not in ("id", "version") and canonical(before.get(name)) != canonical(after[name])
        }
        hidden = [*self.contents, *(name for name in differing if name == "payload")]
        return differing | {name: Difference(before=None, after=None) for name in hidden}


class Things(Protocol):
    """The things of one kind that a project has. Its methods raise Problem and DomainError."""

    kind: Kind
    field: str  # of the request

    async def current(self) -> dict[str, Settings]:
        """Those that there are, by name."""

    async def create(self, name: str, settings: Settings) -> Made:
        """Make a new one."""

    async def change(self, name: str, before: Settings, settings: Settings) -> Made:
        """Bring one to this state."""

    async def delete(self, name: str) -> None:
        """Remove one."""


async def reconcile(things: Things, declared: Mapping[str, Settings], *, prune: bool) -> list[Outcome]:
    """Create and change what is declared; with `prune`, delete everything else. Raises Problem."""
    with translated():
        current = await things.current()
    outcomes: list[Outcome] = []
    for index, (name, settings) in enumerate(declared.items()):
        before, made = current.get(name), Made()
        try:
            with translated():
                if before is None:
                    made = await things.create(name, settings)
                elif hash_of(before) != hash_of(settings):
                    made = await things.change(name, before, settings)
        except (Problem, DomainError) as error:
            problem = error if isinstance(error, Problem) else of_domain_error(error)
            raise in_deployment(problem, f'{things.kind} "{name}"', f"{things.field}.{index}") from error
        outcomes.append(Outcome(things.kind, name, before, settings, made=made))
    for name in sorted(current.keys() - declared.keys()):
        if prune:
            with translated():
                await things.delete(name)
        outcomes.append(Outcome(things.kind, name, current[name], None, deleted=prune))
    return outcomes


def hash_of(settings: Settings) -> str:
    """Equal for equal settings."""
    return hashlib.sha256(canonical(settings).encode()).hexdigest()[:32]


def canonical(value: Any) -> str:
    """The JSON text of a value, the same for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
