"""What people get wrong, and the clear answer that each mistake gets."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from support.api_keys import new_api_key
from tests.platform import Platform

PLAIN = "def handler(payload, zmesh):\n    return payload\n"
MIB = 1024 * 1024


def error_of(running_platform: Platform, code: str, language: str = "python", **settings: Any) -> dict[str, Any]:
    """The error object of a function that must fail, after its envelope was checked."""
    running_platform.deploy("mistake", code, language, **settings)
    answer = running_platform.invoke("mistake")
    body = answer.json()
    assert (answer.status_code, body["status"]) == (500, "error"), body
    error: dict[str, Any] = body["error"]
    return error


def refused(answer: Any, status: int, *words: str) -> dict[str, Any]:
    """The problem document of a refused request; its text must name these words."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["code"]
    assert problem["title"]
    for word in words:
        assert word in json.dumps(problem), problem
    return problem


@pytest.mark.parametrize(
    ("language", "code", "kind", "words"),
    [
        ("python", "def handler(payload, zmesh)\n    return 1\n", "syntax_error", "expected ':'"),
        ("javascript", "exports.handler = async (payload => {\n", "syntax_error", ""),
        ("typescript", "exports.handler = (a: ) => 1;\n", "syntax_error", ""),
        ("python", "def handle(payload, zmesh):\n    return 1\n", "entry_point_missing", "handler"),
        ("javascript", "exports.handle = () => 1;\n", "entry_point_missing", "handler"),
        ("python", "import nothing_of_that_name\n" + PLAIN, "ModuleNotFoundError", "nothing_of_that_name"),
        ("javascript", "null.x;\nexports.handler = () => 1;\n", "TypeError", "null"),
        ("python", "def handler(payload, zmesh):\n    return {1, 2}.add\n", "invalid_result", ""),
        ("javascript", "exports.handler = () => 10n;\n", "invalid_result", "BigInt"),
        ("javascript", "exports.handler = () => { const a = []; a.push(a); return a; };\n", "invalid_result", ""),
        ("python", "def handler(payload, zmesh):\n    return float('nan')\n", "invalid_result", "NaN"),
        ("python", "def handler(payload, zmesh):\n    return b'x'\n", "invalid_result", "base64"),
    ],
)
def test_code_that_cannot_run_is_named(
    running_platform: Platform, language: str, code: str, kind: str, words: str
) -> None:
    error = error_of(running_platform, code, language)
    assert error["type"] == kind, error
    assert words in error["message"]


def test_code_that_throws_shows_its_own_lines(running_platform: Platform) -> None:
    code = "exports.handler = () => {\n  throw new RangeError('too far');\n};\n"
    error = error_of(running_platform, code, "javascript")
    assert (error["type"], error["message"]) == ("RangeError", "too far")
    assert "mistake.js:2" in error["stack"]


def test_a_payload_of_10_mb_is_refused(running_platform: Platform) -> None:
    running_platform.deploy("echo", PLAIN)
    refused(running_platform.invoke("echo", {"text": "x" * 10 * MIB}), 413)
    assert running_platform.result("echo", {"text": "x" * MIB}) == {"text": "x" * MIB}


@pytest.mark.parametrize("body", [b"{", b"", b'{"a": nan}', b"\xff\xfe", b'{"a": 1} x'])
def test_a_payload_that_is_not_json_is_refused(running_platform: Platform, body: bytes) -> None:
    running_platform.deploy("echo", PLAIN)
    answer = running_platform.invoke("echo", content=body, headers={"content-type": "application/json"})
    if body == b"":  # no body is an empty payload
        assert answer.json()["result"] == {}
    else:
        refused(answer, 400)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", 5),
        ("name", "x" * 101),
        ("name", "***"),
        ("language", "cobol"),
        ("language", None),
        ("code", None),
        ("code", 5),
        ("code", "#" * (MIB + 1)),
        ("entry_point", "not a name"),
        ("entry_point", ["handler"]),
        ("timeout_ms", 0),
        ("timeout_ms", -1),
        ("timeout_ms", 3_600_000),
        ("timeout_ms", "soon"),
        ("timeout_ms", 1.5),
        ("memory_mb", 1),
        ("memory_mb", 10**9),
        ("memory_mb", "much"),
        ("env_vars", []),
        ("env_vars", {"A": 1}),
        ("env_vars", {"not a name": "x"}),
        ("env_vars", {"A": "x\x00y"}),
        ("enabled", "perhaps"),
    ],
)
def test_a_wrong_field_is_named(running_platform: Platform, field: str, value: Any) -> None:
    good = {"name": "never-made", "language": "python", "code": PLAIN}
    answer = running_platform.request("POST", "/functions", json={**good, field: value})
    assert answer.status_code in (400, 413, 422), answer.text
    refused(answer, answer.status_code, field)
    assert running_platform.request("GET", "/functions/never-made").status_code == 404


