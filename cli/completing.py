"""Completion in shells: a script for each, and names that are asked of the API as somebody types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

SECONDS = 1.0  # nobody waits longer for a suggestion
VARIABLE = "_ZMESH_COMPLETE"
LISTS = {
    "functions": ("/functions?code=false&limit=100", "slug"),
    "keys": ("/keys?limit=100", "name"),
    "projects": ("/projects?limit=100", "slug"),
    "schedules": ("/schedules?limit=100", "name"),
    "secrets": ("/secrets?limit=100", "name"),
    "webhooks": ("/webhooks?limit=100", "name"),
}
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands, options and names in a shell: source <(zmesh completion bash)."""
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(context.find_root().command, {}, "zmesh", VARIABLE).source())


def names_of(noun: str) -> Complete:
    """What completes an argument with the names of the project's functions, schedules …; nothing, and no message, where
    they cannot be had in time."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from threading import Thread

        found: list[str] = []
        thread = Thread(target=_ask, args=(context.params, noun, found), daemon=True)
        thread.start()
        thread.join(SECONDS)
        return [CompletionItem(name) for name in sorted(found) if name.startswith(incomplete) and name.isprintable()]

    return complete


def profile_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes the name of a profile."""
    from cli.config import profiles

    return [CompletionItem(name) for name in profiles() if name.startswith(incomplete)]


def _ask(options: dict[str, Any], noun: str, found: list[str]) -> None:
    from contextlib import suppress

    from cli.client import Client
    from cli.config import find_connection

    with suppress(Exception):
        connection = find_connection(*(options.get(name) for name in ("url", "token", "api_key", "profile")))
        connection.refresh_token = None  # using it and not living to store the next one would end the session
        path, name = LISTS[noun]
        client = Client(connection, options.get("in_project"))
        found.extend(str(item[name]) for item in client.call("GET", path, seconds=SECONDS).body["items"])
