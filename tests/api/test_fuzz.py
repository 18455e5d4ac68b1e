"""Requests made of the OpenAPI document, right and wrong ones: the server does what the document says.

`make fuzz-api` sends thousands, other ones each time.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.api.client import Api, echo, standing_in
from tests.api.conftest import Backend
from tests.loops import nothing_holds_the_loops

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("FUZZ_SECONDS", "0"))
BRIEFLY = ["--phases", "examples,coverage", "--generation-deterministic", "--max-time", "12"]


def test_no_request_is_answered_otherwise_than_documented_or_holds_the_loop(
    api: Api, backend: Backend, tmp_path: Path
) -> None:
    api.deploy()
    budget = ["--max-time", str(SECONDS), "--generation-database", "none"] if SECONDS else BRIEFLY
    with (
        nothing_holds_the_loops(backend.process.log),
        standing_in(api, lambda job: {**echo(job), "duration_ms": 1}),
    ):
        assert api.client.get(f"{api.url}/schema/openapi.json").status_code == 200
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml"),
                *("run", f"{api.url}/schema/openapi.json", "--url", api.url, "--no-color", "--continue-on-failure"),
                *("-H", f"Authorization: Bearer {api.token}", "-H", f"x-api-key: {api.key}"),
                # One worker: a thread of hypothesis changes the recursion limit, which ends another's ast.parse().
                *("--request-timeout", "60", "--workers", "1", *budget),
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=SECONDS + 110,
        )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-20_000:]
    cases = re.search(r"(\d+) generated", said)
    assert cases is not None, said[-2000:]
    assert int(cases[1]) > 0
    print(cases[0])
