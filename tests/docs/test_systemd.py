"""docs/guides/systemd.md: its commands and units under a systemd of their own, and what options do to the sandbox.

That systemd is process 1 of new namespaces, with copies of /etc and /run and no other units than ours.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from cli.platform.postgres import EmbeddedPostgres
from support.sealing import Sealer
from tests.docs.guides import Guide
from tests.platform import REPOSITORY, ZMESH, clean_environment, eventually
from tests.postgres_with_cron import free_port

SYSTEMD = Path("/lib/systemd/systemd")
UNITS = REPOSITORY / "deploy" / "systemd"
GUIDE = Guide("systemd")
GUIDE_TEXT = (REPOSITORY / "docs" / "guides" / "systemd.md").read_text("utf-8")
OPTION = re.compile(r"^\| `([A-Za-z]+=[^`]+)` \|", re.MULTILINE)
STUBS = ("sysinit", "basic", "shutdown", "network-online")
UNSHARE = ["unshare", "--fork", "--pid", "--kill-child", "--mount", "--mount-proc", "--cgroup", "--ipc"]
BOOT = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/copy
cp -a /etc/. /run/copy
rm -rf /run/copy/systemd/system
mount --bind /run/copy /etc
mount -t tmpfs tmpfs /opt
umount --recursive --lazy /sys/fs/cgroup 2>/dev/null || true
mkdir -p /opt/zmesh/bin /etc/systemd/system
cp -r {folder}/units/. /etc/systemd/system
cp {folder}/zmesh /opt/zmesh/bin/zmesh
exec {systemd} --system --unit=test.target --show-status=0 --log-target=console
"""


def cannot_boot() -> str | None:
    """Why systemd cannot be tried here; None where it can."""
    if os.geteuid() != 0 or not SYSTEMD.exists():
        return "a systemd of its own needs root and the package systemd"
    if Path("/run/systemd/system").exists():
        return "another systemd manages the control groups of this machine"
    tried = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True)
    return None if tried.returncode == 0 else "namespaces and mounts are not allowed here"


WHY_NOT = cannot_boot()
needs_systemd = pytest.mark.skipif(WHY_NOT is not None, reason=f"{WHY_NOT}: the units are NOT tried")


