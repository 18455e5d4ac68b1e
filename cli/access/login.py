"""`zmesh login`, `zmesh logout` and `zmesh password`."""

from __future__ import annotations

from pathlib import Path

import click
from click import get_current_context
from click.core import ParameterSource

from cli.client import REQUEST_SECONDS, ApiError, Client
from cli.config import DEFAULT_PROFILE, DEFAULT_URL, Connection, dev_home, forget_login, store_login, stored_login
from cli.errors import CliError
from cli.output import progress
from cli.prompts import ask_secret

OF_PERSONS = ("email", "password", "project", "invitation")
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
    help="Name under which to store the session; later commands use it with --profile.",
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
@click.option("--project", help="Id or slug of the project to use. Default: your oldest one.")
@click.option("--invitation", help="Accept this invitation, with the password of your account or a new one.")
@click.option(
    "--with-key", is_flag=True, help="Store an API key, such as a deploy key. Prompts for it, or reads stdin."
)
def login(
    url: str,
    email: str | None,
    profile: str,
    password: str | None,
    project: str | None,
    invitation: str | None,
    with_key: bool,
) -> None:
    """Log in to a zMesh installation; later commands use that session."""
    url = url.rstrip("/")
    if with_key:
        _refuse_options_of_persons()
        path = _store_key(url, ask_secret("API key").strip(), profile)
        progress(f"Stored the key for {url} in {path}.")
        return
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


def _refuse_options_of_persons() -> None:
    typed = [get_current_context().get_parameter_source(name) for name in OF_PERSONS]
    if ParameterSource.COMMANDLINE in typed:
        raise click.UsageError(f"--with-key cannot be combined with --{', --'.join(OF_PERSONS)}.")


def _store_key(url: str, key: str, profile: str) -> Path:
    """Store a key that the server knows, of any scope. Raises CliError."""
    try:
        Client(Connection(url, api_key=key)).call_with_key("GET", "/functions?limit=1", seconds=REQUEST_SECONDS)
    except ApiError as error:
        if error.code != "wrong_key_scope":
            raise
    return store_login({"url": url, "api_key": key}, profile)


@click.command()
@url_option
@email_option
@click.option(
    "--password", envvar="ZMESH_PASSWORD", help="Your current password; safer as ZMESH_PASSWORD. Default: prompt."
)
@click.option("--project", help="Id or slug of the project to use afterwards. Default: your oldest one.")
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
    if stored.refresh_token:  # otherwise it is a key, which goes on working
        try:
            Client(stored).call_anonymously("POST", "/auth/logout", {"refresh_token": stored.refresh_token})
        except CliError as error:
            if error.code != "unreachable":
                raise
            forget_login(profile)  # otherwise every command would go on asking a server that is gone
            progress(f"Logged out here. {stored.url} cannot be reached, so the session there lasts until it expires.")
            return
    forget_login(profile)
    progress(f"Logged out of {stored.url}.")
