"""The folder of `zmesh dev`: secrets made once, dev.json for clients, one process at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from cli.config import read_json, write_private_json
from cli.errors import CliError

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
        """Random ones."""
        from support.api_keys import new_api_key
        from support.sealing import Sealer

        return cls(
            jwt_secret_key=secrets.token_urlsafe(48),
            secret_key=Sealer.new_key(),
            api_password=secrets.token_urlsafe(32),
            listener_password=secrets.token_urlsafe(32),
            admin_email=ADMIN_EMAIL,
            admin_password=secrets.token_urlsafe(16),
            api_key=new_api_key(),
        )


@dataclass(slots=True)
class Examples:
    """The project of the examples, the names of those that were deployed once, and whether their tables were made."""

    project_id: str = ""
    deployed: set[str] = field(default_factory=set)
    have_tables: bool = False


class Home:
    """One folder, held by one `zmesh dev` at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.logs = self.folder / "logs"
        self.runs = self.folder / "run"
        self.layers = self.folder / "layers"
        self.facts_file = self.folder / "dev.json"
        self._secrets_file = self.folder / "secrets.json"
        self._examples_file = self.folder / "examples.json"
        self._lock = -1

    def open(self) -> None:
        """Make the folder and hold it until this process ends.

        Raises CliError where it cannot be used, or another process holds it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o711)  # the users of runs pass through to their workspaces
            self.logs.mkdir(mode=0o700, exist_ok=True)
            (self.folder / ".gitignore").write_text("*\n")
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CliError(
                f"The folder {self.folder} cannot be used: {error.strerror}.",
                code="home_unusable",
                hint="Mend its permissions, free some space, or name another one with --home.",
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise self._already_running() from error
        os.ftruncate(self._lock, 0)
        os.write(self._lock, str(os.getpid()).encode())
        self.facts_file.unlink(missing_ok=True)  # who waits for it must not find that of the last run

    def _already_running(self) -> CliError:
        pid = os.pread(self._lock, 20, 0).decode()
        facts = read_json(self.facts_file)
        where = f" at {facts['url']}" if facts else ""
        return CliError(
            f"zmesh dev runs in {self.folder} already{where} (process {pid}).",
            code="already_running",
            hint="Use that one, stop it, or start another with --home DIR --port N.",
        )

    def secrets(self) -> Secrets:
        """The installation's secrets, created on first use. Raises CliError."""
        found = read_json(self._secrets_file)
        if found is None:
            made = Secrets.new()
            write_private_json(self._secrets_file, asdict(made))
            return made
        try:
            return Secrets(**found)
        except TypeError as error:
            raise CliError(
                f"{self._secrets_file} is incomplete: {error}.",
                code="secrets_damaged",
                hint="Restore it: without its keys the passwords in the database cannot be read.",
            ) from error

    def write_facts(self, facts: dict[str, str]) -> None:
        """Write dev.json."""
        write_private_json(self.facts_file, facts)

    def examples(self) -> Examples:
        """What became of the examples; what a person changed or deleted since stays so."""
        found: dict[str, Any] = read_json(self._examples_file) or {}
        if "project_id" not in found:  # none yet, or they were deployed to the person's own project, and stay there
            return Examples()
        return Examples(found["project_id"], set(found.get("deployed", [])), bool(found.get("have_tables")))

    def remember(self, examples: Examples) -> None:
        """Write what became of the examples."""
        kept = {**asdict(examples), "deployed": sorted(examples.deployed)}
        write_private_json(self._examples_file, kept)
