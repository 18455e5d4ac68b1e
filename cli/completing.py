"""Completion in shells: a script for each, and names that are asked of the API as somebody types."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from cli.config import Connection

SECONDS = 1.0  # nobody waits longer for a suggestion
RENEWAL_SECONDS = 2.0  # once in fifteen minutes
RENEW = "import sys; from cli.completing import renew; renew(sys.argv[1])"
UNAUTHORIZED = 401
VARIABLE = "_ZMESH_COMPLETE"
LISTS = {
    "functions": ("/functions?code=false&limit=100", "slug"),
    "keys": ("/keys?limit=100", "name"),
    "projects": ("/projects?limit=100", "slug"),
    "schedules": ("/schedules?limit=100", "name"),
    "secrets": ("/secrets?limit=100", "name"),
    "webhooks": ("/webhooks?limit=100", "name"),
}
PATHS = '$metadata[2] | string replace --regex -- "^" "$option";'
# Of click's scripts. In zsh and fish, the word to complete is all of --output=j, not what follows the sign.
CORRECTIONS = {
    "zsh": {
        "    for type": "    [[ $words[CURRENT] == --*=* ]] && compset -P '*='\n\n    for type",
        "completions_with_descriptions -U\n": 'completions_with_descriptions -U -i "$IPREFIX"\n',
        "compadd -U -V": 'compadd -U -i "$IPREFIX" -V',
    },
    "fish": {
        'string split ","': 'string split --max 1 ","',  # help has commas of its own
        "    for completion": (
            "    set -l option (string match --regex -- '^--[^=]+=' (commandline -t));\n\n    for completion"
        ),
        "__fish_complete_directories $metadata[2];": f"__fish_complete_directories {PATHS}",
        "__fish_complete_path $metadata[2];": f"__fish_complete_path {PATHS}",
        "echo $metadata[2];": 'echo "$option$metadata[2]";',
    },
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
    source = script(context.find_root().command, {}, "zmesh", VARIABLE).source()
    for line, ours in CORRECTIONS.get(shell, {}).items():
        assert line in source
        source = source.replace(line, ours)
    click.echo(source)


def names_of(noun: str, profile: str = "profile") -> Complete:
    """What completes an argument with the names of the project's functions, schedules …; nothing, and no message, where
    they cannot be had in time. `profile` is the parameter that names the profile."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from threading import Thread

        found: list[str] = []
        options = {**context.params, "profile": context.params.get(profile)}
        thread = Thread(target=_ask, args=(options, noun, found), daemon=True)
        thread.start()
        thread.join(SECONDS + RENEWAL_SECONDS)
        return [CompletionItem(name) for name in sorted(found) if name.startswith(incomplete) and name.isprintable()]

    return complete


def profile_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes the name of a profile."""
    from cli.config import profiles

    return [CompletionItem(name) for name in profiles() if name.startswith(incomplete)]


def _ask(options: dict[str, Any], noun: str, found: list[str]) -> None:
    from contextlib import suppress

    from cli.client import ApiError

    with suppress(Exception):
        try:
            found.extend(_names(options, noun))
        except ApiError as error:
            if error.status != UNAUTHORIZED or not _has_renewed(options):
                raise
            found.extend(_names(options, noun))


def _names(options: dict[str, Any], noun: str) -> list[str]:
    from cli.client import Client

    connection = _connection(options)
    connection.refresh_token = None  # using it and not living to store the next one would end the session
    path, name = LISTS[noun]
    client = Client(connection, options.get("in_project"))
    return [str(item[name]) for item in client.call("GET", path, seconds=SECONDS).body["items"]]


def _connection(options: dict[str, Any]) -> Connection:
    from cli.config import find_connection

    return find_connection(*(options.get(name) for name in ("url", "token", "api_key", "profile")))


def _has_renewed(options: dict[str, Any]) -> bool:
    """Whether an expired session of `zmesh login` was renewed: by a process of its own, which stores the session even
    if somebody types on, or interrupts, before that."""
    import subprocess
    import sys

    if not _connection(options).refresh_token:
        return False
    renewing = subprocess.Popen(
        [sys.executable, "-P", "-c", RENEW, options.get("profile") or ""],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return renewing.wait(RENEWAL_SECONDS) == 0


def renew(profile: str) -> None:
    """Renew the session of a profile if it has expired."""
    from cli.client import Client
    from cli.config import find_connection

    Client(find_connection(None, None, None, profile or None)).call("GET", "/projects?limit=1")
