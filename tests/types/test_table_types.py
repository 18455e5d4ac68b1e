"""`zmesh types`: what it writes of tables of every kind, with the compilers that editors ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database
from tests.platform import COMMANDS, REPOSITORY, clean_environment
from tests.types.compiler import HERE, MODULES, complaints, install_compiler

ELSEWHERE = """
create schema sales;
create table sales.invoices (id integer primary key, paid boolean not null);
grant usage on schema sales to {role};
grant select on sales.invoices to {role};
create schema hidden;
create table hidden.things (id integer);
"""


@pytest.fixture(scope="module")
def url(server: str, migrated: str) -> Iterator[str]:
    """The database of a project with tables, which may read a table of somebody else."""
    with Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD, template=migrated) as database:
        project = database.project("shop")
        database.rows((HERE / "tables.sql").read_text(), url=project.url)
        database.rows(ELSEWHERE.format(role=project.role))
        yield project.url
        database.remember_roles()


def zmesh_types(folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {**clean_environment(), "XDG_CONFIG_HOME": str(folder), "ZMESH_DATABASE_URL": url}
    return COMMANDS.run(["types", *arguments], cwd=folder, env=variables, stdin="")


def test_typescript_knows_the_columns_of_each_table(tmp_path: Path, url: str) -> None:
    install_compiler()
    file = tmp_path / "written" / "zmesh-tables.d.ts"
    file.parent.mkdir()
    done = zmesh_types(tmp_path, url, "--output-file", str(file))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr == f"7 tables in {file}\n"
    written = file.read_text()
    assert zmesh_types(tmp_path, url).stdout == written
    assert "parted_1" not in written
    assert "things" not in written
    assert "with.dot" not in written
    assert complaints(tmp_path, HERE / "tables.ts", file, options=MODULES) == ""


def test_python_knows_the_columns_of_each_table(tmp_path: Path, url: str) -> None:
    done = zmesh_types(tmp_path, url, "--language", "python", "--output-file", "zmesh_types.pyi")
    assert done.returncode == 0, done.stderr
    function = tmp_path / "function.py"
    shutil.copy(HERE / "tables.py.txt", function)
    wrong = [number for number, line in enumerate(function.read_text().splitlines(), 1) if line.endswith("# wrong")]
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--hide-error-context", "--no-error-summary"]
    checked = subprocess.run(
        [*command, "--follow-imports", "silent", "function.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": f"{tmp_path}:{REPOSITORY / 'sdk' / 'python'}"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    errors = [line for line in checked.stdout.splitlines() if ": error:" in line]
    assert {int(line.split(":")[1]) for line in errors} == set(wrong), checked.stdout + checked.stderr
    assert all(line.startswith("function.py:") for line in errors)


def test_a_project_without_tables_has_types_too(tmp_path: Path, database: Database) -> None:
    url = database.project("empty").url
    assert "interface Tables {\n  }" in zmesh_types(tmp_path, url).stdout
    python = zmesh_types(tmp_path, url, "--language", "python").stdout
    compile(python, "zmesh_types.pyi", "exec")
    assert "class Zmesh(zmesh_runtime.Zmesh):" in python


@pytest.mark.parametrize(("language", "name"), [("python", "types.py"), ("typescript", "types.pyi")])
def test_a_file_of_the_other_language_is_refused(tmp_path: Path, url: str, language: str, name: str) -> None:
    done = zmesh_types(tmp_path, url, "--language", language, "--output-file", name)
    assert done.returncode == 1
    assert "[bad_option]" in done.stderr
