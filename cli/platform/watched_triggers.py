"""The triggers of a watched project: deployed whenever those that its zmesh.toml declares have changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cli.client import ApiError, Client
from cli.connecting import command_for
from cli.manifest import is_project, read_project_file
from cli.output import style
from cli.project import planning
from cli.project.folder import Project
from cli.project.triggers import Triggers


class WatchedTriggers:
    """Schedules, webhooks and table changes of the project that contains a folder. None is deleted."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder.absolute()
        self._deployed = Triggers()

    def deploy_changed(self) -> Iterator[str]:
        """Deploy them if they differ from what was last deployed, and yield what changed. Raises CliError."""
        project = self._project()
        if project is None:
            return
        request = project.request()
        before, declared = self._deployed, Triggers(request["schedules"], request["webhooks"], request["changes"])
        if declared == before:
            return
        try:
            done = planning.deploy(self._client, project, planning.Options())
        except ApiError as error:
            raise _with_advice(error) from error
        self._deployed = declared
        yield from (_described(self._client, item) for item in done.of_declared.changes)
        kept = set(declared.names())
        for kind, name in before.names():
            if (kind, name) not in kept:
                yield f"{kind} {name} is no longer declared. It stays; `zmesh deploy --prune` deletes it."

    def _project(self) -> Project | None:
        """The project with nothing but its triggers. Raises CliError."""
        root = next((folder for folder in (self._folder, *self._folder.parents) if is_project(folder)), None)
        if root is None:
            return None
        file = read_project_file(root)
        return Project(root, file.model_copy(update={"secrets": []}), [], [], None)


def _described(client: Client, item: planning.Item) -> str:
    kind = planning.KINDS.get(item["kind"], item["kind"])
    said = f"{style('•', fg='green')} {kind} {style(item['name'], bold=True)} {style(item['action'], dim=True)}"
    if item["path"]:
        said += f" {client.connection.url}{item['path']}"
    rotate = command_for(client, "webhooks", "rotate", item["name"])
    return f"{said}; for a secret: `{rotate}`" if item["secret"] else said


def _with_advice(error: ApiError) -> ApiError:
    if error.code != "changed_elsewhere":
        return error
    message = "Triggers that zmesh.toml declares were changed elsewhere."
    return ApiError(
        error.status,
        message,
        code=error.code,
        hint="`zmesh plan` shows the changes; `zmesh deploy --overwrite` deploys what zmesh.toml declares.",
    )
