"""Asks the sandbox that `zmesh test` has started for a run in the transaction of a test."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zmesh.testing.session import RolledBackSession

VARIABLE = "ZMESH_TEST_SANDBOX"
_PREPARE = "select set_config('zmesh_test.answers', %s, false), pg_backend_pid() as process_id"
_INVOKED = """
with calls as (delete from zmesh_test.invoked returning *)
select function, payload, timeout_ms, version, alias from calls order by number
"""


def run_in_sandbox(
    session: RolledBackSession, path: str | os.PathLike[str], asked: Mapping[str, Any], ends: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How it ended, and its calls of zmesh.invoke(), which end as `ends` says. Raises RuntimeError if it cannot run."""
    with session.transaction(session.current.get()) as scope:  # its end checks what a commit would
        [row] = session.run(scope, _PREPARE, [json.dumps(ends)])
        ended = _answer({**asked, **row, "path": str(Path(path).absolute()), "root": str(Path.cwd())})
        invoked = session.run(scope, _INVOKED, None)
    return ended, invoked


def _answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    sandbox = os.environ.get(VARIABLE)
    if sandbox is None:
        raise RuntimeError("no sandbox for tests: start them with `zmesh test`")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sandbox)
        connection.sendall(json.dumps(asked).encode() + b"\n")
        with connection.makefile("rb") as answer:
            found: dict[str, Any] = json.loads(answer.readline() or b'{"refused": "the sandbox for tests has ended"}')
    if "refused" in found:
        raise RuntimeError(found["refused"])
    return found
