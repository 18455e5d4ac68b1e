"""The examples of the documentation, run from top to bottom as a reader would.

A fence says what is done with its block: ``python greet.py`` writes a file, ``sh run`` and ``python run`` run it,
``sql run`` runs it as the project's role, ``sql run until 3`` repeats it until it gives so many rows, and
``text output`` must be part of what the block before it printed. Any other block is only to be read.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.platform import REPOSITORY, ZMESH, Platform, clean_environment, eventually

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)\n(?P<text>(?s:.*?))^(?P=indent)```$", re.MULTILINE)
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "examples" / "README.md",
    *sorted((REPOSITORY / "docs").glob("**/*.md")),
]
RUNNABLE = [page for page in PAGES if re.search(r"^ *```\w+ run\b", page.read_text("utf-8"), re.MULTILINE)]
AND_TELL = """
{ pwd; env -0; } > "$STATE_OF_THE_SHELL"
"""
LINK = re.compile(r"\[[^]]*]\(([^)\s]+)\)")


@dataclass
class Reader:
    """Follows a page in a separate folder: files are named from there, commands are pasted into one shell."""

    platform: Platform
    folder: Path
    printed: str = field(default="", init=False)
    variables: dict[str, str] = field(default_factory=dict, init=False)
    shell_folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.shell_folder = self.folder

    def do(self, words: list[str], text: str) -> None:
        match words:
            case ["text", "output"]:
                assert text.strip() in self.printed
            case ["sh", "run"]:
                self.run(["bash", "-euc", text + AND_TELL])
                where, _, variables = self.state.read_text().partition("\n")
                pairs = (line.partition("=") for line in variables.split("\0"))
                self.shell_folder = Path(where)
                self.variables = {name: value for name, _, value in pairs if name.startswith("ZMESH_")}
            case ["python", "run"]:
                self.run([sys.executable, "-c", text])
            case ["sql", "run"]:
                self.platform.sql(text)
            case ["sql", "run", "until", count]:
                wanted = f"{count} rows of {text}"
                # A schedule that fires every minute may take a whole minute.
                eventually(lambda: len(self.platform.sql(text)) == int(count), wanted, seconds=120)
            case [_, name] if "." in name:
                file = self.folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)

    @property
    def state(self) -> Path:
        return self.folder / "bin" / "state-of-the-shell"

    def run(self, command: list[str]) -> None:
        environment = {
            **clean_environment(),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "ZMESH_HOME": str(self.platform.folder / ".zmesh"),  # as if the folder of `zmesh dev` were the reader's
            "STATE_OF_THE_SHELL": str(self.state),
            **self.variables,
        }
        done = subprocess.run(
            command, cwd=self.shell_folder, env=environment, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
        self.printed = done.stdout


@pytest.fixture
def reader(running_platform: Platform, tmp_path: Path) -> Reader:
    """Somebody with the command `zmesh` and a running platform."""
    command = tmp_path / "bin" / "zmesh"
    command.parent.mkdir()
    interpreter, option, code = ZMESH
    command.write_text(f"#!/bin/sh\nexec {interpreter} {option} '{code}' \"$@\"\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    running_platform.sql("drop table if exists zmesh_migrations")  # each page's folder has all that there are
    return Reader(running_platform, tmp_path)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_the_example_runs(reader: Reader, page: Path) -> None:
    for fence in FENCE.finditer(page.read_text("utf-8")):
        text = re.sub(f"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE)  # a list's blocks are indented
        reader.do(fence["info"].split(), text)


def test_the_first_page_and_each_trigger_have_an_example_that_runs() -> None:
    assert {page.stem for page in RUNNABLE} >= {"README", "sql", "schedules", "webhooks", "changes", "functions"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page}: {target}"
