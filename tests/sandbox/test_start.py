"""What a sandbox finds out at its start, and says of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import Sandbox, SandboxError, native
from sandbox.confinement import kernel
from sandbox.host.gaps import gaps_of
from tests.sandbox.hosts import REPOSITORY, Host, Installation

WITH_NAMESPACES = ("root", "user_namespace")


def test_runs_are_forked_where_the_native_code_was_built(kind: str, host: Host) -> None:
    built = native.is_built() and kind in WITH_NAMESPACES

    assert host.report.node == ("forked" if built else "started"), host.report.gaps


def test_of_the_sandbox_itself_runs_can_read_native_code_at_most(
    kind: str, host: Host, installation_of: Callable[[str], Installation]
) -> None:
    folder = installation_of(kind).packages / "sandbox"

    seen = host.value(
        "python",
        """
        import os
        try:
            return os.listdir(payload)
        except OSError as error:
            return type(error).__name__
        """,
        f'"{folder}"',
    )

    assert seen in (["native"], "PermissionError", "FileNotFoundError")


@pytest.mark.parametrize(("version", "named"), [(0, True), (3, True), (4, False), (7, False)])
def test_a_kernel_that_lets_runs_listen_on_any_port_is_named(
    version: int, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "landlock_version", lambda: version)

    gaps = gaps_of("root", [], own_users=True)

    assert [gap for gap in gaps if "listen on the port of a server that is down" in gap] == gaps[-1:] * named


@pytest.mark.skipif(os.geteuid() != 0, reason="runs have a user of their own only when root starts them")
def test_the_capability_that_root_lacks_for_the_lower_level_is_named() -> None:
    program = "import asyncio; from sandbox import Sandbox; asyncio.run(Sandbox(1, modes=['process']).start())"
    command = ["setpriv", "--bounding-set", "-chown,-dac_override,-sys_admin", sys.executable, "-c", program]

    started = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)

    assert "Operation not permitted (chown needs CAP_CHOWN)" in started.stderr


@pytest.mark.parametrize("option", ["run_dir", "images"])
async def test_a_folder_that_cannot_be_written_is_named(option: str, tmp_path: Path) -> None:
    folders = {"run_dir": tmp_path / "runs", "images": tmp_path / "images", option: Path("/proc/zmesh")}

    with pytest.raises(SandboxError, match=r"cannot be made: .*'/proc/zmesh'.*ZMESH_RUN_DIR and ZMESH_LAYERS_DIR"):
        await Sandbox(slots=1, run_dir=folders["run_dir"], images=folders["images"]).start()


async def test_where_no_temporary_folder_can_be_written_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/zmesh"])

    with pytest.raises(SandboxError, match=r"cannot be made: .*No usable temporary directory.*mount a volume or tmpfs"):
        await Sandbox(slots=1).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="runs have a user of their own only when root starts them")
async def test_a_folder_that_the_users_of_runs_cannot_enter_is_named(tmp_path: Path) -> None:
    sdk = tmp_path / "sdk"
    shutil.copytree(REPOSITORY / "sdk", sdk)
    sdk.chmod(0o700)
    sandbox = Sandbox(slots=1, sdk=sdk, modes=["process"])

    with pytest.raises(SandboxError, match=f"cannot enter.*{sdk}.*chmod"):
        await sandbox.start()
    await sandbox.close()
