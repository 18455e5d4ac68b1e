"""Functions with `init = once`, from the command line to the run."""

from __future__ import annotations

import json

from tests.platform import Platform, eventually

MODEL = """
import os, time

model = {"loaded": time.monotonic_ns()}
calls = []

def handler(payload, zmesh):
    calls.append(1)
    return [model["loaded"], len(calls), zmesh.db.query_one("select 1 as one")["one"], os.environ["NAME"]]
"""
READS = "import os\nname = os.environ['NAME']\n\ndef handler(payload, zmesh):\n    return name\n"


def test_a_model_is_loaded_once_and_code_that_cannot_says_why_in_its_log(running_platform: Platform) -> None:
    platform = running_platform
    (platform.folder / "model.py").write_text(MODEL)
    platform.zmesh("functions", "deploy", "model.py", "--init", "once", "--env", "NAME=Ada")

    def loaded_before() -> bool:
        return bool(platform.result("model")[0] == platform.result("model")[0])

    eventually(loaded_before, "runs forked after the code was executed", 60)
    assert platform.result("model")[1:] == [1, 1, "Ada"]

    (platform.folder / "model.py").write_text(READS)
    done = json.loads(platform.zmesh("functions", "deploy", "model.py", "--output", "json"))
    assert done[0]["version"] == 2

    def notice() -> str | None:
        answer = platform.request("POST", "/functions/model/invoke", json={"payload": {}}).json()
        assert answer["result"] == "Ada"
        logs = platform.request("GET", f"/invocations/{answer['invocation_id']}/logs").json()["items"]
        return logs[-1]["message"] if logs else None

    said = eventually(notice, "the notice", 60)
    assert said.startswith("init = once has no effect on this run: packages or top-level code: ")
    assert "cannot read the environment variable NAME" in said
    again = platform.zmesh("functions", "deploy", "model.py", "--output", "table")
    assert "Each run executes its top-level code by itself: packages or top-level code: " in again
    platform.zmesh("functions", "update", "model", "--init", "none")
    assert platform.request("GET", "/functions/model").json()["init"] is None
    platform.request("DELETE", "/functions/model")
