"""What a template process does once, so that no run forked from it has to."""

from __future__ import annotations

import gc
import importlib
import logging
import sys
from collections.abc import Sequence

import psycopg

from zmesh_runtime import packages, processes, randomness, results, statements

# Standard modules that functions often use, and those that psycopg and asyncio load on first use.
_MODULES = """
    asyncio base64 calendar collections concurrent.futures contextlib copy csv dataclasses datetime decimal difflib
    email.message email.mime.multipart email.mime.text email.utils encodings.idna enum functools gzip hashlib heapq
    hmac html http.client inspect io itertools json logging math operator os pathlib pprint queue random re secrets
    shutil smtplib sqlite3 ssl statistics string subprocess tempfile textwrap threading time traceback types typing
    unicodedata urllib.parse urllib.request uuid xml.etree.ElementTree zipfile zlib zoneinfo
"""


def prepare() -> None:
    """Load and warm up everything that a run may need. Opens no socket and starts no thread."""
    for name in _MODULES.split():
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # this Python was built without it
    results.to_json({"warm": [1, 2.5, "ä", None, True]})
    statements.update("t", {"a": 1}, "id = %s", [1])
    logging.root.setLevel(logging.INFO)
    processes.prepare()
    _load_cryptography_of_libpq()
    randomness.find()
    sys.modules.pop(
        "typing_extensions", None
    )  # psycopg has imported what it needs; a function may bring another version
    gc.collect()
    gc.freeze()  # what is loaded here is never collected, so children do not copy its pages


def preload(image: str | None, names: Sequence[str]) -> str | None:
    """Import modules of an image, so that no run forked from this process has to; why that failed, if it did."""
    packages.use(image)
    with randomness.noting_generators():
        for name in names:
            try:
                importlib.import_module(name)
            except BaseException as error:  # packages raise what they like
                return f"importing {name} raised {type(error).__name__}: {error}"
    randomness.find()
    gc.collect()
    gc.freeze()
    return None


def _load_cryptography_of_libpq() -> None:
    """Load what signing in with a password needs; an incomplete connection string opens no socket."""
    pgconn = psycopg.pq.PGconn.connect(b"sslmode=none")
    pgconn.encrypt_password(b"", b"", b"scram-sha-256")
