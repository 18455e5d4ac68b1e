"""The rooms of the house, and who may know whom."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parent.parent
MAY_IMPORT = {
    "support": set[str](),
    "observing": set[str](),
    "sql": {"support"},
    "sandbox": set[str](),
    "sdk": set[str](),
    "examples": set[str](),
    "listener": {"support", "observing", "sql", "sandbox"},
    "api": {"support", "observing", "sql"},
    "cli": {"support", "observing", "sql", "sandbox", "sdk", "examples", "listener", "api"},
    "zmesh": {"sdk", "cli"},
}


def import_linter() -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
    return settings


def test_the_contracts_forbid_all_that_is_not_allowed() -> None:
    forbidden: dict[str, set[str]] = {room: set() for room in MAY_IMPORT}
    for contract in import_linter()["contracts"]:
        if contract["type"] != "forbidden":
            continue
        for room in contract["source_modules"]:
            forbidden[room] |= set(contract["forbidden_modules"])
    assert forbidden == {room: MAY_IMPORT.keys() - allowed - {room} for room, allowed in MAY_IMPORT.items()}


def test_every_package_is_under_contract() -> None:
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages == set(import_linter()["root_packages"]) == set(MAY_IMPORT)


@pytest.mark.parametrize("room", ["api", "cli"])
def test_every_part_of_a_room_has_a_layer(room: str) -> None:
    contracts = [contract["layers"] for contract in import_linter()["contracts"] if contract["type"] == "layers"]
    named = {module.strip() for layers in contracts for layer in layers for module in layer.split("|")}
    parts = {f"{room}.{path.stem}" for path in (REPOSITORY / room).iterdir() if is_module(path)}
    assert {name for name in named if name.startswith(f"{room}.")} == parts


def is_module(path: Path) -> bool:
    return (path / "__init__.py").is_file() or (path.suffix == ".py" and path.stem != "__init__")


def test_the_contracts_are_kept() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_command_line_loads_its_heavy_parts_only_when_they_run() -> None:
    program = "import cli.main, sys; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    heavy = ["api", "listener", "sandbox", "litestar", "psycopg", "pydantic", "httpx", "mcp", "rich.table"]
    done = subprocess.run(
        [sys.executable, "-c", program, *heavy], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
