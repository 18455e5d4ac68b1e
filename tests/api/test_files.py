"""Folders as functions over HTTP: by JSON and as an upload, in lists, versions, diffs and deployments."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.api.client import ECHO, Api, refused

PNG = b"\x89PNG\r\n\x1a\n\x00\xff"
BINARY = {"base64": base64.b64encode(PNG).decode()}
FILES: dict[str, Any] = {"main.py": ECHO, "templates/a.html": "<p>\r\n", "logo.png": BINARY, "empty": ""}
SIZES = {"main.py": len(ECHO), "templates/a.html": 5, "logo.png": len(PNG), "empty": 0}


def deploy(api: Api, files: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    answer = api.call("POST", "/functions", json=desired(files, **fields))
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


def desired(files: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "name": "greet",
        "language": "python",
        "files": FILES if files is None else files,
        "entry_file": "main.py",
        **fields,
    }


def test_a_folder_is_created_and_read_back_with_every_file(api: Api) -> None:
    created = deploy(api)
    assert (created["code"], created["entry_file"], created["file_sizes"]) == (ECHO, "main.py", SIZES)
    read = api.call("GET", "/functions/greet").json()
    assert (read["files"], read["file_sizes"]) == (FILES, SIZES)
    assert api.call("GET", "/functions/greet/versions/1").json()["files"] == FILES


def test_lists_have_paths_and_sizes_without_content(api: Api) -> None:
    deploy(api)
    api.deploy("plain")
    by_slug = {item["slug"]: item for item in api.call("GET", "/functions").json()["items"]}
    assert (by_slug["greet"]["files"], by_slug["greet"]["file_sizes"]) == (None, SIZES)
    assert (by_slug["plain"]["files"], by_slug["plain"]["file_sizes"], by_slug["plain"]["entry_file"]) == ({}, {}, None)
    [version] = api.call("GET", "/functions/greet/versions").json()["items"]
    assert (version["files"], version["file_sizes"]) == (None, SIZES)


def test_a_folder_is_uploaded_with_a_part_for_each_file(api: Api) -> None:
    fields = {"name": "greet", "language": "python", "entry_file": "main.py"}
    parts: list[tuple[str, Any]] = [
        ("function", (None, json.dumps(fields), "application/json")),
        ("main.py", ("main.py", ECHO.encode())),
        ("templates/a.html", ("anything", b"<p>\r\n", "text/html")),
        ("logo.png", ("logo.png", PNG)),
        ("empty", ("empty", b"")),
    ]
    answer = api.call("POST", "/functions", files=parts)
    assert (answer.status_code, answer.json()["file_sizes"]) == (201, SIZES)
    assert api.call("GET", "/functions/greet").json()["files"] == FILES
    changed = [("function", (None, "{}")), ("main.py", ("main.py", ECHO)), ("b.txt", (None, "b"))]
    assert api.call("PATCH", "/functions/greet", files=changed).json()["version"] == 2
    assert api.call("GET", "/functions/greet").json()["files"] == {"main.py": ECHO, "b.txt": "b"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "The body is empty"),
        (b"--x--\r\n", "Field required"),
        (b"--x\r\n\r\nno name\r\n--x--\r\n", "not multipart/form-data"),
        (b'--x\r\nContent-Disposition: form-data; name="function"\r\n\r\n[]\r\n--x--\r\n', "not a JSON object"),
        (b'--x\r\nContent-Disposition: form-data; name="function"\r\n\r\n{\r\n--x--\r\n', "not JSON"),
        (b'--x\r\nContent-Disposition: form-data; name="function"\r\n\r\n{}', "not multipart/form-data"),
    ],
)
def test_a_broken_upload_is_refused_with_a_reason(api: Api, body: bytes, said: str) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = api.call("POST", "/functions", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert said in answer.json()["detail"]


def test_an_upload_is_for_functions_only(api: Api) -> None:
    answer = api.call("POST", "/schedules", files=[("function", (None, "{}"))])
    refused(answer, 400, "malformed_json")


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"files": {"a": 1}}, "files", 'the content of "a" should be text or {"base64": "…"}'),
        ({"files": {"a": {"base64": "é"}}}, "files", '"a" is not valid base64'),
        ({"files": {**FILES, "a": "x\u0000"}}, "files", '"a" contains a NUL character'),
        ({"files": {**FILES, "a\u0000": "x"}}, "files", "contains a NUL character"),
        ({"files": []}, "files", "should be an object of paths"),
        ({"files": {**FILES, "../x": ""}}, "files", 'path "../x" is not a normalized relative path'),
        ({"files": {**FILES, "Main.py": ""}}, "files", "differ only in case"),
        ({"entry_file": None}, "entry_file", "is required with files"),
        ({"entry_file": "other.py"}, "files", 'there is no "other.py" among them, the entry file'),
        ({"entry_file": "logo.png"}, "files", '"logo.png" is the entry file, but not UTF-8 text'),
        ({"code": "other"}, "code", 'differs from the entry file "main.py" in files'),
        ({"files": {"main.py": "x" * 1_048_577}}, "files", '"main.py" is larger than 1 MiB'),
        ({"files": {**FILES, "big": "x" * 8_388_608}}, "files", "at most 8388608 are allowed"),
        ({"files": {**FILES, **{str(n): "" for n in range(1000)}}}, "files", "at most 1000 files, not 1004"),
    ],
)
def test_files_that_cannot_be_stored_are_refused_with_field_and_path(
    api: Api, fields: dict[str, Any], field: str, said: str
) -> None:
    problem = refused(api.call("POST", "/functions", json=desired(**fields)), 422, "invalid_input", field)
    assert said in problem["detail"]
    problem = refused(api.call("POST", "/deployments", json={"functions": [desired(**fields)]}), 422, "invalid_input")
    assert said in problem["detail"]


def test_a_body_of_more_than_the_largest_folder_is_refused_with_its_limit(api: Api) -> None:
    problem = refused(
        api.call("POST", "/functions", json=desired({**FILES, "big": "x" * 17_000_000})), 413, "payload_too_large"
    )
    assert "16 MiB" in problem["detail"]


def test_a_file_in_base64_that_is_text_is_kept_as_text(api: Api) -> None:
    deploy(api, {"main.py": {"base64": base64.b64encode(ECHO.encode()).decode()}, "a": {"base64": "aGk="}})
    read = api.call("GET", "/functions/greet").json()
    assert (read["code"], read["files"]) == (ECHO, {"main.py": ECHO, "a": "hi"})


def test_changes_keep_what_they_do_not_name(api: Api) -> None:
    deploy(api)
    api.call("PATCH", "/functions/greet", json={"code": "two"})
    assert api.call("GET", "/functions/greet").json()["files"] == {**FILES, "main.py": "two"}
    api.call("PATCH", "/functions/greet", json={"files": {"b": "b"}})
    assert api.call("GET", "/functions/greet").json()["files"] == {"main.py": "two", "b": "b"}
    refused(api.call("PATCH", "/functions/greet", json={"entry_file": "b"}), 422, "invalid_input", "files")
    single = api.call("PATCH", "/functions/greet", json={"entry_file": None}).json()
    assert (single["code"], single["files"], single["version"]) == ("two", {}, 4)


def test_two_versions_are_compared_file_by_file(api: Api) -> None:
    deploy(api)
    files = {"main.py": ECHO, "templates/a.html": "<b>\n", "logo.png": {"base64": "AP8="}, "new": "x\n"}
    api.call("PATCH", "/functions/greet", json={"files": files})
    diff = api.call("GET", "/functions/greet/versions/2/diff").json()
    assert (diff["code"], diff["settings"]) == ("", {})
    assert diff["files"] == {
        "empty": {"action": "removed", "before": 0, "after": None, "diff": ""},
        "logo.png": {"action": "changed", "before": len(PNG), "after": 2, "diff": None},
        "new": {"action": "added", "before": None, "after": 2, "diff": "--- new\n+++ new\n@@ -0,0 +1 @@\n+x\n"},
        "templates/a.html": {
            "action": "changed",
            "before": 5,
            "after": 4,
            "diff": "--- templates/a.html\n+++ templates/a.html\n@@ -1 +1 @@\n-<p>\n+<b>\n",
        },
    }
    first = api.call("GET", "/functions/greet/versions/1/diff").json()
    assert first["settings"]["entry_file"] == {"before": None, "after": "main.py"}
    assert first["files"]["logo.png"]["action"] == "added"


def test_a_rollback_restores_the_files(api: Api) -> None:
    deploy(api)
    api.call("PATCH", "/functions/greet", json={"entry_file": None, "code": "two"})
    assert api.call("POST", "/functions/greet/versions/1/rollback").json()["file_sizes"] == SIZES
    assert api.call("GET", "/functions/greet").json()["files"] == FILES


def test_a_deployment_changes_nothing_where_every_file_is_the_same(api: Api) -> None:
    for action in ("created", "unchanged"):
        [item] = api.call("POST", "/deployments", json={"functions": [desired()]}).json()["items"]
        assert item["action"] == action
        assert item["function"]["file_sizes"] == SIZES
    changed = {"name": "greet", "files": {**FILES, "empty": "not any more"}}  # the entry file stays
    [item] = api.call("POST", "/deployments", json={"functions": [changed]}).json()["items"]
    assert (item["action"], item["function"]["version"]) == ("updated", 2)


def test_a_deployment_names_the_file_that_cannot_be_parsed(api: Api) -> None:
    broken = desired({"src/app.py": "def handler(:\n", "a": ""}, entry_file="src/app.py")
    problem = refused(api.call("POST", "/deployments", json={"functions": [broken]}), 422, "syntax_error")
    assert 'File "src/app.py", line 1' in problem["errors"][0]["message"]
