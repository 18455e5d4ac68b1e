"""Who may not do what a tool does is told so before there is a plan. The server decides again when it is done."""

from __future__ import annotations

from cli.client import Client
from cli.errors import CliError

HINT = "Tell the person you work for. An owner changes roles with `zmesh members change EMAIL developer`."


def require_developer(client: Client) -> None:
    """Raises CliError for a member whose role is less."""
    if not client.is_logged_in:
        return
    role = client.call("GET", f"/projects/{client.project_id()}").body["role"]
    if role == "viewer":
        raise CliError(f"This requires the role developer; yours is {role}.", code="forbidden", hint=HINT)


def require_runner(client: Client) -> None:
    """Raises CliError for a member whose role is less than developer, and for a deploy key."""
    require_developer(client)
    if not client.is_logged_in and _is_deploy_key(client):
        raise CliError("Deploy keys do not run functions.", code="wrong_key_scope", hint="Use a key that invokes.")


def require_person(client: Client) -> None:
    """Raises CliError for whoever is not a developer of the project, and for keys."""
    require_developer(client)
    if not client.is_logged_in:
        raise CliError(
            "This requires the token of a user; API keys run only what is deployed.",
            code="wrong_key_scope",
            hint="Tell the person you work for, or use invoke_function.",
        )


def _is_deploy_key(client: Client) -> bool:
    try:
        client.call("GET", "/functions?code=false&limit=1")
    except CliError as error:
        if error.code != "not_logged_in":  # a key that only invokes
            raise
        return False
    return True
