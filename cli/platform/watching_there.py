"""`zmesh dev --watch DIR --profile NAME`: deploys every save to a platform that is already running."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from cli.client import Client
from cli.config import find_connection
from cli.errors import CliError
from cli.output import progress, style
from cli.platform.dev_session import DevSession


def watch_there(profile: str, folder: Path) -> None:
    """Deploy every save to the project of a profile, until SIGINT or SIGTERM. Raises CliError."""
    client = Client(find_connection(None, None, None, profile))
    if not client.is_logged_in:
        raise CliError(
            f"The profile {profile} has no person's login, which is needed to see what runs.",
            code="not_logged_in",
            hint=f"Log in: zmesh login --profile {profile} --url {client.connection.url}",
        )
    client.project_id()  # says what is wrong before anything is deployed
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    where = f"{style(profile, bold=True)} ({client.connection.url})"
    progress(f"{style('!', fg='yellow')} Each save is deployed to {where}. Ctrl+C stops watching, not the platform.")
    session = DevSession(lambda: find_connection(None, None, None, profile), folder)
    session.start()
    try:
        stop.wait()
    finally:
        session.stop()