def test_missing_and_unknown_fields_are_named(running_platform: Platform) -> None:
    refused(running_platform.request("POST", "/functions", json={"name": "x", "language": "python"}), 422, "code")
    body = {"name": "x", "language": "python", "code": PLAIN, "timeout": 5}
    refused(running_platform.request("POST", "/functions", json=body), 422, "timeout")


def test_a_name_that_is_taken_is_a_conflict(running_platform: Platform) -> None:
    running_platform.deploy("taken", PLAIN)
    for name in ("taken", "Taken!"):  # the second has the same slug
        body = {"name": name, "language": "python", "code": PLAIN}
        refused(running_platform.request("POST", "/functions", json=body), 409)


def test_an_unknown_function_is_404_everywhere(running_platform: Platform) -> None:
    refused(running_platform.invoke("no-such-function"), 404, "no-such-function")
    for method, path in (
        ("GET", "/functions/no-such-function"),
        ("PATCH", "/functions/no-such-function"),
        ("DELETE", "/functions/no-such-function"),
        ("POST", "/functions/no-such-function/invoke"),
        ("GET", "/functions/00000000-0000-0000-0000-000000000000/versions"),
        ("GET", "/invocations/00000000-0000-0000-0000-000000000000"),
    ):
        options: dict[str, Any] = {"json": {}} if method in ("PATCH", "POST") else {}
        refused(running_platform.request(method, path, **options), 404)


def test_a_version_that_does_not_exist_cannot_be_restored(running_platform: Platform) -> None:
    running_platform.deploy("one-version", PLAIN)
    refused(running_platform.request("POST", "/functions/one-version/versions/99/rollback"), 404, "99")
    refused(running_platform.request("POST", "/functions/one-version/versions/1/rollback"), 409, "current")
    assert running_platform.request("POST", "/functions/one-version/versions/zero/rollback").status_code in (
        400,
        404,
        422,
    )


def test_wrong_credentials_are_401(running_platform: Platform) -> None:
    running_platform.deploy("echo", PLAIN)
    for key in ("", "zb_", new_api_key(), running_platform.token):
        refused(running_platform.invoke("echo", headers={"x-api-key": key}), 401)
    claims = jwt.decode(running_platform.token, options={"verify_signature": False})
    for token in (
        "x",
        jwt.encode(claims, "another key that is long enough for HS256", "HS256"),
        jwt.encode(claims, "", "none"),
        running_platform.api_key,
    ):
        headers = {"authorization": f"Bearer {token}"}
        refused(running_platform.request("GET", "/functions", headers=headers), 401)
    unsigned = running_platform.client.get(f"{running_platform.url}/functions")
    refused(unsigned, 401)


def test_a_function_with_queued_jobs_can_be_deleted(running_platform: Platform) -> None:
    running_platform.deploy("doomed", PLAIN)
    waiting = running_platform.enqueue("doomed", run_at="2100-01-01")
    assert running_platform.request("DELETE", "/functions/doomed").status_code == 204
    ended = running_platform.ended(waiting)
    assert (ended["status"], ended["error"]["type"]) == ("cancelled", "cancelled")
    assert "deleted" in ended["error"]["message"]
