"""Versions, aliases and deployments over HTTP."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.client import ECHO, Api, refused, standing_in

CHANGED = "def handler(payload, zmesh):\n    return 'changed'\n"


def three_versions(api: Api) -> None:
    api.deploy("greet", code="one\n")
    api.call("PATCH", "/functions/greet", json={"code": "one\ntwo\n"})
    api.call("PATCH", "/functions/greet", json={"code": "two\n", "entry_point": "main"})


def test_a_version_is_read_by_its_number(api: Api) -> None:
    three_versions(api)
    listed = api.call("GET", "/functions/greet/versions").json()["items"]
    for version in listed:
        assert api.call("GET", f"/functions/greet/versions/{version['version']}").json() == version
    refused(api.call("GET", "/functions/greet/versions/4"), 404, "version_not_found")
    refused(api.call("GET", "/functions/greet/versions/99999999999"), 404, "version_not_found")


def test_two_versions_are_compared_line_by_line(api: Api) -> None:
    three_versions(api)
    last = api.call("GET", "/functions/greet/versions/3/diff").json()
    assert (last["before"], last["after"]) == (2, 3)
    assert last["code"] == "--- version 2\n+++ version 3\n@@ -1,2 +1 @@\n-one\n two\n"
    assert last["settings"] == {"entry_point": {"before": "handler", "after": "main"}}
    back = api.call("GET", "/functions/greet/versions/1/diff", params={"before": 3}).json()
    assert "-two\n+one\n" in back["code"]
    first = api.call("GET", "/functions/greet/versions/1/diff").json()
    assert (first["before"], first["code"].splitlines()[-1]) == (None, "+one")
    refused(api.call("GET", "/functions/greet/versions/1/diff", params={"before": 9}), 404, "version_not_found")


def test_a_call_runs_the_version_it_names_else_the_alias_live_else_the_current_one(api: Api) -> None:
    three_versions(api)
    api.call("PATCH", "/functions/greet", json={"key_options": ["version"]})
    shares = {"versions": {"1": 100}}
    assert api.call("PUT", "/functions/greet/aliases/beta", json=shares).json()["versions"] == {"1": 100}
    with standing_in(api) as jobs:
        asked: list[tuple[int, dict[str, Any]]] = [
            (2, {"params": {"version": "2"}}),
            (2, {"headers": {"x-zmesh-version": "2"}}),
            (1, {"headers": {"x-zmesh-version": "beta"}}),
            (3, {}),
        ]
        for version, options in asked:
            answer = api.call("POST", "/functions/greet/invoke", **options)
            assert (answer.status_code, answer.json()["version"]) == (200, version)
        assert api.invoke(json={}, headers={"x-zmesh-version": "beta"}).json()["version"] == 1
        assert api.invoke(json={}, params={"version": "1"}).json()["version"] == 3  # the query is the function's own
        api.call("PUT", "/functions/greet/aliases/live", json={"versions": {"2": 100}})
        assert api.invoke(json={}).json()["version"] == 2
        api.call("DELETE", "/functions/greet/aliases/live")
        assert api.invoke(json={}).json()["version"] == 3
    assert [job["code"] for job in jobs][-2:] == ["one\ntwo\n", "two\n"]


@pytest.mark.parametrize("asked", ["9", "nobody"])
def test_a_call_for_a_version_that_is_not_there_is_refused(api: Api, asked: str) -> None:
    api.deploy(key_options=["version"])
    problem = refused(api.invoke(json={}, headers={"x-zmesh-version": asked}), 404, "version_not_found")
    assert asked in problem["detail"]
    refused(api.call("POST", "/functions/greet/invoke", params={"version": asked}), 404, "version_not_found")
    refused(api.call("POST", "/functions/greet/invoke", params={"version": "-1"}), 400, "invalid_header")


def test_aliases_are_listed_changed_and_deleted(api: Api) -> None:
    three_versions(api)
    for name in ("live", "beta"):
        api.call("PUT", f"/functions/greet/aliases/{name}", json={"versions": {"2": 90, "3": 10}})
    api.call("PUT", "/functions/greet/aliases/live", json={"versions": {"3": 100}})
    listed = api.call("GET", "/functions/greet/aliases").json()
    assert [(a["name"], a["versions"]) for a in listed["items"]] == [("beta", {"2": 90, "3": 10}), ("live", {"3": 100})]
    assert api.call("DELETE", "/functions/greet/aliases/beta").status_code == 204
    refused(api.call("DELETE", "/functions/greet/aliases/beta"), 404, "alias_not_found")


@pytest.mark.parametrize(
    ("name", "versions", "status", "code"),
    [
        ("live", {"1": 90}, 422, "invalid_input"),
        ("live", {"1": 101}, 422, "invalid_input"),
        ("live", {"first": 100}, 422, "invalid_input"),
        ("live", {}, 422, "invalid_input"),
        ("live", {"9": 100}, 404, "version_not_found"),
        ("2nd", {"1": 100}, 422, "invalid_input"),
    ],
)
def test_an_invalid_alias_is_refused(api: Api, name: str, versions: dict[str, int], status: int, code: str) -> None:
    api.deploy()
    refused(api.call("PUT", f"/functions/greet/aliases/{name}", json={"versions": versions}), status, code)


def deploy(api: Api, *functions: dict[str, Any]) -> Any:
    return api.call("POST", "/deployments", json={"functions": functions})


def test_functions_are_deployed_together(api: Api) -> None:
    api.deploy("b")
    api.deploy("c")
    new = {"name": "a", "language": "python", "code": ECHO, "tags": ["mail"]}
    answer = deploy(api, {"name": "c", "code": CHANGED}, new, {"name": "b", "code": ECHO})
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    assert [(i["action"], i["function"]["slug"], i["function"]["version"]) for i in items] == [
        ("updated", "c", 2),
        ("created", "a", 1),
        ("unchanged", "b", 1),
    ]


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        ({"name": "new", "language": "python"}, 422, "invalid_input"),
        ({"name": "!!!", "language": "python", "code": ECHO}, 422, "invalid_input"),
        ({"name": "old", "code": CHANGED, "revision": 7}, 412, "changed_meanwhile"),
        ({"name": "old", "timeout_ms": 0}, 422, "invalid_input"),
        ({"name": "gone", "code": CHANGED, "revision": 1}, 404, "function_not_found"),
    ],
)
def test_either_all_functions_are_deployed_or_none(api: Api, bad: dict[str, Any], status: int, code: str) -> None:
    before = api.deploy("old")
    good = {"name": "aaa", "language": "python", "code": ECHO}
    refused(deploy(api, good, bad), status, code)
    refused(deploy(api, bad, good), status, code)
    assert api.call("GET", "/functions").json()["items"] == [before]


def test_a_name_is_deployed_once_at_a_time(api: Api) -> None:
    function = {"name": "a", "language": "python", "code": ECHO}
    refused(deploy(api, function, function), 422, "invalid_input", "functions")


def messages(api: Api) -> list[str]:
    return [version["message"] for version in api.call("GET", "/functions/greet/versions").json()["items"]]


def test_a_message_belongs_to_the_version_that_was_deployed_with_it(api: Api) -> None:
    first = {"name": "greet", "language": "python", "code": ECHO, "message": "Says hello"}
    assert deploy(api, first).json()["items"][0]["action"] == "created"
    assert deploy(api, {**first, "message": "Nothing new"}).json()["items"][0]["action"] == "unchanged"
    settings = {"name": "greet", "timeout_ms": 600, "message": "No new version"}
    assert deploy(api, settings).json()["items"][0]["action"] == "updated"
    deploy(api, {"name": "greet", "code": CHANGED, "message": "Says something else"})
    deploy(api, {"name": "greet", "code": ECHO})
    assert messages(api) == ["", "Says something else", "Says hello"]
    for message in ("x" * 1001, "\0"):
        changed = {"name": "greet", "code": CHANGED, "message": message}
        refused(deploy(api, changed), 422, "invalid_input", "functions.0.message")


def shares(api: Api) -> dict[str, int] | None:
    aliases = api.call("GET", "/functions/greet/aliases").json()["items"]
    return aliases[0]["versions"] if aliases else None


def test_a_deployment_gives_its_version_a_first_share_of_the_calls(api: Api) -> None:
    for code, share, expected in (
        ("1", 10, None),  # the first version gets all
        ("2", 100, None),
        ("2", 10, None),  # unchanged: there is no new version
        ("3", 0, {"2": 100}),
        ("4", 25, {"2": 75, "4": 25}),
        ("5", 10, {"2": 90, "5": 10}),  # of two versions, that with most of the calls keeps the rest
        ("6", 0, {"2": 90, "5": 10}),
        ("7", None, {"2": 90, "5": 10}),
        ("8", 100, {"8": 100}),
    ):
        function = {"name": "greet", "language": "python", "code": code, "share": share}
        answer = api.call("POST", "/deployments?force=true", json={"functions": [function]})
        assert answer.status_code == 200, answer.text
        assert shares(api) == expected, code
    refused(deploy(api, {"name": "greet", "code": "9", "share": 101}), 422, "invalid_input", "functions.0.share")


def row(api: Api, answer: Any) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    return api.database.row("select * from zmesh.invocations where id = %s", answer.json()["invocation_id"])


def test_an_invocation_may_ask_for_itself_over_http(api: Api) -> None:
    api.deploy(key_options=["priority", "delay", "expires_at", "max_attempts", "concurrency_key"])
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    headers = {
        "x-zmesh-priority": "-5",
        "x-zmesh-run-at": soon.isoformat(),
        "x-zmesh-expires-at": (soon + timedelta(minutes=1)).isoformat(),
        "x-zmesh-max-attempts": "7",
        "x-zmesh-concurrency-key": "customer 8",
    }
    for answer in (api.invoke(json={}, headers=headers), api.call("POST", "/functions/greet/invoke", headers=headers)):
        found = row(api, answer)
        names = ("priority", "run_at", "expires_at", "max_attempts", "concurrency_key", "due")
        assert [found[name] for name in names] == [-5, soon, soon + timedelta(minutes=1), 7, "customer 8", False]


def test_a_delay_counts_from_now_and_nobody_waits_for_it(api: Api) -> None:
    api.deploy()
    asked = time.time()
    found = row(api, api.invoke(json={}, headers={"x-zmesh-delay": "90.5"}))
    assert 90 < found["run_at"].timestamp() - asked < 120
    assert found["max_attempts"] == 3
    assert not found["waited"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("priority", "high"),
        ("priority", "101"),
        ("run-at", "tomorrow"),
        ("run-at", "2030-01-01T00:00:00"),
        ("run-at", "9999-12-31T23:59:59-23:00"),
        ("delay", "-1"),
        ("delay", "nan"),
        ("expires-at", "2020-01-01T00:00:00Z"),
        ("max-attempts", "0"),
        ("concurrency-key", "x" * 256),
        ("version", "0"),
        ("version", "Live"),
    ],
)
def test_an_invalid_option_is_named(api: Api, name: str, value: str) -> None:
    api.deploy(key_options=["priority", "delay", "expires_at", "max_attempts", "concurrency_key", "version"])
    header = f"x-zmesh-{name}"
    problem = refused(api.invoke(json={}, headers={header: value}), 400, "invalid_header")
    assert header.title() in problem["detail"]
    assert api.database.value("select count(*) from zmesh.invocations where project_id = %s", api.project.id) == 0


def test_a_delay_and_a_time_do_not_go_together(api: Api) -> None:
    api.deploy()
    both = {"x-zmesh-delay": "1", "x-zmesh-run-at": "2030-01-01T00:00:00Z"}
    refused(api.invoke(json={}, headers=both), 400, "invalid_header")
