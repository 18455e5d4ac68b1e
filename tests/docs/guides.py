"""Guides for operators: their blocks have names, and a test runs each of them where it belongs."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.platform import REPOSITORY, ZMESH, clean_environment

BLOCK = re.compile(r"^```(\w+) (\S+)\n((?s:.*?))^```$", re.MULTILINE)
COMMANDS = re.compile(r"^```sh\b", re.MULTILINE)


class Guide:
    """A page under docs/guides/ whose fences are ```` ```sh NAME ````, ```` ```ini NAME ```` and the like."""

    def __init__(self, name: str) -> None:
        text = (REPOSITORY / "docs" / "guides" / f"{name}.md").read_text("utf-8")
        self._blocks = {name: block for _, name, block in BLOCK.findall(text)}
        named = [name for language, name, _ in BLOCK.findall(text) if language == "sh"]
        assert len(named) == len(COMMANDS.findall(text)), (
            "every block of commands has a name, for the test that runs it"
        )
        self._not_run = set(named)

    def text(self, name: str) -> str:
        """What the block of this name says."""
        return self._blocks[name]

    def take(self, name: str) -> str:
        """The content of a block, for a test that runs it in its own way."""
        self._not_run.discard(name)
        return self.text(name)

    def run(self, name: str, folder: Path, environment: Mapping[str, str]) -> str:
        """Run the commands of a block there, with `zmesh` on the path; returns what they print."""
        done = subprocess.run(
            ["bash", "-euc", self.take(name)],
            cwd=folder,
            env={**clean_environment(), "PATH": f"{zmesh_command(folder)}:{os.environ['PATH']}", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{name}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def assert_all_run(self) -> None:
        assert not self._not_run, "no test runs these commands of the page"


def zmesh_command(folder: Path) -> Path:
    """A folder for PATH in which `zmesh` is the one under test."""
    command = folder / "bin" / "zmesh"
    if not command.exists():
        command.parent.mkdir()
        command.write_text(f"#!{sys.executable}\n{ZMESH[2].replace('; ', chr(10))}\n")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return command.parent
