"""The docs are built as a site without a warning: no broken link, no page without a place in the menu."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_site_has_every_page_and_each_as_markdown_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # of its authors' plans
    built = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr

    [home, *pages] = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): \S", (tmp_path / "llms.txt").read_text(), re.MULTILINE)
    assert (tmp_path / home).read_text() == (REPOSITORY / "README.md").read_text()
    for page in pages:
        assert (tmp_path / page).read_text() == (REPOSITORY / "docs" / page).read_text()
        assert (tmp_path / page).with_suffix("").joinpath("index.html").is_file() or page == "README.md"
    assert "<code>zmesh completion fish | source</code>" in (tmp_path / "reference/cli/index.html").read_text()
    documented = [path.relative_to(REPOSITORY / "docs") for path in (REPOSITORY / "docs").rglob("*.md")]
    assert {str(path) for path in documented if path.parts[0] != "decisions"} == {*pages}
