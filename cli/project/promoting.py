"""`zmesh promote`: exact versions of functions, and their triggers, from one environment to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import click

from cli.client import ApiError, Client
from cli.completing import names_of, profile_names
from cli.config import find_connection
from cli.connecting import find_function
from cli.errors import CliError
from cli.functions.building import Build, built, manifest_of_function
from cli.functions.versions import command_to_set, version_of, warn_if_live_differs
from cli.manifest import FunctionSettings
from cli.output import output_option, print_json, progress, style
from cli.project import planning
from cli.project.commands import DIFFERS, exit_code_option, show_webhooks
from cli.project.triggers import Triggers, triggers_of
from cli.prompts import confirm

LIVE = "live"
CODE = ("language", "entry_point", "style", "init", "code", "entry_file", "files")
NOT_SENT = ("path", "entry", "env", "secrets", "aliases")
SETTINGS = (*(name for name in FunctionSettings.model_fields if name not in NOT_SENT), "env_vars")
Function = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A version of a function of the source, with the secrets of its own, the build of its packages, and the aliases
    that give all calls to it."""

    function: Function
    slug: str
    version: int
    secrets: list[str]
    build: Build | None
    aliases: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Promotion:
    """What is moved; `secrets` are those that the source has for all functions."""

    chosen: Sequence[Chosen]
    secrets: Sequence[str]
    left_out: frozenset[str] = frozenset()
    variables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # that the target keeps, by function
    triggers: Triggers = field(default_factory=Triggers)

    @property
    def functions(self) -> list[Function]:
        """As they are to be in the target."""
        return [self._declared(one) for one in self.chosen]

    @property
    def sources(self) -> Mapping[str, Path]:
        """Empty: promoted functions have no files here."""
        return {}

    def _declared(self, one: Chosen) -> Function:
        variables = self.variables.get(one.function["name"], one.function["env_vars"])
        secrets = [name for name in one.secrets if name not in self.left_out]
        return {**one.function, "env_vars": variables, "secrets": secrets}

    def request(self) -> dict[str, Any]:
        """What POST /deployments/project takes."""
        needed = [name for name in self.secrets if name not in self.left_out]
        return {"functions": self.functions, "secrets": needed, **self.triggers.request()}


@click.command("promote")
@click.argument("source", shell_complete=profile_names)
@click.argument("target", shell_complete=profile_names)
@click.argument(
    "functions", nargs=-1, metavar="[FUNCTION[@VERSION]]...", shell_complete=names_of("functions", profile="source")
)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@exit_code_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--overwrite", is_flag=True, help="Also overwrite what something else has changed in the target.")
@click.option(
    "--keep-env", is_flag=True, help="Leave the variables of functions that the target has as they are there."
)
@click.option(
    "--without-secret", multiple=True, metavar="NAME", help="Secret that the target does not need; repeatable."
)
@click.option(
    "--triggers", is_flag=True, help="Also promote the schedules, webhooks and table changes of these functions."
)
@click.option("--message", metavar="TEXT", help="What the new versions change. Default: where they come from.")
@output_option
def promote(
    source: str,
    target: str,
    functions: tuple[str, ...],
    dry_run: bool,
    exit_code: bool,
    yes: bool,
    overwrite: bool,
    keep_env: bool,
    without_secret: tuple[str, ...],
    triggers: bool,
    message: str | None,
    output: str,
) -> None:
    """Bring functions of the profile SOURCE into the project of the profile TARGET: all, or those named.

    What runs in the source is what the target gets: code, files, packages and settings of the version that is live
    there, or of the one that is named. Nothing is deleted, and nothing happens if the target lacks a secret that the
    source has. Schedules, webhooks and table changes are moved with --triggers. Aliases and migrations are not: deploy
    the project folder for these.
    """
    there, here = (Client(find_connection(None, None, None, profile)) for profile in (source, target))
    chosen = list(_chosen(there, functions))
    _refuse_same_project(there, here, source, target)
    kept = _variables(here, chosen) if keep_env else {}
    secrets = [secret["name"] for secret in there.items("/secrets")]
    found_triggers = triggers_of(there, {one.slug for one in chosen})
    moved = found_triggers if triggers else Triggers()
    promotion = Promotion(chosen, secrets, frozenset(without_secret), kept, moved)
    _build_packages(here, promotion)
    options = planning.Options(overwrite=overwrite, message=message or _message(source, chosen))
    with _advice(target):
        found = planning.planned(here, promotion, options).of_declared
    left = [] if triggers else list(found_triggers.without(triggers_of(here, {one.slug for one in chosen})).names())
    if output != "json":
        planning.show(found, done=False)
        _show_left(left, target)
    if dry_run or found.is_empty:
        _end(found, left, output, DIFFERS if exit_code and not found.is_empty else 0)
    _require_secrets(found, source, target)
    confirm(f"Promote this to {target}?", yes=yes)
    with _advice(target):
        done = planning.deploy(here, promotion, options).of_declared
    if output == "json":
        print_json(_described(planning.Plan(done.answer, found.diffs), left))
        return
    click.echo(planning.summary(done, done=True))
    show_webhooks(here, done)
    for one in chosen:
        function = find_function(here, one.function["name"])
        warn_if_live_differs(here, function, target)
        _show_aliases(here, function, one.aliases, source, target)


def _end(plan: planning.Plan, left: Sequence[tuple[str, str]], output: str, status: int) -> NoReturn:
    """End without promoting anything."""
    if output == "json":
        print_json(_described(plan, left))
    raise SystemExit(status)


