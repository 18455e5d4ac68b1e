"""A deployment of a whole project. It is tried first and undone; a plan ends there, and a deployment does it again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from psycopg import AsyncConnection

from api.auth.credentials import Caller
from api.database import Database
from api.http.json_bodies import PARSING
from api.http.problems import Problem
from api.management.checking import Checker
from api.management.deploying.functions import (
    LOADED_FIELDS,
    DeployedFunction,
    Fields,
    check_code,
    deploy_functions,
    refuse_twice,
    stored_fields,
)
from api.management.deploying.reconciling import Outcome, Settings, hash_of, reconcile
from api.management.deploying.releasing import release
from api.management.deploying.tables import ProjectSession, bounded, project_session
from api.management.deploying.triggers import ALL, Aliases, FunctionsByName, Schedules, Webhooks
from api.management.models.deployments import MissingSecret, ProjectPlan, ProjectToDeploy
from api.management.project_roles import ProjectRoles
from sql import catalog, deployments
from sql.catalog import SETTINGS, Function
from sql.errors import Unavailable, translated
from support.project_migrations import Migration
from support.sealing import Sealer

CONTENTS = ("code", "files", "build_id")
SHOWN = tuple(name for name in SETTINGS if name not in (*CONTENTS, "name"))


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of everything but table changes, in a transaction that may be undone."""

    outcomes: list[Outcome]
    functions: FunctionsByName
    known: Mapping[str, str]
    missing: list[MissingSecret]
    changed_code: frozenset[int]


