"""Which zMesh a command talks to, and as whom: options, then environment, then dev.json, then what `login` stored.

A profile is what `login` stored under a name."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cli.errors import CliError, did_you_mean

DEFAULT_URL = "http://127.0.0.1:8700"
HOME_NAME = ".zmesh"
DEFAULT_PROFILE = "default"
PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(slots=True)
class Connection:
    """Where the API is and what we may show it. `file` is where a renewed token belongs; the token is renewed with
    the refresh token, or with the credentials. `profile` is the one selected by name, if any."""

    url: str
    token: str | None = None
    api_key: str | None = None
    file: Path | None = None
    credentials: dict[str, str] = field(default_factory=dict)
    refresh_token: str | None = None
    project_id: str | None = None
    database_url: str | None = None
    profile: str | None = None


def find_connection(url: str | None, token: str | None, api_key: str | None, profile: str | None = None) -> Connection:
    """The connection that options (given here with their environment variables applied) and files describe.

    An address that was given is never sent what a file holds for another one. A profile that was named comes before
    the dev.json of this folder.
    """
    stored = _stored(profile)
    if url is not None and stored.url != url.rstrip("/"):
        return Connection(url.rstrip("/"), token, api_key)
    if token and stored.token and claims_of(token) == claims_of(stored.token):
        return replace(stored, api_key=api_key or stored.api_key)  # `zmesh env` printed it; the stored one is renewed
    if token or api_key:
        return Connection(stored.url, token, api_key)
    return stored


def _stored(profile: str | None) -> Connection:
    if profile is None:
        return _from_dev_json() or _from_login(DEFAULT_PROFILE) or Connection(DEFAULT_URL)
    found = _from_login(profile)
    if found is None:
        raise CliError(
            f'There is no profile "{profile}".',
            code="profile_not_found",
            hint=did_you_mean(profile, profiles()) or f"Create it with `zmesh login --profile {profile}`.",
        )
    return replace(found, profile=profile)


def claims_of(token: str) -> tuple[str, str] | None:
    """User and project of a token, unverified: only the server can verify it."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return claims["sub"], claims["project"]
    except (ValueError, IndexError, KeyError, TypeError):
        return None


def profiles() -> list[str]:
    """Names of the profiles that `login` stored."""
    named = sorted(path.stem for path in (_config_folder() / "profiles").glob("*.json"))
    return [DEFAULT_PROFILE, *named] if _login_file(DEFAULT_PROFILE).exists() else named


def store_login(session: dict[str, Any], profile: str = DEFAULT_PROFILE) -> Path:
    """Store a session, readable by this user only; returns the path."""
    path = _login_file(profile)
    write_private_json(path, session)
    return path


def stored_login(profile: str = DEFAULT_PROFILE) -> Connection | None:
    """What `login` stored."""
    return _from_login(profile)


def forget_login(profile: str = DEFAULT_PROFILE) -> None:
    """Remove what `login` stored."""
    _login_file(profile).unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time: a refresh token is valid once, and using it twice ends the session."""
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


def private_file(name: str) -> Path:
    """A file of ours beside the logins, readable by its owner only; it exists afterwards. Raises OSError."""
    path = _config_folder() / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    return path


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file, or None if the file does not exist. Raises CliError if it cannot be read."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CliError(
            f"{path} cannot be read: {error}", code="unreadable_config", hint="Fix its permissions, or remove it."
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
        database_url=_field(data, "database_url", path),
    )


def _from_login(profile: str) -> Connection | None:
    path = _login_file(profile)
    data = read_json(path)
    if data is None:
        return None
    if "api_key" in data:
        return Connection(_field(data, "url", path), api_key=_field(data, "api_key", path))
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


def _login_file(profile: str) -> Path:
    if profile == DEFAULT_PROFILE:
        return _config_folder() / "login.json"
    if not PROFILE.fullmatch(profile):
        raise CliError(
            f'"{profile}" is not a valid profile name.', code="bad_profile", hint="Use letters, digits, - and _."
        )
    return _config_folder() / "profiles" / f"{profile}.json"


def _config_folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "zmesh"
