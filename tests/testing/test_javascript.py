"""The zmesh object of tests in JavaScript, tested by such tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cli.testing.commands import RUNNERS, _run, node_command, read_report, vitest_command
from cli.testing.limits import Limit
from hatch_build import install_node_packages
from tests.platform import clean_environment

HERE = Path(__file__).parent
TESTS = HERE / "recording.test.ts"
VITEST = HERE / "vitest.test.ts"
LIMIT = Limit(60, chosen=False)
OF_VITEST = {
    "keep-order.ts": """
        export const keepOrder = async ({ item }: { item: string }, zmesh: any) => {
          await zmesh.enqueue('send-receipt', { item });
          return await zmesh.db.insert('orders', { item });
        };
    """,
    "common-js.js": "exports.handler = async ({ n }) => n * 2;",
    "package.json": (HERE / "package.json").read_text(),
    VITEST.name: VITEST.read_text(),
}


def test_it_is_what_its_own_tests_say(prepared: str, tmp_path: Path) -> None:
    report = tmp_path / "report"
    environment = {**clean_environment(), "ZMESH_TEST_DATABASE_URL": prepared}
    done = subprocess.run(
        node_command([str(TESTS)], report, LIMIT), env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(read_report(report)) == 1 + TESTS.read_text().count("test(")  # one runs twice


def test_without_a_database_it_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        node_command([str(TESTS)], tmp_path / "report", LIMIT), env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "no database for tests: start them with `zmesh test`" in done.stdout


def test_the_projects_own_vitest_runs_tests_too(prepared: str, tmp_path: Path) -> None:
    install_node_packages(HERE, tools=True)
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    for name, text in OF_VITEST.items():
        (tmp_path / name).write_text(text)
    report = tmp_path / "report"
    environment = {**clean_environment(), "ZMESH_TEST_DATABASE_URL": prepared}
    done = subprocess.run(
        vitest_command([f"./{VITEST.name}"], report, LIMIT),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = read_report(report)
    assert [one.status for one in found] == ["passed", "passed", "passed", "failed"], done.stdout + done.stderr
    assert (found[3].name, found[3].file) == ("this one fails", os.path.relpath(VITEST.name))
    assert "expected 1 to be 2" in (found[3].message or "")


OF_LONGER = """
const wait = () => new Promise((resolve) => setTimeout(resolve, 3000));
"""
LONGER = {
    "node:test": "const { test } = require('node:test'); test('it takes longer', { timeout: 60_000 }, wait);",
    "vitest": "import { test } from 'vitest'; test('it takes longer', wait, 60_000);",
}


@pytest.mark.parametrize("runner", LONGER)
def test_a_test_with_a_longer_limit_of_its_own_may_take_longer(
    runner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_node_packages(HERE, tools=True)
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cli.testing.limits.GRACE_SECONDS", 0.5)
    file = tmp_path / "longer.test.js"
    file.write_text(OF_LONGER + LONGER[runner])
    environment = {**clean_environment(), "ZMESH_TEST_DATABASE_URL": "unused"}
    tests, failed = _run(RUNNERS[runner], [file], tmp_path / runner, environment, Limit(1, chosen=False))
    assert ([(one.name, one.status) for one in tests], failed) == ([("it takes longer", "passed")], False)


HANGING = """
import { test } from 'vitest';
test('it ends', () => {});
test('it waits', () => new Promise(() => {}));
test('it loops', () => { for (;;); });
"""


def test_a_test_of_vitest_that_hangs_is_ended_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    install_node_packages(HERE, tools=True)
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    file = tmp_path / "hangs.test.ts"
    file.write_text(HANGING)
    environment = {**clean_environment(), "ZMESH_TEST_DATABASE_URL": "unused"}
    tests, failed = _run(vitest_command, [file], tmp_path / "vitest", environment, Limit(1, chosen=True))
    assert failed
    assert "raise the limit with zmesh test --timeout SECONDS" in (tests[-1].message or "")
    assert "hangs.test.ts" in (tests[-1].file or "")
