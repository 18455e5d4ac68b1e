"""`python -m tests.run ARGUMENTS…`: pytest, and the tests that failed a second time, alone (decision 67)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")
MOST = 40  # to run these alone takes minutes; more are no coincidence
FAILED = 1  # pytest's exit status when tests failed, and nothing worse happened


def main(arguments: list[str]) -> int:
    """pytest's exit status. 0 where the tests that failed beside the others passed alone."""
    LAST_FAILED.unlink(missing_ok=True)
    status = pytest(*arguments)
    if status != FAILED:
        return status
    failed = list(json.loads(LAST_FAILED.read_text()))
    if len(failed) > MOST:
        return status
    print(f"\n{len(failed)} failed beside the others; once more, alone:", flush=True)
    status = pytest(*failed)
    if status == 0:
        print("PASSED ONLY ALONE, which is a fault of the test or of the product:", *failed, sep="\n  ")
    return status


def pytest(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
