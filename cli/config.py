"""Which zMesh a command talks to, and as whom: options, then environment, then dev.json, then what `login` stored."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.errors import CliError

DEFAULT_URL = "http://127.0.0.1:8700"
HOME_NAME = ".zmesh"


@dataclass(slots=True)
class Connection:
    """Where the API is and what we may show it. `file` is where a renewed token belongs; the token is renewed with
    the refresh token, or with the credentials."""

    url: str
    token: str | None = None
    api_key: str | None = None
    file: Path | None = None
    credentials: dict[str, str] = field(default_factory=dict)
    refresh_token: str | None = None
    project_id: str | None = None


def find_connection(url: str | None, token: str | None, api_key: str | None) -> Connection:
    """The connection that options (given here with their environment variables applied) and files describe.

    An address that was given is never sent what a file holds for another one.
    """
    stored = _from_dev_json() or _from_login() or Connection(DEFAULT_URL)
    if url is not None and stored.url != url.rstrip("/"):
        return Connection(url.rstrip("/"), token, api_key)
    if token or api_key:
        return Connection(stored.url, token, api_key)
    return stored


def store_login(session: dict[str, Any]) -> Path:
    """Keep what a login gave, for this user only; returns where."""
    path = _login_file()
    write_private_json(path, session)
    return path


def stored_login() -> Connection | None:
    """What `login` stored."""
    return _from_login()


def forget_login() -> None:
    """Remove what `login` stored."""
    _login_file().unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time: a refresh token is good once, and who uses it twice is logged out."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_private_json(path: Path, data: dict[str, Any]) -> None:
    """Replace the file at once by this data, readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        json.dump(data, file, indent=2)
        file.write("\n")
    os.replace(name, path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file, None where there is no file. Raises CliError where it cannot be read."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CliError(
            f"{path} cannot be read: {error}", code="unreadable_config", hint="Mend its permissions, or remove it."
        ) from error
    if not isinstance(data, dict):
        raise CliError(f"{path} does not hold a JSON object.", code="unreadable_config", hint="Remove it.")
    return data


def dev_home() -> Path | None:
    """ZMESH_HOME, else the nearest .zmesh with a dev.json here or in a folder above."""
    if given := os.environ.get("ZMESH_HOME"):
        return Path(given)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / HOME_NAME / "dev.json").is_file():
            return folder / HOME_NAME
    return None


def _from_dev_json() -> Connection | None:
    home = dev_home()
    path = home / "dev.json" if home else None
    data = read_json(path) if path else None
    if path is None or data is None:
        return None
    return Connection(
        _field(data, "url", path),
        _field(data, "token", path),
        _field(data, "api_key", path),
        path,
        {
            "email": _field(data, "admin_email", path),
            "password": _field(data, "admin_password", path),
            "project": _field(data, "project_id", path),
        },
    )


def _from_login() -> Connection | None:
    path = _login_file()
    data = read_json(path)
    if data is None:
        return None
    return Connection(
        _field(data, "url", path),
        _field(data, "token", path),
        file=path,
        refresh_token=_field(data, "refresh_token", path),
        project_id=_field(data, "project_id", path),
    )


def _field(data: dict[str, Any], name: str, path: Path) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise CliError(f"{path} lacks {name}.", code="unreadable_config", hint="Remove it, and start or log in again.")
    return value


def _login_file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "zmesh" / "login.json"
