"""Random states that a forked process would share with its template and its siblings: each run gets new ones.

Python draws its own secrets from the kernel. OpenSSL keeps a generator in memory, one for each copy that is loaded (the
ssl module's, those that wheels such as psycopg's bundle), and notices a fork only when the process number changes.
Packages that a template imports may make generators: those that they seed by chance are seeded anew in each run, those
that they seed with a value of their own keep it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import random
import ssl
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import Any

SEED_BYTES = 32
Seed = Callable[[bytes, int], None]
CHOSEN_BITS = 64  # longer entropy of numpy's is the kernel's, not a number that somebody chose
_openssl: list[Seed] = []
_by_chance: weakref.WeakSet[random.Random] = weakref.WeakSet()
_of_numpy: list[Any] = []


def find() -> None:
    """In the template, once everything is loaded: finds the copies of OpenSSL. Using each one once initializes it."""
    _openssl[:] = _loaded_copies()
    _seed_openssl()
    # Those of an earlier import may be frozen, and gc no longer lists them.
    known = {id(bits): bits for bits in (*_of_numpy, *_generators_of_numpy())}
    _of_numpy[:] = [bits for bits in known.values() if _entropy_of(bits).bit_length() > CHOSEN_BITS]


@contextlib.contextmanager
def noting_generators() -> Iterator[None]:
    """In a template, while it imports packages: remember the generators of Python's own that are seeded by chance."""
    seed = random.Random.seed

    def noting(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None:
            _by_chance.add(self)
        seed(self, a, version)

    random.Random.seed = noting  # type: ignore[method-assign]
    try:
        yield
    finally:
        random.Random.seed = seed  # type: ignore[method-assign]


def renew() -> None:
    """In the process of a run, before it may run user code."""
    random.seed()
    tempfile._name_sequence = None  # type: ignore[attr-defined]  # has its own generator
    _seed_openssl()
    for generator in list(_by_chance):
        generator.seed()
    for bits in _of_numpy:
        bits.state = type(bits)().state
    if (multiprocessing := sys.modules.get("multiprocessing.process")) is not None:
        multiprocessing.current_process().authkey = os.urandom(SEED_BYTES)


def _seed_openssl() -> None:
    for seed in _openssl:
        seed(os.urandom(SEED_BYTES), SEED_BYTES)
    ssl.RAND_add(os.urandom(SEED_BYTES), SEED_BYTES)  # for a copy that is linked into Python without exported symbols


def _generators_of_numpy() -> list[Any]:
    numpy = sys.modules.get("numpy.random")
    kind = getattr(numpy, "BitGenerator", None)
    if kind is None:
        return []
    return [one for one in gc.get_objects() if isinstance(one, kind)]


def _entropy_of(bits: Any) -> int:
    sequence = getattr(bits, "seed_seq", None) or getattr(bits, "_seed_seq", None)
    entropy = getattr(sequence, "entropy", None)
    return entropy if isinstance(entropy, int) else 0


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
