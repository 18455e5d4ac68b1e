"""Helpers for processes, shared by `zmesh dev` and its PostgreSQL."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FIRST_PORT = 10_000


def is_alive(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def ephemeral_ports() -> tuple[int, int]:
    """The first and the last ephemeral port."""
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return int(low), int(high)


class NoFreePort(Exception):
    """Every TCP port of the loopback address is in use."""


def free_port() -> int:
    """A port that no function gets while its server restarts: runs may listen on ephemeral ports only.

    Raises NoFreePort.
    """
    low, high = ephemeral_ports()
    ports = [port for port in range(FIRST_PORT, 1 << 16) if not low <= port <= high]
    for port in random.sample(ports, len(ports)) or [0]:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            chosen: int = probe.getsockname()[1]
            return chosen
    raise NoFreePort("No TCP port is free on 127.0.0.1.")


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
