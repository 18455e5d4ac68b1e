"""`zmesh webhooks`: list, create, show, update, rotate, disable, enable and delete."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli.client import Client
from cli.completing import names_of
from cli.connecting import connected, find_function, find_named
from cli.groups import Group
from cli.output import local_time, output_option, print_json, print_table, progress, style
from cli.prompts import confirm

Command = TypeVar("Command", bound=Callable[..., Any])
Webhook = dict[str, Any]
PRESETS = ("none", "hmac", "shared_secret", "github", "shopify", "stripe", "slack", "standard")


@click.group(cls=Group)
def webhooks() -> None:
    """Invoke functions with messages from other services."""


def settings_options(command: Command) -> Command:
    """What `create` and `update` have in common."""
    for option in (
        click.option(
            "--answer",
            type=click.Choice(["accepted", "result"]),
            help="Response to the sender: accepted immediately, or the result.",
        ),
        click.option("--signature-header", help="Header of the signature or secret, for hmac and shared_secret."),
        click.option(
            "--replay-window", type=int, metavar="SECONDS", help="Largest age of a signed timestamp. Default: 300."
        ),
        click.option("--secret", help="Secret, if the sender chooses it; - reads it from stdin."),
        click.option("--name", help="Name of the webhook."),
    ):
        command = option(command)
    return command


def _values(secret: str | None, replay_window: int | None, settings: dict[str, Any]) -> dict[str, Any]:
    given = {"secret": _secret(secret), "replay_window_seconds": replay_window, **settings}
    return {key: value for key, value in given.items() if value is not None}


def _secret(given: str | None) -> str | None:
    return sys.stdin.readline().rstrip("\n") if given == "-" else given


@webhooks.command("list")
@output_option
@connected
def list_webhooks(client: Client, output: str) -> None:
    """List the webhooks of the project. `show` has their URLs."""
    found = list(client.items("/webhooks"))
    if output == "json":
        print_json(found)
        return
    rows = [
        [
            webhook["name"],
            webhook["function"],
            webhook["preset"],
            webhook["answer"],
            "" if webhook["enabled"] else "disabled",
        ]
        for webhook in found
    ]
    headings = ("webhook", "function", "preset", "answer", "")
    print_table(headings, rows, "No webhooks yet. Create one: zmesh webhooks create my-function --preset github")


@webhooks.command("create")
@click.argument("function", shell_complete=names_of("functions"))
@click.option(
    "--preset", type=click.Choice(PRESETS), default="none", show_default=True, help="Signature scheme of the sender."
)
@settings_options
@output_option
@connected
def create(
    client: Client,
    function: str,
    preset: str,
    secret: str | None,
    replay_window: int | None,
    output: str,
    **settings: Any,
) -> None:
    """Create a URL that invokes FUNCTION, and show it with its secret, which is not shown again."""
    body = {
        "function_id": find_function(client, function)["id"],
        "preset": preset,
        **_values(secret, replay_window, settings),
    }
    _show(client, client.call("POST", "/webhooks", body).body, "created", output)


@webhooks.command("show")
@click.argument("webhook", shell_complete=names_of("webhooks"))
@output_option
@connected
def show(client: Client, webhook: str, output: str) -> None:
    """Show a webhook, without its secret."""
    _show(client, find_webhook(client, webhook), "", output)


@webhooks.command("update")
@click.argument("webhook", shell_complete=names_of("webhooks"))
@settings_options
@output_option
@connected
def update(
    client: Client, webhook: str, secret: str | None, replay_window: int | None, output: str, **settings: Any
) -> None:
    """Change a webhook. A new secret replaces the old one immediately; rotate keeps the old one valid for a while."""
    changes = _values(secret, replay_window, settings)
    if not changes:
        raise click.UsageError("Nothing to change: give at least one option.")
    _show(client, _change(client, webhook, changes), "updated", output)


@webhooks.command("rotate")
@click.argument("webhook", shell_complete=names_of("webhooks"))
@click.option("--secret", help="New secret, if the sender chooses it; - reads it from stdin.")
@click.option(
    "--grace",
    type=int,
    default=86400,
    show_default=True,
    metavar="SECONDS",
    help="How long the old secret stays valid.",
)
@output_option
@connected
def rotate(client: Client, webhook: str, secret: str | None, grace: int, output: str) -> None:
    """Replace the secret and show the new one, which is not shown again. The old one stays valid for a while."""
    body = {"grace_seconds": grace, **({} if secret is None else {"secret": _secret(secret)})}
    path = f"/webhooks/{find_webhook(client, webhook)['id']}/rotate"
    _show(client, client.call("POST", path, body).body, "rotated", output)


@webhooks.command("disable")
@click.argument("webhook", shell_complete=names_of("webhooks"))
@output_option
@connected
def disable(client: Client, webhook: str, output: str) -> None:
    """Disable a webhook: its URL responds with 404 until it is enabled again."""
    _show(client, _change(client, webhook, {"enabled": False}), "disabled", output)


@webhooks.command("enable")
@click.argument("webhook", shell_complete=names_of("webhooks"))
@output_option
@connected
def enable(client: Client, webhook: str, output: str) -> None:
    """Enable a webhook."""
    _show(client, _change(client, webhook, {"enabled": True}), "enabled", output)


@webhooks.command("delete")
@click.argument("webhook", shell_complete=names_of("webhooks"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
@connected
def delete(client: Client, webhook: str, yes: bool, output: str) -> None:
    """Delete a webhook. Its URL stops working."""
    found = find_webhook(client, webhook)
    confirm(f"Delete the webhook {found['name']}?", yes=yes)
    client.call("DELETE", f"/webhooks/{found['id']}")
    if output == "json":
        print_json({"action": "deleted", "id": found["id"], "name": found["name"]})
    else:
        click.echo(f"deleted {found['name']}")


def find_webhook(client: Client, name: str) -> Webhook:
    """The webhook with this name or id. Raises CliError with a suggestion."""
    return find_named(client, "/webhooks", "webhook", name)


def _change(client: Client, name: str, changes: dict[str, Any]) -> Webhook:
    return dict(client.call("PATCH", f"/webhooks/{find_webhook(client, name)['id']}", changes).body)


def _show(client: Client, webhook: Webhook, action: str, output: str) -> None:
    url = client.connection.url + webhook["path"]
    if output == "json":
        print_json({**webhook, "url": url})
        return
    done = f"{style(action, fg='green')} " if action else ""
    click.echo(f"{done}{style(webhook['name'], bold=True)} ({webhook['function']})")
    facts = {
        "URL": url,
        "secret": webhook.get("secret"),
        "preset": webhook["preset"],
        "header": webhook["signature_header"],
        "answer": webhook["answer"],
        "state": None if webhook["enabled"] else "disabled",
    }
    for name, value in facts.items():
        if value is not None:
            click.echo(f"  {style(f'{name:<8}', dim=True)}{value}")
    if webhook["previous_secret_valid_until"] is not None:
        progress(f"The previous secret is valid until {local_time(webhook['previous_secret_valid_until'])}.")
    if webhook.get("secret") is not None:
        progress("The secret is not shown again.")
