"""Migrations of a project's own schema: files in the order of their numbers, compared with what was applied."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

NAME = re.compile(r"(?P<number>[0-9]{1,18})[_-][A-Za-z0-9_.-]{1,80}\.sql")
State = Literal["applied", "pending", "changed", "missing", "out_of_order"]
_NO_TRANSACTION = re.compile(r"\s*--\s*zmesh:\s*no transaction\s*(\n|$)")


class MigrationsDiverged(Exception):
    """The files are not what was applied, or would not be applied in their order."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Migration:
    """A file; lines end with \\n."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """As zmesh.record_migration() has it."""
        import hashlib  # costs more than the rest of a command's start

        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def in_transaction(self) -> bool:
        """False where its first line is `-- zmesh: no transaction`."""
        return _NO_TRANSACTION.match(self.sql) is None


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that was applied."""

    name: str
    checksum: str
    applied_at: datetime


def in_order(name: str) -> tuple[int, str]:
    """What migrations are sorted by: their number, then their name."""
    match = NAME.fullmatch(name)
    return (int(match["number"]) if match else 0, name)


def states(files: Iterable[Migration], applied: Sequence[Applied]) -> dict[str, State]:
    """Of each migration by its name, in their order."""
    known = {one.name: one for one in applied}
    last = max((in_order(name) for name in known), default=(-1, ""))
    found: dict[str, State] = dict.fromkeys(known, "missing")
    for file in files:
        if file.name in known:
            found[file.name] = "applied" if known[file.name].checksum == file.checksum else "changed"
        else:
            found[file.name] = "pending" if in_order(file.name) > last else "out_of_order"
    return dict(sorted(found.items(), key=lambda one: in_order(one[0])))


def pending(files: Sequence[Migration], applied: Sequence[Applied]) -> list[Migration]:
    """Those to apply, in order. Raises MigrationsDiverged."""
    found = states(files, applied)
    for name, state in found.items():
        match state:
            case "changed":
                raise MigrationsDiverged(
                    "migration_changed",
                    f"{name} was applied, and has changed since.",
                    "Restore the file, and put the change into a new migration.",
                )
            case "missing":
                raise MigrationsDiverged(
                    "migration_missing",
                    f"{name} was applied, and is not among the migrations.",
                    "Restore the file: migrations describe the schema from its beginning.",
                )
            case "out_of_order":
                raise MigrationsDiverged(
                    "migration_out_of_order",
                    f"{name} comes before migrations that were applied.",
                    "Give it a higher number.",
                )
    return sorted((file for file in files if found[file.name] == "pending"), key=lambda file: in_order(file.name))