@dataclass
class Booted:
    """Files of a systemd that runs: what the page's commands print, and what each unit does."""

    folder: Path

    def said(self, name: str) -> str:
        log = self.folder / "logs" / f"{name}.log"
        return log.read_text("utf-8", "replace") if log.exists() else ""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A separate server: the migration sets passwords of roles that belong to the whole server."""
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    postgres.start()
    with psycopg.connect(postgres.admin_url, autocommit=True) as connection:
        connection.execute("create database zmesh")
    yield postgres.admin_url
    postgres.stop()


def prepare(folder: Path, commands: str, listeners: dict[str, str]) -> None:
    """Lay out what the new systemd finds: commands to run once, and copies of the listener with one more option."""
    for name in ("units", "logs"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    units = folder / "units"
    for name in STUBS:
        (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    (units / "multi-user.target").write_text("[Unit]\nDefaultDependencies=no\n")
    (units / "test.target").write_text("[Unit]\nDefaultDependencies=no\nWants=page.service\n")
    (folder / "page.sh").write_text(commands)
    (units / "page.service").write_text(
        f"[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nWorkingDirectory={REPOSITORY}\n"
        f"ExecStart=/bin/bash -euo pipefail {folder}/page.sh\n{output(folder, 'page')}"
    )
    for name, option in listeners.items():
        unit = (UNITS / "zmesh-listener.service").read_text()
        (units / f"{name}.service").write_text(f"{unit}\n[Service]\nRestart=no\nTimeoutStartSec=60\n{option}\n")
    for name in ("zmesh-migrate", "zmesh-api", "zmesh-listener", *listeners):
        drop_in = units / f"{name}.service.d" / "test.conf"
        drop_in.parent.mkdir()
        drop_in.write_text(f"[Service]\n{output(folder, name)}{reach(name)}")
    program = folder / "zmesh"
    program.write_text(f"#!/bin/sh\nexport PYTHONPATH={REPOSITORY}\nexec {sys.executable} -c '{ZMESH[2]}' \"$@\"\n")
    program.chmod(0o755)


def output(folder: Path, name: str) -> str:
    log = folder / "logs" / f"{name}.log"
    return f"StandardOutput=append:{log}\nStandardError=append:{log}\n"


def reach(name: str) -> str:
    """The program under test may be where a real one must not: below /tmp, or below /root, which only root enters."""
    places = {REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)}
    said = "".join(f"BindReadOnlyPaths={place}\n" for place in places if place.is_relative_to("/tmp"))
    if any(place.is_relative_to("/root") for place in places):
        said += "ProtectHome=no\n" + ("User=root\n" if name in ("zmesh-migrate", "zmesh-api") else "")
    return said


@contextmanager
def booted(folder: Path, **environment: str) -> Iterator[Booted]:
    script = BOOT.format(folder=folder, systemd=SYSTEMD)
    with (folder / "systemd.log").open("wb") as log:
        process = subprocess.Popen(
            [*UNSHARE, "bash", "-euc", script],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**clean_environment(), "container": "test", "SYSTEMD_UNIT_PATH": "/etc/systemd/system", **environment},
        )
    try:
        yield Booted(folder)
    finally:
        process.send_signal(signal.SIGKILL)  # --kill-child: its process 1 ends, and all of the namespace with it
        process.wait()
        for group in Path("/sys/fs/cgroup").glob("**/system.slice/*.service"):
            if group.name == "page.service" or group.name.startswith(("zmesh-", "listener-")):
                with suppress(OSError):  # somebody else's, and in use
                    group.rmdir()


def test_the_program_is_installed_as_in_the_image() -> None:
    image = (REPOSITORY / "Dockerfile").read_text("utf-8").replace("-r requirements", "--requirement requirements")
    of_the_page = re.findall(r"pip install (--\S+).*(runtime\.txt|\.whl)$", GUIDE.take("program"), re.MULTILINE)
    assert of_the_page == [("--require-hashes", "runtime.txt"), ("--no-deps", ".whl")]
    for option, what in of_the_page:
        assert re.search(rf"/opt/zmesh/bin/pip install .*{option}.*{re.escape(what)}$", image, re.MULTILINE)


@needs_systemd
@pytest.mark.timeout(240)
def test_the_units_start_the_platform_with_the_full_sandbox(server: str, tmp_path: Path) -> None:
    parts, port = urlsplit(server), free_port()
    variables = {
        "ADMINISTRATOR": f"{parts.username}:{parts.password}",
        "DATABASE": f"{parts.hostname}:{parts.port}/zmesh",
    }
    folder = tmp_path / "systemd"
    folder.mkdir()
    blocks = [GUIDE.take(name) for name in ("install", "environment", "start", "check")]
    blocks.insert(2, f"echo ZMESH_PORT={port} >> /etc/zmesh/api.env\n")
    commands = "".join(f"export {name}='{value}'\n" for name, value in variables.items()) + "\n".join(blocks)
    prepare(folder, commands.replace("127.0.0.1:8700", f"127.0.0.1:{port}") + "\necho finished\n", {})
    with booted(folder) as system:
        eventually(lambda: "finished" in system.said("page"), f"the page's commands, see {folder}/logs", 120)
        assert system.said("page").count("active\n") == 3
        eventually(lambda: "registered as" in system.said("zmesh-listener"), f"the listener, see {folder}/logs")
        assert "sandbox: full (root), Node.js is forked" in system.said("zmesh-listener")
        assert "owns it" in system.said("zmesh-migrate")
        assert httpx.get(f"http://127.0.0.1:{port}/health").json()["listeners"] == 1


@needs_systemd
@pytest.mark.timeout(300)
def test_each_option_that_the_page_warns_of_takes_the_full_sandbox_away(tmp_path: Path) -> None:
    listeners = {f"listener-{number}": option for number, option in enumerate(["", *OPTION.findall(GUIDE_TEXT)])}
    settings = (
        "mkdir /etc/zmesh\n"
        "cat > /etc/zmesh/listener.env <<END\n"
        "DATABASE_URL=postgresql://zmesh_listener:x@127.0.0.1:1/zmesh\n"
        f"ZMESH_SANDBOX_REQUIRED=full\nZMESH_SECRET_KEY={Sealer.new_key()}\nEND\n"
    )
    starts = "".join(
        f"systemctl start {name}\n"
        f"while systemctl --quiet is-active {name} && ! grep --quiet sandbox: {tmp_path}/logs/{name}.log; do\n"
        f"sleep 0.1; done\nsystemctl stop {name}\n"
        for name in listeners
    )
    prepare(tmp_path, f"{settings}{starts}echo finished\n", listeners)
    with booted(tmp_path) as system:
        eventually(lambda: "finished" in system.said("page"), f"the listeners, see {tmp_path}/logs", 240)
        said = {option: system.said(name) for name, option in listeners.items()}
    assert "sandbox: full (root)" in said.pop("")
    assert len(said) == 5
    for option, text in said.items():
        assert text, option
        assert "sandbox: full" not in text, f"{option}\n{text}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_units_are_as_systemd_wants_them(tmp_path: Path) -> None:
    for unit in UNITS.glob("*.service"):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/zmesh/bin/zmesh", "/bin/true"))
    units = sorted(tmp_path.glob("*.service"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units], capture_output=True, text=True
    )
    assert (len(units), checked.returncode, checked.stderr) == (3, 0, "")


def test_every_command_of_the_page_is_run_here() -> None:
    if WHY_NOT is None:
        GUIDE.assert_all_run()
