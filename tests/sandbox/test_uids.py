"""The users of runs: no two sandboxes on a host have the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import SandboxError
from sandbox.confinement import uids
from sandbox.confinement.uids import RANGE, UidRange
from tests.platform import REPOSITORY
from tests.processes import children_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives runs users of their own")
FIRST_UID = 1_751_000_000  # where the sandboxes of other tests take no range
HOLD_AND_DIE = (
    "import os, sys; from pathlib import Path; from sandbox.confinement import uids; uids.LOCKS = Path(sys.argv[1]);"
    f"uids.FIRST_UID = {FIRST_UID};"
    "print(uids.UidRange().base, flush=True); os.kill(os.getpid(), 9)"
)
TAKE_AND_GIVE_BACK = (
    "import sys; from pathlib import Path; from sandbox.confinement import uids; uids.LOCKS = Path(sys.argv[1]);"
    f"uids.FIRST_UID = {FIRST_UID};"
    "taken = uids.UidRange(); taken.close(); print(taken.base)"
)


@pytest.fixture
def sharing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], UidRange]:
    """Take a range with the locks in this folder."""
    monkeypatch.setattr(uids, "FIRST_UID", FIRST_UID)

    def take(locks: Path) -> UidRange:
        monkeypatch.setattr(uids, "LOCKS", locks)
        return UidRange()

    return take


@pytest.mark.parametrize("folders", [("one", "one"), ("one", "other")], ids=["shared locks", "nothing shared"])
def test_two_sandboxes_have_different_users(
    sharing: Callable[[Path], UidRange], tmp_path: Path, folders: tuple[str, str]
) -> None:
    first = sharing(tmp_path / folders[0])
    second = sharing(tmp_path / folders[1])
    try:
        assert abs(first.base - second.base) >= RANGE
    finally:
        first.close()
        second.close()


def test_the_users_of_a_sandbox_that_was_killed_are_free_again(
    sharing: Callable[[Path], UidRange], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", HOLD_AND_DIE, str(tmp_path)]
    killed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)

    again = sharing(tmp_path)

    assert killed.stdout == f"{again.base}\n"
    again.close()


def test_root_that_may_not_end_processes_of_others_finds_a_free_range(
    sharing: Callable[[Path], UidRange], tmp_path: Path
) -> None:
    """As in a container without the capability KILL, beside another container that it shares no locks with."""
    held = sharing(tmp_path / "one")
    command = ["setpriv", "--bounding-set", "-kill", sys.executable, "-c", TAKE_AND_GIVE_BACK, str(tmp_path / "other")]

    taken = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)

    held.close()
    assert taken.stdout == f"{held.base + RANGE}\n", taken.stderr


def test_giving_the_users_back_leaves_no_process(sharing: Callable[[Path], UidRange], tmp_path: Path) -> None:
    before = set(children_of(os.getpid()))

    sharing(tmp_path).close()

    assert set(children_of(os.getpid())) == before


def test_where_no_lock_can_be_kept_the_error_says_what_to_do(sharing: Callable[[Path], UidRange]) -> None:
    with pytest.raises(SandboxError, match=r"users of runs in /proc/zmesh: .*writable for root.*volume"):
        sharing(Path("/proc/zmesh"))
