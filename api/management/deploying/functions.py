"""A function as a deployment creates or updates it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from api.auth.credentials import Caller
from api.database import Database
from api.http.etags import revision_conflict
from api.http.problems import Problem, invalid, not_found, of_domain_error
from api.management import files
from api.management.checking import Checker, Code
from api.management.models.functions import FunctionToCreate
from api.management.packages import CODE_FIELDS as PACKAGE_FIELDS
from api.management.packages import build_of, build_of_changed
from sql import catalog, versions
from sql.catalog import Function
from sql.errors import DomainError, translated
from support.texts import sentence

Fields = dict[str, Any]
Action = Literal["created", "updated", "unchanged"]
LOADED_FIELDS = {"language", "entry_point", "code", "entry_file", "files"}
NEW: Fields = {"entry_point": "handler", "entry_file": None, "files": files.NO_FILES}


@dataclass(frozen=True, slots=True)
class DeployedFunction:
    """A function before (None when it is new) and after, and the columns that changed."""

    before: Function | None
    after: Function
    changed: tuple[str, ...] = ()

    @property
    def action(self) -> Action:
        if self.before is None:
            return "created"
        return "updated" if self.changed else "unchanged"


def missing_code(entry_file: str | None) -> Problem:
    """422 for a new function without code."""
    if entry_file is None:
        return invalid(
            "code", "Field required", "Send code; or files, and by entry_file which of them is loaded first."
        )
    return invalid("files", f'there is no "{entry_file}" among them, the entry file')


def refuse_twice(names: Sequence[str], field: str = "functions") -> None:
    """Raises Problem for a name that occurs twice."""
    if twice := [name for index, name in enumerate(names) if name in names[:index]]:
        raise invalid(field, f'contains the name "{twice[0]}" twice')


async def stored_fields(database: Database, project_id: UUID, desired: Fields, index: int) -> Fields:
    """The columns to store for a function. Raises Problem."""
    entry_file = None
    if "files" in desired and "entry_file" not in desired:
        existing = await database.read(lambda c: catalog.find_by_name(c, project_id, desired["name"]))
        entry_file = existing.entry_file if existing else None
    try:
        return await files.stored(desired, entry_file)
    except Problem as problem:
        raise with_function(problem, desired["name"], index) from problem


async def check_code(
    database: Database, checker: Checker, project_id: UUID, desired: Sequence[tuple[int, Fields]]
) -> None:
    """Raises Problem for the first of these functions, by their places in the request, whose new code cannot load."""
    codes: list[tuple[int, Code]] = []
    for index, changes in desired:
        if not changes.keys() & LOADED_FIELDS:
            continue
        facts = {**NEW, **changes}
        if not changes.keys() >= LOADED_FIELDS:
            facts = {**NEW, **await _loaded_now(database, project_id, changes["name"]), **changes}
        if facts.keys() >= LOADED_FIELDS:  # what is missing is refused with a better reason
            codes.append((index, Code(changes["name"], **{field: facts[field] for field in LOADED_FIELDS})))
    problems = await checker.problems(project_id, [code for _, code in codes])
    for (index, code), problem in zip(codes, problems, strict=True):
        if problem is not None:
            raise with_function(problem, code.name, index)


async def _loaded_now(database: Database, project_id: UUID, name: str) -> Fields:
    """What a run of the function loads; nothing if there is no such function."""
    function = await database.read(lambda c: catalog.find_by_name(c, project_id, name))
    if function is None:
        return {}
    loaded = {field: getattr(function, field) for field in LOADED_FIELDS}
    if function.entry_file is not None:
        content = await database.read(lambda c: versions.files_of(c, function.id, function.version))
        loaded["files"] = msgspec.Raw(content.encode())
    return loaded


async def deploy_functions(
    connection: AsyncConnection, caller: Caller, desired: Sequence[Fields]
) -> list[DeployedFunction]:
    """Create or update these functions in the transaction of the connection. Raises Problem."""
    done: dict[int, DeployedFunction] = {}
    # One order for everybody: two deployments of the same functions must not wait for each other.
    for index in sorted(range(len(desired)), key=lambda place: str(desired[place]["name"])):
        try:
            done[index] = await _deploy_one(connection, caller, desired[index])
        except Problem as problem:
            raise with_function(problem, desired[index]["name"], index) from problem
    return [done[index] for index in range(len(desired))]


async def _deploy_one(connection: AsyncConnection, caller: Caller, desired: Fields) -> DeployedFunction:
    project_id = caller.project_id
    try:
        with translated():
            function = await catalog.lock_by_name(connection, project_id, desired["name"])
            if function is None:
                new = _new(desired)
                new["build_id"] = await build_of(connection, project_id, new)
                return DeployedFunction(None, await catalog.insert_function(connection, project_id, new, caller.id))
            if desired.get("revision") not in (None, function.revision):
                raise revision_conflict(function)
            changes = await _changes(connection, function, desired)
            if not changes:
                return DeployedFunction(function, function)
            changed = await catalog.update_function(connection, function.id, changes, caller.id)
            assert changed is not None
            return DeployedFunction(function, changed, tuple(changes))
    except DomainError as error:
        raise of_domain_error(error) from error


async def _changes(connection: AsyncConnection, function: Function, desired: Fields) -> Fields:
    changes = {
        name: value
        for name, value in desired.items()
        if name not in ("name", "revision", "files") and getattr(function, name) != value
    }
    if "files" in desired and not await catalog.has_files(connection, function.id, desired["files"]):
        changes["files"] = desired["files"]
    if desired.keys() & PACKAGE_FIELDS:
        build_id = await build_of_changed(connection, function, changes)
        changes |= {} if build_id == function.build_id else {"build_id": build_id}
    return changes


def _new(desired: Fields) -> Fields:
    if desired.get("revision") is not None:
        raise not_found("function", desired["name"])
    if "language" not in desired:
        raise invalid("language", "is required for a new function")
    if desired.get("code") is None:
        raise missing_code(desired.get("entry_file"))
    settings = {name: value for name, value in desired.items() if name not in ("revision", "files")}
    return {**FunctionToCreate(**settings).model_dump(), "files": desired.get("files", files.NO_FILES)}


def with_function(problem: Problem, name: str, index: int) -> Problem:
    """The same problem, saying which function it is about."""
    return in_deployment(problem, f'"{name}"', f"functions.{index}")


def in_deployment(problem: Problem, what: str, field: str) -> Problem:
    """The same problem, saying what of a deployment it is about, and where that is in the request."""
    return Problem(
        problem.status,
        problem.code,
        f"{what}: {sentence(problem.detail)} Nothing was deployed.",
        problem.hint,
        errors=[{**error, "field": f"{field}.{error['field']}".rstrip(".")} for error in problem.errors],
        headers=problem.headers,
    )
