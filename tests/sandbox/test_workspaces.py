"""Removing workspaces: by whom, and what others keep."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.confinement import workspaces

UID = 1_750_262_000
# What docker-compose.yml gives a listener beside SYS_ADMIN.
CAPABILITIES = "-all,+setuid,+setgid,+kill,+chown,+dac_override"
REMOVE = "import sys; sys.path.insert(0, sys.argv[1]); from sandbox.confinement import workspaces; workspaces.remove(sys.argv[2])"


@pytest.fixture
def folder() -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="zmesh-test-workspace-"))
    parent.chmod(0o711)
    yield parent / "run-1"
    shutil.rmtree(parent, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_root_in_a_container_removes_what_a_runs_user_has_made(folder: Path) -> None:
    """Without CAP_FOWNER, root may neither change the mode of others' folders nor empty their sticky ones."""
    workspaces.make(str(folder), UID)
    made = "import os; os.makedirs('a/b'); open('a/b/f', 'w'); open('tmp/f', 'w'); os.chmod('a/b', 0); os.chmod('a', 0)"
    subprocess.run([sys.executable, "-I", "-S", "-c", f"import os; os.setuid({UID}); {made}"], cwd=folder, check=True)

    subprocess.run(
        ["setpriv", "--bounding-set", CAPABILITIES, sys.executable, "-I", "-c", REMOVE,
         str(Path(workspaces.__file__).parents[2]), str(folder)],
        check=True,
    )  # fmt: skip

    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders to others")
@pytest.mark.parametrize("given", range(4))
def test_a_workspace_whose_making_was_interrupted_is_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: int
) -> None:
    chown, left = os.chown, iter(range(given))

    def interrupted(path: str, uid: int, gid: int) -> None:
        if next(left, None) is None:
            raise InterruptedError
        chown(path, uid, gid)

    monkeypatch.setattr(os, "chown", interrupted)
    with contextlib.suppress(InterruptedError):
        workspaces.make(str(folder), UID)

    workspaces.remove(str(folder))

    assert not folder.exists()


def test_a_link_in_place_of_a_workspace_is_not_followed(folder: Path) -> None:
    victim = folder.parent / "victim"
    victim.mkdir()
    (victim / "kept").touch()
    folder.symlink_to(victim)

    workspaces.remove(str(folder))

    assert (victim / "kept").exists()


def test_only_folders_of_sandboxes_that_ended_are_abandoned(folder: Path) -> None:
    parent = folder.parent
    for name in ("zmesh-run-held", "zmesh-run-left", "zmesh-run-unclaimed", "other"):
        (parent / name).mkdir()
    held = workspaces.claim(str(parent / "zmesh-run-held"))
    for name in ("zmesh-run-left", "other"):
        os.close(workspaces.claim(str(parent / name)))

    workspaces.remove_abandoned(str(parent), "zmesh-run-")

    assert sorted(os.listdir(parent)) == ["other", "zmesh-run-held", "zmesh-run-unclaimed"]
    os.close(held)
