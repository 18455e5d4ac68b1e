"""The folder of `zmesh dev`: secrets made once, the facts a person needs, one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from cli.config import write_private_json
from cli.errors import CliError
from sql.accounts import new_api_key
from sql.sealing import Sealer

ADMIN_EMAIL = "admin@zmesh.local"


@dataclass(frozen=True, slots=True)
class Secrets:
    """Keys and passwords of one installation."""

    jwt_secret_key: str
    secret_key: str
    api_password: str
    listener_password: str
    admin_email: str
    admin_password: str
    api_key: str

    @classmethod
    def new(cls) -> Self:
        return cls(
            jwt_secret_key=secrets.token_urlsafe(48),
            secret_key=Sealer.new_key(),
            api_password=secrets.token_urlsafe(32),
            listener_password=secrets.token_urlsafe(32),
            admin_email=ADMIN_EMAIL,
            admin_password=secrets.token_urlsafe(12),
            api_key=new_api_key(),
        )


@dataclass(frozen=True, slots=True)
class DevFacts:
    """What dev.json holds: everything a client needs."""

    url: str
    project_id: str
    api_key: str
    token: str
    admin_email: str
    admin_password: str
    database_url: str


class Home:
    """One folder, held by one `zmesh dev` at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.logs = self.folder / "logs"
        self.facts_file = self.folder / "dev.json"
        self._lock = -1

    def open(self) -> None:
        """Make the folder and hold it. Raises CliError where it cannot be used or another process holds it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            os.chmod(self.folder, 0o711)  # the server's own user passes through
            self.logs.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CliError(
                f"The folder {self.folder} cannot be used: {error.strerror}.",
                code="home_unusable",
                hint="Name another with --home, or free some space.",
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CliError(
                f"`zmesh dev` runs in {self.folder} already{self._who()}.",
                code="already_running",
                hint="Use it, stop it first, or start another with --home and --port.",
            ) from error
        os.ftruncate(self._lock, 0)
        os.write(self._lock, str(os.getpid()).encode())

    def _who(self) -> str:
        pid = os.pread(self._lock, 20, 0).decode() or "?"
        facts = read_facts(self.facts_file)
        return f" (process {pid}{f', {facts.url}' if facts else ''})"

    def secrets(self) -> Secrets:
        """The installation's secrets, made on first use."""
        path = self.folder / "secrets.json"
        if path.exists():
            try:
                return Secrets(**json.loads(path.read_text()))
            except (ValueError, TypeError) as error:
                raise CliError(
                    f"{path} is damaged: {error}.", code="secrets_damaged", hint="Restore it from a copy."
                ) from error
        made = Secrets.new()
        write_private_json(path, asdict(made))
        return made

    def write_facts(self, facts: DevFacts) -> None:
        write_private_json(self.facts_file, asdict(facts))

    def close(self) -> None:
        """Let go; dev.json stays out of the way of clients that would find nobody."""
        with suppress(OSError):
            self.facts_file.unlink()
        os.close(self._lock)


def read_facts(path: Path) -> DevFacts | None:
    """The facts of a running `zmesh dev`; None where the file is missing or not whole."""
    try:
        found = json.loads(path.read_text())
        return DevFacts(**{field.name: found[field.name] for field in fields(DevFacts)})
    except (OSError, ValueError, TypeError, KeyError):
        return None
