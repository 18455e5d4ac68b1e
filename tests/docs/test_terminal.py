"""docs/images/terminal.svg: its commands, run again, print what it shows."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import pytest
from rich.text import Text

from tests.platform import REPOSITORY, zmesh_dev

SVG = "{http://www.w3.org/2000/svg}"
DIFFERS_EACH_TIME = {
    r"\d{4}-\d\d-\d\d": "DATE",
    r"\d\d:\d\d:\d\d(\.\d+)?": "TIME",
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "ID",
    r"(?<=\"duration_ms\":)\d+": "N",
    r"[\d.]+m?s(?=,version|version)": "DURATION",
}


def recorder() -> ModuleType:
    """docs/images/terminal.py, which draws the picture."""
    spec = importlib.util.spec_from_file_location("terminal", REPOSITORY / "docs" / "images" / "terminal.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(picture: Path) -> str:
    """The text of the picture, without spaces: where lines wrap depends on how long durations are."""
    [matrix] = [group for group in ElementTree.parse(picture).iter(f"{SVG}g") if "matrix" in group.get("class", "")]
    return "".join(text.text or "" for text in matrix.iter(f"{SVG}text"))


def comparable(text: str) -> str:
    text = re.sub(r"\s+", "", text)
    for pattern, name in DIFFERS_EACH_TIME.items():
        text = re.sub(pattern, name, text)
    return text


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed: apt-get install postgresql-client")
def test_the_picture_of_a_session_shows_what_its_commands_print(tmp_path: Path) -> None:
    terminal = recorder()
    with zmesh_dev(tmp_path, "--no-examples"):
        facts = json.loads((tmp_path / ".zmesh" / "dev.json").read_text())
        session = terminal.run_session(tmp_path, facts)
    now = "".join(f"$ {command}\n{Text.from_ansi(printed).plain}\n" for command, printed in session)
    assert comparable(shown(terminal.PICTURE)) == comparable(now), "draw it anew: python docs/images/terminal.py"
