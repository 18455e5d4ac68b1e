"""Child processes that end when we do, however that happens."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def dying_with_parent(number: int) -> Callable[[], None]:
    """What a child must run between fork and exec to get this signal when the thread that started it ends. Only Linux
    can do this; elsewhere nothing is done."""
    parent = os.getpid()

    def prepare() -> None:
        if sys.platform != "linux":
            return
        _libc.prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # we ended before the kernel knew
            os._exit(1)

    return prepare
