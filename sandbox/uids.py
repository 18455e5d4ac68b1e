"""Users for runs, as root: a range of uids that no other sandbox on this host uses at the same time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from pathlib import Path

from sandbox.model import SandboxError

LOCKS = Path("/run/zmesh-sandbox")
FIRST_UID = 1_750_000_000  # far from people, system accounts, containers' subordinate ranges and 32-bit signs
RANGE = 4096
RANGES = 64
_END_ALL = "import os, sys; uid = int(sys.argv[1]); os.setresuid(uid, uid, uid); os.kill(-1, 9)"


class UidRange:
    """A range held until `close`, by a lock that ends with the process."""

    def __init__(self) -> None:
        """Raises SandboxError where all are taken."""
        LOCKS.mkdir(mode=0o700, exist_ok=True)
        for number in range(RANGES):
            fd = os.open(LOCKS / f"uids-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                continue
            self._fd = fd
            self.base = FIRST_UID + number * RANGE
            self._end_leftovers()
            return
        raise SandboxError(f"{RANGES} sandboxes run on this host already: no range of users is free.")

    def _end_leftovers(self) -> None:
        """End what a sandbox that crashed has left under these users: it could reach into runs of the same user."""
        for uid in sorted({uid for uid in _users_of_processes() if self.base <= uid < self.base + RANGE}):
            # From a process of that user, since kill(2) with -1 leaves a fork bomb no moment to fork.
            subprocess.run([sys.executable, "-I", "-S", "-c", _END_ALL, str(uid)], check=False, cwd="/")

    def close(self) -> None:
        """Give the range back."""
        os.close(self._fd)


def _users_of_processes() -> set[int]:
    found = set()
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit():
                found.add(os.stat(f"/proc/{name}").st_uid)
    return found
