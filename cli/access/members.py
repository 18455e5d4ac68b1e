"""`zmesh members`: list, invite, change and remove."""

from __future__ import annotations

from typing import Any

import click

from cli.client import Client
from cli.connecting import connected
from cli.errors import CliError, did_you_mean
from cli.groups import Group
from cli.output import local_time, output_option, print_json, print_table, progress, style

ROLES = click.Choice(["owner", "developer", "viewer"])
Person = dict[str, Any]


@click.group(cls=Group)
def members() -> None:
    """Manage the members of the project."""


def _people(client: Client) -> list[Person]:
    """Members, then invitations."""
    found = [{**member, "status": "member", "id": member["user_id"]} for member in client.items("/members")]
    return found + [{**invitation, "status": "invited"} for invitation in client.items("/invitations")]


def _find(found: list[Person], email: str) -> Person:
    for person in found:
        if person["email"].lower() == email.lower():
            return person
    raise CliError(
        f"{email} is not in this project.",
        code="member_not_found",
        hint=did_you_mean(email, [person["email"] for person in found]) or "See `zmesh members list`.",
    )


@members.command("list")
@output_option
@connected
def list_members(client: Client, output: str) -> None:
    """List members and invitations."""
    found = _people(client)
    if output == "json":
        print_json(found)
        return
    rows = [
        [
            person["email"],
            person["role"],
            "" if person["status"] == "member" else f"invited until {local_time(person['expires_at'])}",
        ]
        for person in found
    ]
    print_table(("member", "role", ""), rows, "No members.")


@members.command("invite")
@click.argument("email")
@click.option("--role", type=ROLES, default="developer", show_default=True, help="Role of the new member.")
@output_option
@connected
def invite(client: Client, email: str, role: str, output: str) -> None:
    """Create an invitation, valid for a week. Send the printed command to the person yourself: no e-mail is sent."""
    invitation = client.call("POST", "/invitations", {"email": email, "role": role}).body
    if output == "json":
        print_json(invitation)
        return
    progress(f"{email} can join as {role} until {local_time(invitation['expires_at'])}, with:")
    click.echo(f"zmesh login --url {client.connection.url} --invitation {invitation['token']}")


@members.command("change")
@click.argument("email")
@click.argument("role", type=ROLES)
@output_option
@connected
def change(client: Client, email: str, role: str, output: str) -> None:
    """Change the role of a member."""
    person = _find([p for p in _people(client) if p["status"] == "member"], email)
    changed = client.call("PATCH", f"/members/{person['id']}", {"role": role}).body
    if output == "json":
        print_json(changed)
    else:
        click.echo(f"{style(changed['email'], bold=True)} is now {changed['role']}")


@members.command("remove")
@click.argument("email")
@output_option
@connected
def remove(client: Client, email: str, output: str) -> None:
    """Remove a member, or withdraw an invitation."""
    person = _find(_people(client), email)
    kind = "members" if person["status"] == "member" else "invitations"
    client.call("DELETE", f"/{kind}/{person['id']}")
    if output == "json":
        print_json({"action": "removed", "email": person["email"]})
    else:
        click.echo(f"removed {person['email']}")
