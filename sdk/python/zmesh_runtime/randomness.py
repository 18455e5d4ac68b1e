"""Random states that a forked process would share with its template and its siblings: each run gets new ones.

Python draws its own secrets from the kernel. OpenSSL keeps a generator in memory, one for each copy that is loaded (the
ssl module's, those that wheels such as psycopg's bundle), and notices a fork only when the process number changes.
"""

from __future__ import annotations

import ctypes
import os
import random
import ssl
import sys
import tempfile
from collections.abc import Callable
from typing import Any

SEED_BYTES = 32
Seed = Callable[[bytes, int], None]
_openssl: list[Seed] = []


def find() -> None:
    """In the template, once everything is loaded: the copies of OpenSSL. Each is used once, which initialises it."""
    _openssl[:] = _loaded_copies()
    _seed_openssl()


def renew() -> None:
    """In the process of a run, before it may run user code."""
    random.seed()
    tempfile._name_sequence = None  # type: ignore[attr-defined]  # has a generator of its own
    _seed_openssl()
    if (multiprocessing := sys.modules.get("multiprocessing.process")) is not None:
        multiprocessing.current_process().authkey = os.urandom(SEED_BYTES)


def _seed_openssl() -> None:
    for seed in _openssl:
        seed(os.urandom(SEED_BYTES), SEED_BYTES)
    ssl.RAND_add(os.urandom(SEED_BYTES), SEED_BYTES)  # one that is linked into Python, without names to be found by


def _loaded_copies() -> list[Seed]:
    found: dict[int | None, Seed] = {}
    for path in _loaded_libraries():
        try:
            seed = ctypes.CDLL(path, os.RTLD_NOLOAD | os.RTLD_NOW).RAND_seed
        except (OSError, AttributeError):
            continue
        seed.argtypes, seed.restype = (ctypes.c_char_p, ctypes.c_int), None
        found[_address(seed)] = seed  # by address, since a look-up also finds symbols of a library's dependencies
    return list(found.values())


def _address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value


def _loaded_libraries() -> set[str]:
    with open("/proc/self/maps") as maps:
        fields = [line.split(maxsplit=5) for line in maps]
    return {line[5].rstrip("\n") for line in fields if len(line) == 6 and line[5].startswith("/") and "x" in line[1]}
