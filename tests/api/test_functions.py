"""Functions and versions over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.client import ECHO, Api, refused

KEYS = {
    *("id", "project_id", "name", "slug", "language", "entry_point", "code", "timeout_ms", "memory_mb", "env_vars"),
    *("version", "revision", "enabled", "created_at", "updated_at", "description", "tags", "auth", "methods"),
    *("anonymous_options", "key_options", "public_errors", "network", "entry_file", "files", "file_sizes", "style"),
    *("init", "preload"),
    *("cors_origins", "max_attempts", "retry_base_ms", "retry_max_ms", "max_concurrency", "max_concurrency_per_key"),
    *("build_id", "not_forked_because"),
}


def test_a_new_function_has_the_documented_fields_and_defaults(api: Api) -> None:
    created = api.deploy("Send Welcome")
    assert set(created) == KEYS
    assert created["slug"] == "send-welcome"
    assert created["project_id"] == str(api.project.id)
    defaults = ("handler", 10_000, 256, {}, 1, True)
    names = ("entry_point", "timeout_ms", "memory_mb", "env_vars", "version", "enabled")
    assert tuple(created[name] for name in names) == defaults
    assert (created["anonymous_options"], created["public_errors"]) == ([], False)
    assert created["key_options"] == ["concurrency_key", "delay", "expires_at", "idempotency_key"]
    for reference in (created["id"], "send-welcome"):
        assert api.call("GET", f"/functions/{reference}").json() == created


def test_the_list_pages_in_the_order_of_slugs(api: Api) -> None:
    for name in ("c", "a", "b"):
        api.deploy(name)
    first = api.call("GET", "/functions", params={"limit": 2}).json()
    assert [item["slug"] for item in first["items"]] == ["a", "b"]
    last = api.call("GET", "/functions", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert ([item["slug"] for item in last["items"]], last["next_cursor"]) == (["c"], None)
    assert set(first["items"][0]) == KEYS
    slim = api.call("GET", "/functions", params={"code": "false"}).json()["items"][0]
    assert slim == {**first["items"][0], "code": ""}


def test_a_change_of_code_is_a_new_version_and_one_of_configuration_is_not(api: Api) -> None:
    api.deploy("greet", code="one")
    changed = api.call("PATCH", "/functions/greet", json={"code": "two", "entry_point": "main"}).json()
    assert (changed["version"], changed["code"], changed["entry_point"]) == (2, "two", "main")
    changed = api.call("PATCH", "/functions/greet", json={"timeout_ms": 5, "env_vars": {"A": "b"}}).json()
    assert (changed["version"], changed["timeout_ms"], changed["env_vars"]) == (2, 5, {"A": "b"})
    assert api.call("PATCH", "/functions/greet", json={}).json() == changed
    versions = api.call("GET", "/functions/greet/versions").json()["items"]
    assert [(v["version"], v["code"], v["entry_point"], v["current"]) for v in versions] == [
        (2, "two", "main", True),
        (1, "one", "handler", False),
    ]
    assert versions[1]["created_at"] == changed["created_at"] < versions[0]["created_at"]


def test_versions_page_from_the_newest(api: Api) -> None:
    api.deploy("greet", code="1")
    for n in range(2, 6):
        api.call("PATCH", "/functions/greet", json={"code": str(n)})
    seen, cursor = [], None
    while True:
        page = api.call(
            "GET", "/functions/greet/versions", params={"limit": 2, "cursor": cursor} if cursor else {"limit": 2}
        ).json()
        seen += [(v["version"], v["code"]) for v in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [(n, str(n)) for n in (5, 4, 3, 2, 1)]


def test_a_rollback_restores_and_can_be_rolled_back(api: Api) -> None:
    api.deploy("greet", code="one")
    api.call("PATCH", "/functions/greet", json={"code": "two"})
    back = api.call("POST", "/functions/greet/versions/1/rollback")
    assert (back.status_code, back.json()["code"], back.json()["version"]) == (200, "one", 3)
    again = api.call("POST", "/functions/greet/versions/2/rollback").json()
    assert (again["code"], again["version"]) == ("two", 4)
    refused(api.call("POST", "/functions/greet/versions/4/rollback"), 409, "conflict")
    refused(api.call("POST", "/functions/greet/versions/9/rollback"), 404, "version_not_found")
    refused(api.call("POST", f"/functions/greet/versions/{10**12}/rollback"), 404, "version_not_found")


def test_a_deleted_function_is_gone_and_its_jobs_are_cancelled(api: Api) -> None:
    api.deploy()
    [queued] = api.database.enqueue(api.project)
    deleted = api.call("DELETE", "/functions/greet")
    assert (deleted.status_code, deleted.content) == (204, b"")
    refused(api.call("GET", "/functions/greet"), 404, "function_not_found")
    assert api.call("GET", f"/invocations/{queued}").json()["status"] == "cancelled"


def test_a_name_or_slug_that_is_taken_is_409(api: Api) -> None:
    api.deploy("send welcome")
    for name in ("send welcome", "Send-Welcome!"):
        answer = api.call("POST", "/functions", json={"name": name, "language": "python", "code": ECHO})
        refused(answer, 409, "name_taken", "name")
    api.deploy("other")
    refused(api.call("PATCH", "/functions/other", json={"name": "send welcome"}), 409, "name_taken", "name")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("name", value) for value in ("", "x" * 101, 5, None, ["a"], "a\x00b")],
        *[("language", value) for value in ("ruby", "Python", 1, None)],
        *[("code", value) for value in (5, None, "#" * (1024 * 1024 + 1), "a\x00b")],
        *[("entry_point", value) for value in ("", "1a", "a b", "handler\n", "x" * 101, 7)],
        *[("timeout_ms", value) for value in (0, -1, 3_600_000, "5000", 1.5, True, None, 10**30)],
        *[("memory_mb", value) for value in (0, 63, 8193, "256")],
        *[("env_vars", value) for value in ([], "A=b", {"A": "x" * 65_537})],
        *[("enabled", value) for value in ("yes", 1)],
        *[("env_vars.A", {"A": value}) for value in (1, None, {}, "a\x00b")],
        *[(f"env_vars.{name}", {name: "x"}) for name in ("", "1A", "A-B", "A B")],
        *[("preload", value) for value in ("pandas", None, ["x"] * 65)],
        ("init", "always"),
        ("colour", "green"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_wrong_value_is_refused_by_its_field(api: Api, method: str, field: str, value: Any) -> None:
    body: dict[str, Any] = {field.partition(".")[0]: value}
    path = "/functions"
    if method == "PATCH":
        path = f"/functions/{api.deploy()['id']}"
    else:
        body = {"name": "greet", "language": "python", "code": ECHO} | body
    refused(api.call(method, path, json=body), 422, "invalid_input", field)


def test_every_wrong_field_is_named_at_once(api: Api) -> None:
    problem = refused(api.call("POST", "/functions", json={"name": 1, "timeout_ms": 0}), 422, "invalid_input")
    assert {e["field"] for e in problem["errors"]} == {"name", "language", "code", "timeout_ms"}


def test_a_name_that_gives_no_slug_is_refused(api: Api) -> None:
    refused(
        api.call("POST", "/functions", json={"name": "!!!", "language": "python", "code": ""}), 422, "invalid_input"
    )


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"name": "\xff"}', 400, "malformed_json"),
        (b'{"name": NaN}', 400, "malformed_json"),
        (b"[]", 422, "invalid_input"),
        (b"null", 422, "invalid_input"),
        (b'"text"', 422, "invalid_input"),
        (b'{"name": "\\ud800"}', 422, "invalid_input"),
        (b'{"name": "\\u0000"}', 422, "invalid_input"),
        (b'{"name": 1e999}', 422, "invalid_input"),
        (b'{"name": ' + b"9" * 10_000 + b"}", 422, "invalid_input"),
        (b'{"name": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 422, "invalid_input"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(api: Api, body: bytes, status: int, code: str) -> None:
    refused(api.call("POST", "/functions", content=body), status, code)


def test_code_of_exactly_one_mebibyte_is_accepted_however_it_is_escaped(api: Api) -> None:
    code = "é" * (512 * 1024)
    body = json.dumps({"name": "large", "language": "python", "code": code})
    assert len(body) > 3 * 1024 * 1024
    assert api.call("POST", "/functions", content=body).json()["code"] == code


def test_a_body_beyond_any_limit_is_413_and_the_client_sees_it(api: Api) -> None:
    refused(api.call("POST", "/functions", content=b"x" * 20_000_000), 413, "payload_too_large")


@pytest.mark.parametrize("reference", ["nope", "00000000-0000-0000-0000-000000000000", "a%00b", "%ff", "a b", "☃", "*"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/invoke"),
        ("GET", "/invocations"),
        ("GET", "/versions"),
        ("POST", "/versions/1/rollback"),
    ],
)
def test_an_unknown_function_is_404(api: Api, reference: str, method: str, path: str) -> None:
    body = {"json": {}} if method == "PATCH" else {}
    refused(api.call(method, f"/functions/{reference}{path}", **body), 404, "function_not_found")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=bnVsbA", "cursor=%00", "code=x"]
)
def test_a_wrong_query_is_refused(api: Api, query: str) -> None:
    refused(api.call("GET", f"/functions?{query}"), 422, "invalid_input", query.partition("=")[0])


def test_unknown_paths_and_methods_are_problems_too(api: Api) -> None:
    refused(api.call("GET", "/nothing"), 404, "not_found")
    refused(api.call("PUT", "/functions"), 405, "method_not_allowed")
