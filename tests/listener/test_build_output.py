"""What a build says that it installed, which its install scripts may have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from listener.build_output import MOST_PACKAGES, Failed, FileSink, Interrupted, check_outcome, read_sent
from sandbox import Limits, RunError, RunOutcome

PACKAGE = {"name": "a", "version": "1", "hash": ""}
SAID = {"lock": "a==1\n", "platform": "cpython-311", "packages": [PACKAGE]}


def read(folder: Path, line: bytes) -> Any:
    (folder / "sent").write_bytes(line + b"\n")
    return read_sent(folder, "python")


def test_what_was_installed_is_read_without_what_nobody_asked_for(tmp_path: Path) -> None:
    installed, archive = read(tmp_path, json.dumps({**SAID, "more": [[{}]], "lock": "a==1\0\n"}).encode())
    assert (installed.packages, installed.scripts, "\0" in installed.lock) == ([PACKAGE], [], False)
    assert archive.contents.files == 0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[" * 100_000,
        b"\xff",
        json.dumps({**SAID, "packages": [PACKAGE] * (MOST_PACKAGES + 1)}).encode(),
        json.dumps({**SAID, "packages": [{**PACKAGE, "name": None}]}).encode(),
        json.dumps({**SAID, "scripts": [1]}).encode(),
        json.dumps({"packages": []}).encode(),
    ],
    ids=["nothing", "nested", "no text", "too many packages", "no name", "no names of scripts", "no lock"],
)
def test_anything_else_is_refused(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(Failed, match="did not say what it installed"):
        read(tmp_path, line)


def test_a_build_that_takes_too_much_memory_is_told_what_a_build_may_take() -> None:
    """Not to raise a limit of its function, which has none to do with it."""
    outcome = RunOutcome("error", None, None, RunError("memory_limit", "Raise memory_mb."), (), 1, 1, 1)
    with pytest.raises(Failed, match=r"^Installing the packages took more than 64 MiB of memory\.$") as failure:
        check_outcome(outcome, cast(FileSink, None), Limits(timeout_ms=1000, memory_mb=64))
    assert failure.value.type == "memory_limit"


@pytest.mark.parametrize(
    ("error", "killed", "told"),
    [
        (RunError("sandbox_failed", "lost"), True, ("sandbox_failed", "lost.")),
        (RunError("sandbox_failed", "no process"), False, ("sandbox_failed", "no process.")),
        (RunError("BuildInterrupted", "killed"), False, ("sandbox_failed", "killed.")),
        (RunError("crashed", "SIGKILL"), True, ("sandbox_failed", "The installer's process was killed from outside.")),
        (RunError("memory_limit", "out"), True, ("memory_limit", "The kernel killed the installer because ")),
    ],
)
def test_what_a_build_is_not_to_blame_for_interrupts_it(error: RunError, killed: bool, told: tuple[str, str]) -> None:
    outcome = RunOutcome("error", None, None, error, (), 1, 1, 1, killed)
    with pytest.raises(Interrupted) as interruption:
        check_outcome(outcome, cast(FileSink, None), Limits())
    assert interruption.value.type == told[0]
    assert interruption.value.message.startswith(told[1])
