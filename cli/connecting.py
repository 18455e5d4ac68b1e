"""What commands that call the API share: options of the connection, and lookups by name."""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

import click
from click import get_current_context
from click.core import ParameterSource

from cli.client import ApiError, Client, quoted
from cli.completing import names_of, profile_names
from cli.config import find_connection
from cli.errors import CliError, did_you_mean

Command = TypeVar("Command", bound=Callable[..., Any])


def connected(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --url, --token and --api-key; the command gets a Client as its first argument."""

    @click.option("--url", envvar="ZMESH_URL", help="Address of the API. Default: that of zmesh dev or zmesh login.")
    @click.option("--token", envvar="ZMESH_TOKEN", help="Token of a user; safer as ZMESH_TOKEN.")
    @click.option("--api-key", envvar="ZMESH_API_KEY", help="API key, enough to invoke; safer as ZMESH_API_KEY.")
    @click.option(
        "--profile",
        envvar="ZMESH_PROFILE",
        shell_complete=profile_names,
        help="Use the session that zmesh login --profile stored, even if zmesh dev runs here.",
    )
    @click.option(
        "--project",
        "in_project",
        metavar="PROJECT",
        shell_complete=names_of("projects"),
        help="Id or slug of another of your projects.",
    )
    @functools.wraps(command)
    def with_client(
        *arguments: Any,
        url: str | None,
        token: str | None,
        api_key: str | None,
        profile: str | None,
        in_project: str | None,
        **options: Any,
    ) -> Any:
        if _is_typed("profile"):  # options come before variables, such as those that `zmesh env` set
            url, token, api_key = (
                value if _is_typed(name) else None
                for name, value in (("url", url), ("token", token), ("api_key", api_key))
            )
        connection = find_connection(url, token, api_key, profile)
        return command(Client(connection, in_project), *arguments, **options)

    return with_client


def _is_typed(option: str) -> bool:
    return get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def command_for(client: Client, *words: str) -> str:
    """A command to suggest that works in the same project."""
    profile = client.connection.profile
    if profile is not None and profile != os.environ.get("ZMESH_PROFILE"):
        words = (*words, "--profile", profile)
    return shlex.join(["zmesh", *words, *(["--project", client.project] if client.project else [])])


def is_addressable(name: str) -> bool:
    """Whether a URL can name a function so: by its slug or id. Any other name is searched for in the list."""
    return re.fullmatch(r"[A-Za-z0-9-]{1,100}", name) is not None


def find_function(client: Client, name: str) -> dict[str, Any]:
    """The function with this slug or name. Raises CliError with a suggestion."""
    found = look_up_function(client, name)
    if found is None:
        raise no_such_function(name, [f["slug"] for f in client.items("/functions", code="false")])
    return found


def look_up_function(client: Client, name: str) -> dict[str, Any] | None:
    """The function with this slug or name, or None."""
    if is_addressable(name):
        try:
            by_slug: dict[str, Any] = client.call("GET", f"/functions/{quoted(name)}").body
            return by_slug
        except ApiError as error:
            if error.code != "function_not_found":
                raise
    for function in client.items("/functions", code="false"):
        if function["name"] == name:
            found: dict[str, Any] = client.call("GET", f"/functions/{function['id']}").body
            return found
    return None


def no_such_function(name: str, slugs: list[str]) -> CliError:
    """The error for a name without a function."""
    return CliError(
        f'There is no function "{name}".',
        code="function_not_found",
        hint=did_you_mean(name, slugs) or "See `zmesh functions list`.",
    )


def functions_by_name(client: Client, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """The functions with exactly these names, with their code."""
    ids = {function["name"]: function["id"] for function in client.items("/functions", code="false")}
    return {name: client.call("GET", f"/functions/{ids[name]}").body for name in names if name in ids}


def find_named(client: Client, path: str, noun: str, name: str) -> dict[str, Any]:
    """The item of a list with this name or id. Raises CliError with a suggestion."""
    for item in client.items(path, name=name):
        return dict(item)
    with suppress(ValueError):
        return dict(client.call("GET", f"{path}/{UUID(name)}").body)
    raise CliError(
        f'There is no {noun} "{name}".',
        code=f"{noun}_not_found",
        hint=did_you_mean(name, [item["name"] for item in client.items(path)]) or f"See `zmesh {noun}s list`.",
    )
