"""Users for runs, as root: a range of uids that no other sandbox on this host uses at the same time.

Sandboxes that share LOCKS agree there. Those that share nothing, as in containers, meet in the kernel: it counts the
processes of a uid across all containers of a user namespace, so each sandbox keeps one process under the last uid of
its range, and a range is free if that process turns out to be alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sandbox.model import SandboxError

LOCKS = Path("/run/zmesh-sandbox")
FIRST_UID = 1_750_000_000  # far from people, system accounts, containers' subordinate ranges and 32-bit signs
RANGE = 4096
RANGES = 64
CRASHED_SECONDS = 1.0  # after a sandbox crashes, its placeholder process is gone within this time
_END_ALL = "import os, sys; uid = int(sys.argv[1]); os.setresuid(uid, uid, uid); os.kill(-1, 9)"
# Limited to two living processes of its uid, it can fork only while no other sandbox has such a process.
_STAND = "(:) 2>/dev/null && echo alone && read until_we_end"


class UidRange:
    """A range held until `close`, by a lock and a process that end with this process."""

    def __init__(self) -> None:
        """Raises SandboxError if all ranges are taken, or a lock cannot be created."""
        try:
            LOCKS.mkdir(mode=0o700, exist_ok=True)
            for number in range(RANGES):
                if self._take(number):
                    return
        except OSError as error:
            raise SandboxError(
                f"Cannot create the lock files for users of runs in {LOCKS}: {error.strerror}. Make that folder "
                "writable for root; in a container, mount a volume or tmpfs there."
            ) from error
        raise SandboxError(f"{RANGES} sandboxes are already running on this host: no range of users is free.")

    def _take(self, number: int) -> bool:
        fd = os.open(LOCKS / f"uids-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        base = FIRST_UID + number * RANGE
        placeholder = _stand_for(base + RANGE - 1)
        if placeholder is None:
            os.close(fd)
            return False
        self._fd, self.base, self._placeholder = fd, base, placeholder
        self._end_leftovers()
        return True

    def _end_leftovers(self) -> None:
        """End what a crashed sandbox has left under these users: it could reach into runs of the same user."""
        for uid in {uid for uid in _users_of_processes().values() if self.base <= uid < self.base + RANGE - 1}:
            # From a process of that user, because kill(2) with -1 gives a fork bomb no chance to fork.
            subprocess.run([sys.executable, "-I", "-S", "-c", _END_ALL, str(uid)], check=False, cwd="/")

    def close(self) -> None:
        """Give the range back."""
        _end(self._placeholder)
        os.close(self._fd)


def _stand_for(uid: int) -> subprocess.Popen[bytes] | None:
    """A process of that user, the only one on this host; None if another sandbox has one."""
    deadline = time.monotonic() + CRASHED_SECONDS
    in_use = 0
    while True:
        process = _start_as(uid, zombies=[seen.state for seen in _processes_of(uid)].count("Z"))
        assert process.stdout is not None
        if process.stdout.readline() == b"alone\n":
            return process
        _end(process)
        # An invisible one is in another container; one without its parent is ending with a crashed sandbox.
        seen = _processes_of(uid)
        in_use += not seen or any(one.held for one in seen)
        if in_use > 1 or time.monotonic() > deadline:
            return None
        time.sleep(CRASHED_SECONDS / 10)


def _start_as(uid: int, zombies: int) -> subprocess.Popen[bytes]:
    """The kernel counts zombies too, and an init may leave them unreaped for a long time."""
    limit = 2 + zombies
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", _STAND, "zmesh-users", str(os.getpid())],
            stdin=subprocess.PIPE,  # closes when this process ends, for whatever reason
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            user=uid,
            group=uid,
            extra_groups=[],
            start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit)),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(
            f"Root cannot start /bin/sh as another user: {error}. Each run needs its own user: grant the capabilities "
            "SETUID, SETGID and KILL, or start as an ordinary user."
        ) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()  # it ends by itself then, which is enough where root lacks CAP_KILL
    with contextlib.suppress(PermissionError):
        process.kill()
    process.wait()
    process.stdout.close()


def _users_of_processes() -> dict[int, int]:
    """Process → uid."""
    found = {}
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit():
                found[int(name)] = os.stat(f"/proc/{name}").st_uid
    return found


@dataclass(frozen=True, slots=True)
class _Process:
    """`state` as in /proc/PID/stat, such as Z for a zombie. `held`: the process that started it is still its parent."""

    state: str
    held: bool


def _processes_of(uid: int) -> list[_Process]:
    """The visible processes of the user."""
    found = []
    for pid, user in _users_of_processes().items():
        if user == uid:
            with contextlib.suppress(OSError):
                state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                starter = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").rpartition(b"\0")[2]
                found.append(_Process(state, state != "Z" and starter == parent.encode()))
    return found
