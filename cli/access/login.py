"""`zmesh login`, `zmesh logout` and `zmesh password`."""

from __future__ import annotations

import click

from cli.client import Client
from cli.config import DEFAULT_PROFILE, DEFAULT_URL, Connection, dev_home, forget_login, store_login, stored_login
from cli.output import progress
from cli.prompts import ask_secret

url_option = click.option(
    "--url", envvar="ZMESH_URL", prompt="Address", default=DEFAULT_URL, help="Address of the API."
)
email_option = click.option("--email", envvar="ZMESH_EMAIL", help="Your e-mail address. Default: prompt.")


def _credentials(email: str | None, password: str | None, project: str | None) -> dict[str, str]:
    """Credentials for a login; prompts for what is missing."""
    credentials = {
        "email": email or click.prompt("E-mail", err=True),
        "password": password or ask_secret("Password"),
    }
    return {**credentials, "project": project} if project else credentials


profile_option = click.option(
    "--profile",
    envvar="ZMESH_PROFILE",
    default=DEFAULT_PROFILE,
    help="Name to store the session under; later commands use it with --profile.",
)


@click.command()
@url_option
@email_option
@profile_option
@click.option(
    "--password",
    envvar="ZMESH_PASSWORD",
    help="Your password; safer as ZMESH_PASSWORD. Default: prompt.",
)
@click.option("--project", help="Id or slug of the project to work in. Default: your oldest one.")
@click.option("--invitation", help="Accept this invitation, with the password of your account or a new one.")
def login(
    url: str, email: str | None, profile: str, password: str | None, project: str | None, invitation: str | None
) -> None:
    """Log in to a zMesh; later commands use that session."""
    url = url.rstrip("/")
    client = Client(Connection(url))
    if invitation is None:
        session = client.log_in(_credentials(email, password, project))
    else:
        accepted = {"token": invitation, "password": password or ask_secret("Password (of your account, or a new one)")}
        session = client.call_anonymously("POST", "/auth/accept", accepted).body
    path = store_login({"url": url, **session}, profile)
    progress(f"Logged in to {url}. The token is in {path}.")
    home = dev_home()
    if home is not None:
        progress(f"In this folder, commands go to the zmesh dev of {home}; pass --profile {profile} to go to {url}.")
    elif profile != DEFAULT_PROFILE:
        progress(f"Pass --profile {profile} to use it, or set ZMESH_PROFILE={profile}.")


@click.command()
@url_option
@email_option
@click.option(
    "--password", envvar="ZMESH_PASSWORD", help="Your current password; safer as ZMESH_PASSWORD. Default: prompt."
)
@click.option("--project", help="Id or slug of the project to work in afterwards. Default: your oldest one.")
def password(url: str, email: str | None, password: str | None, project: str | None) -> None:
    """Change your password. Prompts for the new one, or reads it from standard input. Ends your other sessions."""
    url = url.rstrip("/")
    change = {**_credentials(email, password, project), "new_password": ask_secret("New password", twice=True)}
    session = Client(Connection(url)).call_anonymously("POST", "/auth/password", change).body
    path = store_login({"url": url, **session})
    progress(f"Changed your password at {url} and ended your other sessions. The token is in {path}.")


@click.command()
@profile_option
def logout(profile: str) -> None:
    """End the session of zmesh login."""
    stored = stored_login(profile)
    if stored is None:
        progress("You are not logged in.")
        return
    Client(stored).call_anonymously("POST", "/auth/logout", {"refresh_token": stored.refresh_token})
    forget_login(profile)
    progress(f"Logged out of {stored.url}.")
