"""Users for runs, as root: a range of uids that no other sandbox on this host uses at the same time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sandbox.model import SandboxError

LOCKS = Path("/run/zmesh-sandbox")
FIRST_UID = 1_750_000_000  # far from people, system accounts, containers' subordinate ranges and 32-bit signs
RANGE = 4096
RANGES = 64


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
            return
        raise SandboxError(f"{RANGES} sandboxes run on this host already: no range of users is free.")

    def close(self) -> None:
        """Give the range back."""
        os.close(self._fd)
