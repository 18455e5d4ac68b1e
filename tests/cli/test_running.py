"""`zmesh run`: code in the sandbox of a running platform, without deploying it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.platform import Platform


@pytest.fixture
def folder(running_platform: Platform, tmp_path: Path) -> Path:
    """A function of two files in TypeScript that is not deployed."""
    source = tmp_path / "greet-in-ts"
    (source / "lib").mkdir(parents=True)
    (source / "index.ts").write_text(
        'import { shout } from "./lib/shout.ts";\n'
        "export const handler = async (payload: { name?: string }) => {\n"
        '  console.log("greeting", zmesh.env.GREETING);\n'
        "  return { text: `${zmesh.env.GREETING} ${shout(payload.name!)}` };\n"
        "};\n"
    )
    (source / "lib" / "shout.ts").write_text("export const shout = (text: string) => text.toUpperCase();\n")
    return source


def test_a_folder_runs_as_it_is_and_leaves_no_function(running_platform: Platform, folder: Path) -> None:
    arguments = ("run", str(folder), "--data", '{"name": "ada"}', "--env", "GREETING=hi")
    answer = json.loads(running_platform.zmesh(*arguments))
    assert (answer["status"], answer["result"]) == ("success", {"text": "hi ADA"})
    assert running_platform.ended(answer["invocation_id"])["logs"][0]["message"] == "greeting hi"
    assert "greet-in-ts" not in running_platform.zmesh("functions", "list")


def test_an_error_is_shown_with_the_line_of_the_file_at_hand(running_platform: Platform, folder: Path) -> None:
    said = running_platform.zmesh("run", str(folder), "--output", "table", status=1)
    assert "info    greeting undefined" in said
    assert "TypeError: Cannot read properties of undefined" in said
    assert f"{folder}/lib/shout.ts:1:45\n  › 1 │ export const shout" in said
    assert f"called from {folder}/index.ts:4 in" in said


def test_a_deployed_function_lends_its_settings_and_keeps_its_code(running_platform: Platform, tmp_path: Path) -> None:
    running_platform.deploy("lender", "def handler(p, z):\n    return 'deployed'\n", env_vars={"A": "1", "B": "2"})
    path = tmp_path / "lender.py"
    path.write_text("def handler(p, z):\n    return [p, dict(z.env)]\n")
    shown = running_platform.zmesh("run", str(path), "--unset", "A", "--env", "C=3", "--data", "7", "--output", "table")
    assert json.loads(shown) == [7, {"B": "2", "C": "3"}]
    assert running_platform.result("lender") == "deployed"
    assert running_platform.request("GET", "/functions/lender").json()["env_vars"] == {"A": "1", "B": "2"}


def test_a_response_is_printed_as_it_is(running_platform: Platform, tmp_path: Path) -> None:
    path = tmp_path / "page.py"
    path.write_text("def handler(p, z):\n    return z.response('<p>', status=p['status'], headers={'x': 'y'})\n")
    arguments = ("run", str(path), "--output", "table", "--data")
    assert running_platform.zmesh(*arguments, '{"status": 200}') == "<p>"
    assert "HTTP status 404" in running_platform.zmesh(*arguments, '{"status": 404}', status=1)