def _described(plan: planning.Plan, left: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {**plan.described(), "not_promoted": [{"kind": kind, "name": name} for kind, name in left]}


def _show_left(left: Sequence[tuple[str, str]], target: str) -> None:
    """Print what is not promoted, and how to promote it."""
    if left:
        names = ", ".join(f"{kind} {name}" for kind, name in left)
        progress(f"{style('!', fg='yellow')} Not promoted: {names}. To promote these too, pass --triggers.")
    progress(style(f"Migrations and aliases are not promoted: zmesh deploy FOLDER --profile {target}", dim=True))


def _show_aliases(here: Client, function: Function, names: Sequence[str], source: str, target: str) -> None:
    """Print the commands that set aliases of the promoted version in the target, where it has another number."""
    found = _aliases_of(here, function)
    for name in names:
        if found.get(name) != {str(function["version"]): 100}:
            progress(f"In {source}, the alias {name} of {function['slug']} names this version. To set it in {target}:")
            progress(f"  {command_to_set(name, function, target)}")


def _require_secrets(plan: planning.Plan, source: str, target: str) -> None:
    if plan.missing_secrets:
        missing = ", ".join(secret["name"] for secret in plan.missing_secrets)
        raise CliError(
            f"{target} lacks secrets that {source} has: {missing}. Nothing was promoted.",
            code="secrets_missing",
            hint=f"Set each: zmesh secrets set {plan.missing_secrets[0]['name']} --profile {target}. What {target} "
            "does not need, leave out with --without-secret.",
        )


@contextmanager
def _advice(target: str) -> Iterator[None]:
    """Give errors of the target the hints that help in a promotion."""
    try:
        yield
    except ApiError as error:
        if error.code == "changed_elsewhere":
            message = f"In {target}, something else has changed what the plan would change. Nothing was promoted."
            hint = "To promote over these changes, pass --overwrite."
        elif error.code == "table_not_found":
            message = f"In {target}: {error.message}"
            hint = f"Apply the project's migrations there first: zmesh migrations apply --profile {target}"
        else:
            raise
        raise CliError(message, code=error.code, hint=hint) from error


def _chosen(client: Client, named: Sequence[str]) -> Iterator[Chosen]:
    """The functions with the code of their versions. Raises CliError."""
    names = named or [function["slug"] for function in client.items("/functions", code="false")]
    for text in names:
        name, _, version = text.partition("@")
        if version and not version.isdecimal():
            raise click.BadParameter(f'"{version}" is not the number of a version.', param_hint=f"'{text}'")
        function = find_function(client, name)
        aliases = _aliases_of(client, function)
        number = int(version) if version else _live_version(function, aliases.get(LIVE, {}))
        code = version_of(client, function, number) if number != function["version"] else function
        settings = {key: function[key] for key in SETTINGS}
        own = [secret["name"] for secret in client.items(f"/functions/{function['id']}/secrets")]
        build = client.call("GET", f"/builds/{code['build_id']}").body if code["build_id"] else None
        wanted = {**settings, "name": function["name"], **{key: code[key] for key in CODE}}
        same = [name for name, versions in aliases.items() if name != LIVE and versions == {str(number): 100}]
        yield Chosen(wanted, function["slug"], number, own, build, same)


def _aliases_of(client: Client, function: Function) -> dict[str, Mapping[str, int]]:
    """The shares of versions by the name of the alias."""
    return {alias["name"]: alias["versions"] for alias in client.items(f"/functions/{function['id']}/aliases")}


def _live_version(function: Function, live: Mapping[str, int]) -> int:
    """The version that gets the calls, by the shares of the alias live. Raises CliError where several share them."""
    versions = [int(version) for version, share in live.items() if share]
    if len(versions) > 1:
        raise CliError(
            f"Versions {' and '.join(map(str, sorted(versions)))} of {function['slug']} share its calls.",
            code="several_live_versions",
            hint=f"Say which: {function['slug']}@{max(versions)}",
        )
    return versions[0] if versions else int(function["version"])


def _refuse_same_project(there: Client, here: Client, source: str, target: str) -> None:
    if there.connection.url == here.connection.url and _project_of(there) == _project_of(here) is not None:
        raise CliError(
            f"{source} and {target} are the same project.",
            code="same_project",
            hint="Log in to the other: zmesh login --profile NAME --project PROJECT.",
        )


def _project_of(client: Client) -> str | None:
    return next((function["project_id"] for function in client.items("/functions", code="false")), None)


def _variables(client: Client, chosen: Sequence[Chosen]) -> dict[str, Mapping[str, str]]:
    """The variables of the functions that are there."""
    names = {one.function["name"] for one in chosen}
    listed = client.items("/functions", code="false")
    return {function["name"]: function["env_vars"] for function in listed if function["name"] in names}


def _build_packages(client: Client, promotion: Promotion) -> None:
    """Have the same packages installed in the target. Raises CliError where they would be others."""
    for one in promotion.chosen:
        manifest = manifest_of_function(one.function)
        if manifest is None or one.build is None:
            continue
        lock = one.build["lock"] if manifest.lock is None else None
        build = built(client, one.function, manifest, lock=lock)
        if lock is not None and _packages(build) != _packages(one.build):  # somebody had requested it without the lock
            build = built(client, one.function, manifest, lock=lock)
        if _packages(build) != _packages(one.build):
            raise CliError(
                f"{one.function['name']} would get other packages than it has in the source. Nothing was promoted.",
                code="packages_differ",
                hint="If they were uploaded with --bundle, deploy with --bundle to the target too.",
            )


def _packages(build: Build) -> set[tuple[str, str]]:
    return {(package["name"], package["version"]) for package in build["packages"]}


def _message(source: str, chosen: Sequence[Chosen]) -> str:
    if len(chosen) == 1:
        return f"promoted from {source}, version {chosen[0].version}"
    return f"promoted from {source}"
