"""`zmesh init`, `plan`, `deploy` and `pull`: a project folder and the project that runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import get_current_context
from click.core import ParameterSource

from cli.client import Client
from cli.connecting import command_for, connected
from cli.functions.commands import deploy_files
from cli.output import output_option, print_json, progress, style
from cli.prompts import confirm

if TYPE_CHECKING:
    from cli.project.folder import Project
    from cli.project.planning import Options, Plan

DIFFERS = 3  # exit status with --exit-code; 2 is that of misuse, which must not pass for a difference
DEPLOY_FUNCTIONS = deploy_files
FOLDER = click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
PRUNE = click.option("--prune", is_flag=True, help="Delete what the folder does not declare.")
FORCE = click.option("--force", is_flag=True, help="Deploy code even if it cannot be loaded.")


exit_code_option = click.option("--exit-code", is_flag=True, help=f"Exit with status {DIFFERS} if there are changes.")


@click.command("init")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--language",
    type=click.Choice(["javascript", "typescript", "python"]),
    default="javascript",
    show_default=True,
    help="Language of the first function.",
)
@click.option(
    "--ci",
    "pipeline",
    type=click.Choice(["github", "gitlab"]),
    default="github",
    show_default=True,
    help="Whose pipeline deploys it.",
)
@output_option
def init(folder: Path, language: str, pipeline: str, output: str) -> None:
    """Create a project folder: a function with its test, zmesh.toml, and a pipeline that deploys it.

    Existing files are never overwritten.
    """
    from cli.project.initialising import write_project

    written = write_project(folder, language, pipeline)
    if output == "json":
        print_json({"folder": str(folder), "files": written})
        return
    for path in written:
        click.echo(f"{style('+', fg='green')} {folder / path}")
    there = "" if folder == Path(".") else f"cd {folder} && "
    progress(style(f"Next: {there}zmesh plan, then zmesh deploy.", dim=True))


@click.command("plan")
@FOLDER
@PRUNE
@FORCE
@exit_code_option
@output_option
@connected
def plan(client: Client, folder: Path, prune: bool, force: bool, exit_code: bool, output: str) -> None:
    """Show what `zmesh deploy` would change. Nothing is deployed; packages are built."""
    from cli.project.folder import read_project
    from cli.project.planning import Options

    found = _planned(client, read_project(folder), Options(prune, force=force), output)
    if output == "json":
        print_json(found.described())
    if exit_code and not found.is_empty:
        raise SystemExit(DIFFERS)


@click.command("diff")
@FOLDER
@exit_code_option
@output_option
@connected
def diff(client: Client, folder: Path, exit_code: bool, output: str) -> None:
    """Show all that differs between a project folder and the project, also what only the project has.

    `zmesh plan` shows what a deployment would do about it.
    """
    from cli.project.folder import read_project
    from cli.project.planning import Options

    found = _planned(client, read_project(folder), Options(force=True), output)
    if output == "json":
        print_json({**found.described(), "differences": found.differences})
    if exit_code and found.differences:
        raise SystemExit(DIFFERS)


def _planned(client: Client, project: Project, options: Options, output: str) -> Plan:
    from cli.project import planning

    found = planning.plan(client, project, options)
    if output != "json":
        planning.show(found, done=False)
    return found


def deploy_project(client: Client, folder: Path, options: Options, *, dry_run: bool, yes: bool, output: str) -> None:
    """Deploy a project folder, all of it or nothing. Raises CliError."""
    from cli.project import planning
    from cli.project.folder import forget_pulled, read_project

    project = read_project(folder)
    found = _planned(client, project, options, output)
    if dry_run:
        if output == "json":
            print_json(found.described())
        return
    if deleted := [item for item in found.changes if item["action"] == "deleted"]:
        names = ", ".join(f"{item['kind']} {item['name']}" for item in deleted)
        confirm(f"Delete {names}?", yes=yes)
    done = planning.deploy(client, project, options)  # also if nothing changes: then the server knows the folder
    forget_pulled(folder)
    if output == "json":
        print_json(planning.Plan(done.answer, found.diffs).described())
        return
    if not done.is_empty:
        click.echo(planning.summary(done, done=True))
    show_webhooks(client, done)


def show_webhooks(client: Client, done: Plan) -> None:
    """URLs of new webhooks, and their secrets: to a person only, not to the log of a pipeline."""
    import sys

    for item in done.items:
        if item["path"]:
            click.echo(f"  webhook {item['name']}: {client.connection.url}{item['path']}")
        if item["secret"] and sys.stdout.isatty():
            click.echo(f"  secret of {item['name']}, not shown again: {item['secret']}")
        elif item["secret"]:
            command = command_for(client, "webhooks", "rotate", item["name"])
            progress(style(f"For a secret to configure the sender of {item['name']} with: {command}", dim=True))


@click.command("pull")
@FOLDER
@click.option("--yes", is_flag=True, help="Do not ask before files are changed.")
@output_option
@connected
def pull(client: Client, folder: Path, yes: bool, output: str) -> None:
    """Write the deployed functions and triggers into a folder; a plan then has no changes.

    Files that exist are changed only with your consent. Files of functions that the project does not have are left
    alone. Comments in zmesh.toml are lost where it has to change.
    """
    from cli.project.pulling import pull_project

    pulled = pull_project(client, folder, yes=yes)
    for path in pulled.left_out:
        progress(f"{style('!', fg='yellow')} {path} was not written: deployments leave out files with such names.")
    for path in pulled.unreadable:
        progress(
            f"{style('!', fg='yellow')} {path} was not written: it is malformed, and with it the folder could not be "
            "deployed. The deployed function keeps it."
        )
    if output == "json":
        print_json(asdict(pulled))
        return
    for path in pulled.written:
        click.echo(f"{style('~', fg='yellow')} {path}")
    click.echo(f"{len(pulled.written)} files written, {pulled.unchanged} unchanged.")
    if pulled.problem is not None:
        progress(f"{style('!', fg='yellow')} The folder cannot be planned: {pulled.problem}")
    if pulled.changes:
        progress(f"{style('!', fg='yellow')} The folder still differs from the project: see `zmesh plan`.")


def _deploy(paths: tuple[Path, ...], **options: Any) -> None:
    from cli.manifest import is_project
    from cli.project.planning import Options

    own = {name: options.pop(name) for name in ("prune", "overwrite", "dry_run", "yes")}
    if paths and not (len(paths) == 1 and paths[0].is_dir() and is_project(paths[0])):
        _refuse_given(own, "works on a project folder, not on single functions")
        assert DEPLOY_FUNCTIONS.callback is not None
        DEPLOY_FUNCTIONS.callback(paths=paths, **options)
        return
    shared = {parameter.name for parameter in CONNECTION_AND_OUTPUT}
    of_functions = options.keys() - shared - {"force", "message"}
    _refuse_given(of_functions, "works on single functions; a project folder has zmesh.toml")
    given = {name: options[name] for name in shared if name in options and name != "output"}
    how = Options(own["prune"], own["overwrite"], options["force"], options["message"] or "")
    _deploy_there(
        paths[0] if paths else Path("."), how, dry_run=own["dry_run"], yes=own["yes"], output=options["output"], **given
    )


@connected
def _deploy_there(client: Client, folder: Path, options: Options, *, dry_run: bool, yes: bool, output: str) -> None:
    deploy_project(client, folder, options, dry_run=dry_run, yes=yes, output=output)


def _refuse_given(names: Any, why: str) -> None:
    context = get_current_context()
    for parameter in context.command.params:
        if parameter.name in names and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} {why}.")


CONNECTION_AND_OUTPUT = [
    parameter
    for parameter in DEPLOY_FUNCTIONS.params
    if parameter.name in ("url", "token", "api_key", "profile", "in_project", "output")
]

deploy = click.Command(
    name="deploy",
    callback=_deploy,
    help="""Deploy the project folder here, or functions from PATHS.

    Without PATHS, or with the folder of a project, all that its zmesh.toml declares is deployed in one transaction.
    With other files and folders it is `zmesh functions deploy`.
    """,
    params=[
        click.Argument(["paths"], nargs=-1, type=click.Path(path_type=Path)),
        click.Option(["--prune"], is_flag=True, help="Project: delete what the folder does not declare."),
        click.Option(["--dry-run"], is_flag=True, help="Project: only show what would change, as `zmesh plan` does."),
        click.Option(["--overwrite"], is_flag=True, help="Project: also overwrite changes made elsewhere."),
        click.Option(["--yes"], is_flag=True, help="Project: do not ask before --prune deletes."),
        *DEPLOY_FUNCTIONS.params[1:],
    ],
)
