"""What a person does on the first day: deploy, invoke in each way, read the history, change the code, go back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.platform import Platform, eventually

FIRST = """
exports.handler = async (payload, zmesh) => {
  console.log("first code for", payload.user_id);
  return { message: `Welcome ${payload.user_id}` };
};
"""
SECOND = FIRST.replace("first code", "second code").replace("Welcome", "Hello")


@pytest.fixture(scope="module")
def source(running_platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file `first-day.js`, deployed by the command line."""
    file = Path(tmp_path_factory.mktemp("functions")) / "first-day.js"
    file.write_text(FIRST)
    running_platform.zmesh("functions", "deploy", str(file))
    return file


@pytest.fixture
def function(running_platform: Platform, source: Path) -> dict[str, Any]:
    found: dict[str, Any] = running_platform.request("GET", "/functions/first-day").json()
    return found


def test_the_command_line_deploys_lists_invokes_and_shows_logs(running_platform: Platform, source: Path) -> None:
    assert "first-day" in running_platform.zmesh("functions", "list")
    said = running_platform.zmesh("functions", "invoke", "first-day", "--data", '{"user_id": "cli"}')
    assert "Welcome cli" in said
    assert "first code for cli" in running_platform.zmesh("functions", "logs", "first-day")


def test_deploying_the_same_file_again_changes_nothing(running_platform: Platform, source: Path) -> None:
    before = running_platform.request("GET", "/functions/first-day").json()
    running_platform.zmesh("functions", "deploy", str(source))
    assert running_platform.request("GET", "/functions/first-day").json() == before


def test_the_api_key_invokes_with_the_whole_body_as_payload(
    running_platform: Platform, function: dict[str, Any]
) -> None:
    answer = running_platform.invoke("first-day", {"user_id": "key"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["result"]) == ("success", {"message": "Welcome key"})
    assert isinstance(body["duration_ms"], int)


def test_the_dashboard_invokes_with_a_token(running_platform: Platform, function: dict[str, Any]) -> None:
    for reference in (function["id"], function["slug"]):
        body = running_platform.request(
            "POST", f"/functions/{reference}/invoke", json={"payload": {"user_id": "dashboard"}}
        ).json()
        assert (body["status"], body["result"]) == ("success", {"message": "Welcome dashboard"})


def test_an_insert_invokes_if_and_only_if_its_transaction_commits(
    running_platform: Platform, function: dict[str, Any]
) -> None:
    insert = "insert into zmesh.invocations (function, payload) values ('first-day', %s) returning id"
    with psycopg.connect(running_platform.database_url) as connection:
        [rolled_back] = connection.execute(insert, [json.dumps({"user_id": "nobody"})]).fetchone() or ()
        connection.rollback()
        [committed] = connection.execute(insert, [json.dumps({"user_id": "sql"})]).fetchone() or ()
        connection.commit()
    ended = running_platform.ended(str(committed))
    assert (ended["status"], ended["source"], ended["result"]) == ("success", "sql", {"message": "Welcome sql"})
    assert running_platform.request("GET", f"/invocations/{rolled_back}").status_code == 404
    [row] = running_platform.sql("select status, result from zmesh.invocations where id = %s", committed)
    assert row == {"status": "success", "result": {"message": "Welcome sql"}}


@pytest.mark.timeout(150)
def test_a_schedule_invokes_by_the_listeners_clock(running_platform: Platform, function: dict[str, Any]) -> None:
    """Nobody helps the clock here: the next full minute fires it."""
    created = running_platform.request(
        "POST",
        "/schedules",
        json={
            "function_id": function["id"],
            "name": "each minute",
            "cron": "* * * * *",
            "payload": {"user_id": "schedule"},
        },
    )
    assert created.status_code == 201, created.text
    schedule = created.json()
    try:
        fired = eventually(
            lambda: [i for i in running_platform.history("first-day") if i["source"] == "schedule"],
            "the schedule to fire",
            seconds=75,
        )
    finally:
        assert running_platform.request("DELETE", f"/schedules/{schedule['id']}").status_code == 204
    assert running_platform.ended(fired[0]["id"])["result"] == {"message": "Welcome schedule"}


def test_a_webhook_invokes(running_platform: Platform, function: dict[str, Any]) -> None:
    hook = running_platform.request(
        "POST", "/webhooks", json={"function_id": function["id"], "name": "first day", "preset": "none"}
    ).json()
    accepted = running_platform.client.post(running_platform.url + hook["path"], json={"user_id": "webhook"})
    assert accepted.status_code == 202
    [invocation] = [i for i in running_platform.history("first-day") if i["source"] == "webhook"]
    assert running_platform.ended(invocation["id"])["result"] == {"message": "Welcome webhook"}
    assert running_platform.request("DELETE", f"/webhooks/{hook['id']}").status_code == 204
    assert running_platform.client.post(running_platform.url + hook["path"], json={}).status_code == 404


def test_the_history_tells_what_ran_when_and_what_it_printed(running_platform: Platform, source: Path) -> None:
    running_platform.invoke("first-day", {"user_id": "history"})
    newest = running_platform.history("first-day")[0]
    assert (newest["status"], newest["source"], newest["version"], newest["attempt"]) == ("success", "api", 1, 1)
    assert newest["created_at"] <= newest["started_at"] <= newest["finished_at"]
    assert newest["peak_memory_mb"] > 0
    [line] = newest["logs"]
    assert (line["level"], line["message"]) == ("info", "first code for history")
    assert newest["started_at"] <= line["at"] <= newest["finished_at"]


def test_versions_roll_back_and_the_rollback_rolls_back(running_platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "second-day.js"
    file.write_text(FIRST)
    running_platform.zmesh("functions", "deploy", str(file))
    file.write_text(SECOND)
    running_platform.zmesh("functions", "deploy", str(file))
    assert running_platform.result("second-day", {"user_id": "x"}) == {"message": "Hello x"}

    back = running_platform.request("POST", "/functions/second-day/versions/1/rollback")
    assert back.status_code == 200, back.text
    assert (back.json()["version"], back.json()["code"]) == (3, FIRST)
    assert running_platform.result("second-day", {"user_id": "x"}) == {"message": "Welcome x"}

    running_platform.zmesh("functions", "rollback", "second-day", "2")
    assert running_platform.result("second-day", {"user_id": "x"}) == {"message": "Hello x"}
    versions = running_platform.request("GET", "/functions/second-day/versions").json()["items"]
    saved = {version["version"]: version["code"] for version in versions}
    assert {number: saved[number] for number in (1, 2, 3)} == {1: FIRST, 2: SECOND, 3: FIRST}
    assert [i["version"] for i in running_platform.history("second-day")] == [4, 3, 2]


def test_a_deleted_function_is_gone_and_its_name_is_free(running_platform: Platform) -> None:
    running_platform.deploy("short-lived", "def handler(payload, zmesh):\n    return 1\n")
    assert running_platform.result("short-lived") == 1
    running_platform.zmesh("functions", "delete", "short-lived", "--yes")
    assert running_platform.invoke("short-lived").status_code == 404
    running_platform.deploy("short-lived", "def handler(payload, zmesh):\n    return 2\n")
    assert running_platform.result("short-lived") == 2
