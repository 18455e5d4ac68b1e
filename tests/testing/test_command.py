"""`zmesh test`: the tests of a project's functions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from cli.errors import CliError
from cli.testing.commands import _run, _tests_in
from cli.testing.throwaway import apply_sql_of
from tests.platform import COMMANDS, clean_environment

FUNCTION = """
def handler(payload, zmesh):
    zmesh.enqueue("send-receipt", payload)
    return zmesh.db.insert("orders", {"item": payload["item"]})
"""
TEST = """
import pytest
from place_order import handler

def test_an_order_is_kept(zmesh):
    assert handler({"item": "tea"}, zmesh)["price"] == 3
    assert zmesh.enqueued[0].function == "send-receipt"

def test_of_tomorrow():
    pytest.skip("later")
"""
JAVASCRIPT_FUNCTION = """
import { TABLE } from './tables';
export const handler = async ({ item }: { item: string }, zmesh: any) => await zmesh.db.insert(TABLE, { item });
"""
JAVASCRIPT_TEST = """
import assert from 'node:assert';
import { test } from 'node:test';
import { withZmesh } from 'zmesh/testing';
import { handler } from './keep-order';

test('an order is kept', withZmesh(async (zmesh) => {
  assert.equal((await handler({ item: 'tea' }, zmesh)).price, 3);
}));
test('this one fails', withZmesh(async (zmesh) => {
  assert.equal((await handler({ item: 'tea' }, zmesh)).price, 4);
}));
"""
Written = Callable[[dict[str, str]], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def test_the_tests_of_every_language_run_on_the_migrated_database(written: Written) -> None:
    folder = written(
        {
            "migrations/0001_orders.sql": "create table orders (item text not null)",
            "migrations/0002_price.sql": "alter table orders add price integer not null default 3",
            "place_order.py": FUNCTION,
            "tests/test_place_order.py": TEST,
            "keep-order.ts": JAVASCRIPT_FUNCTION,
            "tables.ts": "export const TABLE = 'orders';",
            "keep-order.test.ts": JAVASCRIPT_TEST,
            "node_modules/other/other.test.js": "throw new Error('not ours')",
        }
    )
    environment = {**clean_environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = COMMANDS.run(["test", "--output", "json"], cwd=folder, env=environment)

    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    assert [summary[status] for status in ("passed", "failed", "skipped")] == [2, 1, 1]
    [failed] = [test for test in summary["tests"] if test["status"] == "failed"]
    assert (failed["name"], failed["file"]) == ("this one fails", "keep-order.test.ts")
    assert "3 == 4" in failed["message"]
    assert "this one fails" in done.stderr


def test_pytest_finds_the_fixture_by_itself() -> None:
    assert "zmesh.testing.plugin" in {point.value for point in metadata.entry_points(group="pytest11")}


def test_tests_are_found_by_their_names(written: Written) -> None:
    tests = {"a/test_one.py", "one_test.py", "b.test.js", "b.test.mjs", "deep/er/b.test.ts"}
    others = {"one.py", "b.js", "contest.py", ".venv/test_one.py", "node_modules/b.test.js", "b.test.json"}
    folder = written(dict.fromkeys(tests | others, ""))

    assert {str(file.relative_to(folder)) for file in _tests_in(folder)} == tests
    assert list(_tests_in(folder / "one.py")) == [folder / "one.py"]


@pytest.mark.parametrize(("name", "message"), [("none.py", "does not exist"), ("b.test.json", "is neither Python nor")])
def test_a_path_that_is_no_test_is_refused(written: Written, name: str, message: str) -> None:
    with pytest.raises(CliError, match=message):
        list(_tests_in(written({"b.test.json": ""}) / name))


def test_without_tests_it_says_what_they_are_called(tmp_path: Path) -> None:
    done = COMMANDS.run(["test"], cwd=tmp_path, env=clean_environment())

    assert done.returncode == 1
    assert "[no_tests]" in done.stderr
    assert "*.test.ts" in done.stderr


def test_without_pytest_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, written: Written) -> None:
    from click.testing import CliRunner

    from cli.root import zmesh

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = CliRunner().invoke(zmesh, ["test", str(written({"test_one.py": ""}))], standalone_mode=False)

    assert isinstance(done.exception, CliError)
    assert done.exception.code == "pytest_missing"
    assert "-m pip install pytest" in done.exception.hint


def test_an_error_in_a_migration_has_its_place(prepared: str, written: Written) -> None:
    folder = written({"migrations/0001_one.sql": "select 1;\nselect nothing;", "schema.sql": "not read"})

    with pytest.raises(CliError, match="does not exist") as raised:
        apply_sql_of(folder, prepared)

    assert raised.value.code == "42703"
    assert "migrations/0001_one.sql:2:8" in raised.value.place


@pytest.mark.parametrize("report", ["", "<testsuites", "<testsuites></testsuites>"])
def test_a_runner_that_reports_no_test_has_failed(report: str, tmp_path: Path) -> None:
    def runner(files: object, path: Path) -> list[str]:
        if report:
            path.write_text(report)
        return ["true"]

    assert _run(runner, [], tmp_path / "report", {"PATH": os.defpath}) == ([], True)
