"""`zmesh login`."""

from __future__ import annotations

import rich_click as click

from cli.client import Client
from cli.config import DEFAULT_URL, Connection, dev_home, store_login
from cli.output import progress


@click.command()
@click.option("--url", envvar="ZMESH_URL", prompt="Address", default=DEFAULT_URL, help="Address of the API.")
@click.option("--email", envvar="ZMESH_EMAIL", prompt="E-mail", help="Your e-mail address there.")
@click.option(
    "--password",
    envvar="ZMESH_PASSWORD",
    prompt="Password",
    hide_input=True,
    help="Asked for where it is missing; better given as ZMESH_PASSWORD than here.",
)
@click.option("--project", help="Id or slug of the project to work in. Default: your oldest one.")
def login(url: str, email: str, password: str, project: str | None) -> None:
    """Log in to a platform; later commands go there."""
    url = url.rstrip("/")
    credentials = {"email": email, "password": password, **({"project": project} if project else {})}
    session = Client(Connection(url)).log_in(credentials)
    stored = {name: session[name] for name in ("token", "expires_at", "project_id")}
    path = store_login({"url": url, "email": email, **stored})
    progress(f"Logged in to {url} as {email}. The token is in {path}.")
    home = dev_home()
    if home is not None:
        progress(f"Here, though, commands go to the zmesh dev of {home}; use --url or another folder.")
