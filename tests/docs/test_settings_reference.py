"""The table of environment variables names every setting of every process, with its default, and no other."""

from __future__ import annotations

import re

import pytest

from api.settings import Settings as ApiSettings
from cli.platform.database_settings import FirstProjectSettings, MigrateSettings
from listener.settings import Settings as ListenerSettings
from support.settings import ProcessSettings
from tests.platform import REPOSITORY

TEXT = (REPOSITORY / "docs" / "guides" / "operations.md").read_text()
COLUMNS: dict[str, list[type[ProcessSettings]]] = {
    "migrate": [MigrateSettings, FirstProjectSettings],
    "api": [ApiSettings],
    "listener": [ListenerSettings],
}


def documented() -> dict[str, dict[str, str]]:
    """The cell of each variable in the column of each process."""
    header, _, *rows = re.findall(r"^\|(.+)\|$", TEXT[TEXT.index("| variable |") :].partition("\n\n")[0], re.M)
    processes = [cell.strip(" `") for cell in header.split("|")][1:-1]
    cells: dict[str, dict[str, str]] = {process: {} for process in processes}
    for row in rows:
        names, *values = re.split(r"(?<!\\)\|", row)
        variables = re.findall(r"`([A-Z_]+)`", names)
        for process, cell in zip(processes, values, strict=False):
            parts = [part.strip() for part in cell.split(", ")] if "`, `" in cell else [cell.strip()] * len(variables)
            cells[process].update({name: part for name, part in zip(variables, parts, strict=True) if part})
    return cells


@pytest.mark.parametrize("process", COLUMNS)
def test_the_variables_of_a_process_are_those_in_its_column(process: str) -> None:
    assert set(documented()[process]) == {name for model in COLUMNS[process] for name in model.variables()}


@pytest.mark.parametrize("process", COLUMNS)
def test_the_documented_default_is_the_one_that_counts(process: str) -> None:
    model, cells = COLUMNS[process][0], documented()[process]
    for name, field in model.variables().items():
        info = model.model_fields[field]
        assert (cells[name] == "required") == info.is_required()
        if (default := re.fullmatch(r"`([^`]+)`", cells[name])) is not None:
            assert default[1] == str(info.default)
        elif not info.is_required():
            assert info.default_factory or not info.default  # nothing, or what the text says