class ProjectDeployment:
    """One request to deploy a project, or to plan that."""

    def __init__(
        self,
        database: Database,
        checker: Checker,
        project_roles: ProjectRoles,
        sealer: Sealer,
        caller: Caller,
        wanted: ProjectToDeploy,
    ) -> None:
        self._database, self._checker, self._sealer = database, checker, sealer
        self._project_roles, self._project_id, self._wanted = project_roles, caller.project_id, wanted
        self._caller = caller

    async def run(self, *, plan: bool, force: bool) -> ProjectPlan:
        """Raises Problem, and then nothing has changed."""
        self._refuse_twice()
        desired = [
            await stored_fields(self._database, self._project_id, function.model_dump(exclude={"secrets"}), n)
            for n, function in enumerate(self._wanted.functions)
        ]
        async with self._transaction(undo=True) as connection:
            tried = await self._attempt(connection, desired)
        if not force:
            changed = [(n, fields) for n, fields in enumerate(desired) if n in tried.changed_code]
            await check_code(self._database, self._checker, self._project_id, changed)
        tables = self._tables(tried.functions)
        async with AsyncExitStack() as stack:
            session = await self._session(stack)
            if session is not None:
                async with bounded():
                    await session.apply(tables, prune=self._wanted.prune, migrations=self._migrations())
            if plan:
                return await PARSING.run(self._answer, tried, session, is_plan=True)
            return await self._deploy(desired, session)

    def _refuse_twice(self) -> None:
        wanted = self._wanted
        refuse_twice([function.name for function in wanted.functions])
        refuse_twice([schedule.name for schedule in wanted.schedules], "schedules")
        refuse_twice([webhook.name for webhook in wanted.webhooks], "webhooks")
        refuse_twice([f"{alias.function}/{alias.name}" for alias in wanted.aliases], "aliases")
        refuse_twice([f"{change.table} → {change.function}" for change in wanted.changes], "changes")
        refuse_twice([migration.name for migration in wanted.migrations or []], "migrations")

    async def _session(self, stack: AsyncExitStack) -> ProjectSession | None:
        """None where none can be had, as of a project that uses all its connections, and none is needed."""
        try:
            return await stack.enter_async_context(project_session(self._project_roles, self._project_id))
        except (Problem, Unavailable):
            if self._wanted.changes or self._wanted.prune or self._wanted.migrations is not None:
                raise
        return None

    async def _deploy(self, desired: Sequence[Fields], session: ProjectSession | None) -> ProjectPlan:
        tables = session.outcomes if session else []
        async with self._transaction() as connection:
            done = await self._attempt(connection, desired)
            self._refuse_missing(done.missing)
            outcomes = [*done.outcomes, *tables]
            await PARSING.run(self._refuse_overwriting, outcomes, done.known)
            left = await PARSING.run(_left, outcomes, done.known)
            await deployments.record(connection, self._project_id, left)
            if session is not None:
                await session.commit()
        return await PARSING.run(self._answer, done, session, is_plan=False)

    @asynccontextmanager
    async def _transaction(self, *, undo: bool = False) -> AsyncIterator[AsyncConnection]:
        async with self._database.changing(self._project_id) as connection, connection.transaction(force_rollback=undo):
            yield connection

    async def _attempt(self, connection: AsyncConnection, desired: Sequence[Fields]) -> Attempt:
        """Everything but table changes. Raises Problem."""
        known = await deployments.begin(connection, self._project_id)
        others = await self._others(connection, lock=self._wanted.prune)
        if others and self._wanted.prune and self._caller.user_id is None:
            raise Problem(
                403,
                "forbidden",
                f"A deploy key cannot delete functions, such as {others[0].name}. Nothing was deployed.",
                "Deploy with prune as a member of the project.",
            )
        deployed = await deploy_functions(connection, self._caller, desired)
        kept = [one.after for one in deployed] + ([] if self._wanted.prune else others)
        functions = FunctionsByName(kept)
        outcomes = [_function(one) for one in deployed]
        outcomes += await self._triggers(connection, functions, [one.after.name for one in deployed])
        for other in others:
            if self._wanted.prune:
                await catalog.delete_function(connection, other.id)
            outcomes.append(
                Outcome("function", other.name, _settings(other), None, self._wanted.prune, version=other.version)
            )
        for one in deployed:
            await release(connection, one, self._wanted.message)
        missing = await self._missing_secrets(connection, deployed)
        changed_code = frozenset(
            n for n, one in enumerate(deployed) if one.before is None or not LOADED_FIELDS.isdisjoint(one.changed)
        )
        return Attempt(outcomes, functions, known, missing, changed_code)

    async def _others(self, connection: AsyncConnection, *, lock: bool) -> list[Function]:
        """The functions that are not declared; those to delete are locked, in the order of names like all others."""
        declared = {function.name for function in self._wanted.functions}
        with translated():
            found = await catalog.list_functions(connection, self._project_id, "", ALL, with_code=False)
            others = [function for function in found if function.name not in declared]
            if lock:
                for name in sorted(function.name for function in found):
                    await catalog.lock_by_name(connection, self._project_id, name)
        return others

    async def _triggers(
        self, connection: AsyncConnection, functions: FunctionsByName, declared: Sequence[str]
    ) -> list[Outcome]:
        wanted, prune = self._wanted, self._wanted.prune
        payloads = await PARSING.run(_texts, [one.payload for one in wanted.schedules])
        digests = await deployments.digests(connection, payloads)
        schedules = {
            one.name: functions.with_slug(
                one.model_dump(exclude={"name", "payload"}) | {"cron": one.cron.strip(), "payload": digest}
            )
            for one, digest in zip(wanted.schedules, digests, strict=True)
        }
        texts = dict(zip(schedules, payloads, strict=True))
        webhooks = {
            one.name: functions.with_slug(
                one.model_dump(exclude={"name"})
                | {"signature_header": one.signature_header and one.signature_header.lower()}
            )
            for one in wanted.webhooks
        }
        aliases = {
            f"{functions.of(one.function).name}/{one.name}": {"versions": one.versions} for one in wanted.aliases
        }
        own = [*declared, *(functions.of(one.function).name for one in wanted.aliases)]
        return [
            *await reconcile(Schedules(connection, self._project_id, functions, texts), schedules, prune=prune),
            *await reconcile(Webhooks(connection, self._project_id, functions, self._sealer), webhooks, prune=prune),
            *await reconcile(Aliases(connection, functions, own), aliases, prune=prune),
        ]

    def _tables(self, functions: FunctionsByName) -> dict[tuple[str, str], Settings]:
        return {
            (one.table, functions.of(one.function).slug): {
                "events": sorted(set(one.events)),
                "when": one.when,
                "columns": one.columns,
            }
            for one in self._wanted.changes
        }

    async def _missing_secrets(
        self, connection: AsyncConnection, deployed: Sequence[DeployedFunction]
    ) -> list[MissingSecret]:
        found = await deployments.secrets(connection, self._project_id)
        of_project = {secret.name for secret in found if secret.function_id is None}
        needed: dict[str, list[str]] = {name: [] for name in self._wanted.secrets if name not in of_project}
        for declared, one in zip(self._wanted.functions, deployed, strict=True):
            own = {secret.name for secret in found if secret.function_id == one.after.id}
            for name in declared.secrets:
                if name not in of_project | own:
                    needed.setdefault(name, []).append(declared.name)
        return [MissingSecret(name=name, functions=functions) for name, functions in needed.items()]

    def _refuse_missing(self, missing: Sequence[MissingSecret]) -> None:
        if missing:
            names = ", ".join(secret.name for secret in missing)
            raise Problem(
                409,
                "secrets_missing",
                f"Required secrets are not set: {names}. Nothing was deployed.",
                f"Set each of them: zmesh secrets set {missing[0].name}",
            )

    def _refuse_overwriting(self, outcomes: Sequence[Outcome], known: Mapping[str, str]) -> None:
        if self._wanted.overwrite:
            return
        elsewhere = [one.key for one in outcomes if one.overwrites(known, self._wanted.based_on)]
        if elsewhere:
            raise Problem(
                409,
                "changed_elsewhere",
                f"Changed elsewhere since the last deployment: {', '.join(elsewhere[:20])}"
                f"{' and more' if len(elsewhere) > 20 else ''}. Nothing was deployed.",
                "Copy the changes into the folder with `zmesh pull`, or overwrite them with --overwrite.",
                errors=[{"field": key, "message": "was changed since the last deployment"} for key in elsewhere[:100]],
            )

    def _migrations(self) -> list[Migration] | None:
        files = self._wanted.migrations
        return None if files is None else [Migration(file.name, file.sql) for file in files]

    def _answer(self, attempt: Attempt, session: ProjectSession | None, *, is_plan: bool) -> ProjectPlan:
        outcomes = [*attempt.outcomes, *(session.outcomes if session else [])]
        states = {one.key: one.before if is_plan or _is_undeclared(one) else one.after for one in outcomes}
        return ProjectPlan(
            items=[
                one.shown(changed_elsewhere=one.overwrites(attempt.known, self._wanted.based_on), is_plan=is_plan)
                for one in outcomes
            ],
            migrations=session.migrations if session else [],
            missing_secrets=attempt.missing,
            state={key: hash_of(settings) for key, settings in states.items() if settings is not None},
        )


def _texts(payloads: Sequence[Any]) -> list[str]:
    return [msgspec.json.encode(payload).decode() for payload in payloads]


def _is_undeclared(outcome: Outcome) -> bool:
    return outcome.after is None and not outcome.deleted


def _function(deployed: DeployedFunction) -> Outcome:
    return Outcome(
        "function",
        deployed.after.name,
        None if deployed.before is None else _settings(deployed.before),
        _settings(deployed.after),
        contents=tuple(name for name in CONTENTS if name in deployed.changed),
        version=deployed.after.version,
    )


def _settings(function: Function) -> dict[str, Any]:
    """What it is, with its version in place of its code and files."""
    shown = {name: getattr(function, name) for name in SHOWN}
    return {**shown, "id": str(function.id), "version": function.version}


def _left(outcomes: Sequence[Outcome], known: Mapping[str, str]) -> dict[str, str]:
    """The hashes of what is declared; those of things that were left alone stay."""
    left = {one.key: known[one.key] for one in outcomes if _is_undeclared(one) and one.key in known}
    return left | {one.key: hash_of(one.after) for one in outcomes if one.after is not None}
