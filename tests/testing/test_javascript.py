"""The zmesh object of tests in JavaScript, tested by such tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cli.testing.commands import node_command, read_report
from tests.platform import clean_environment

TESTS = Path(__file__).parent / "recording.test.ts"


def test_it_is_what_its_own_tests_say(prepared: str, tmp_path: Path) -> None:
    report = tmp_path / "report"
    environment = {**clean_environment(), "ZMESH_TEST_DATABASE_URL": prepared}
    done = subprocess.run(
        node_command([str(TESTS)], report), env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(read_report(report)) == 1 + TESTS.read_text().count("test(")  # one runs twice


def test_without_a_database_it_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        node_command([str(TESTS)], tmp_path / "report"), env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "no database for tests: start them with `zmesh test`" in done.stdout
