"""Code that is run before it is deployed."""

from __future__ import annotations

import json
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from tests.api.client import Api, eventually, refused, standing_in
from tests.databases import Row

DRAFT = "def handler(payload, zmesh):\n    return 2\n"


def try_out(api: Api, **body: Any) -> httpx.Response:
    return api.call("POST", "/functions/greet/test", json=body)


def test_a_draft_runs_in_place_of_the_functions_code_and_is_not_deployed(api: Api) -> None:
    before = api.deploy()
    with standing_in(api) as jobs:
        answer = try_out(api, payload={"n": 1}, code=DRAFT)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["status"], answer.json()["version"]) == ("success", -1)
        assert try_out(api, code=DRAFT, entry_point="other").json()["version"] == -2
        assert api.invoke(json={}).json()["version"] == 1
        assert try_out(api).json()["version"] == -3
    ran = [(job["code"] == DRAFT, job["entry_point"], job["version"]) for job in jobs]
    assert ran == [(True, "handler", -1), (True, "other", -2), (False, "handler", 1), (False, "handler", -3)]
    assert jobs[0]["payload"] == '{"n": 1}'
    assert jobs[0]["max_attempts"] == 1
    assert api.call("GET", "/functions/greet").json() == before
    assert [one["version"] for one in api.call("GET", "/functions/greet/versions").json()["items"]] == [1]
    refused(api.call("GET", "/functions/greet/versions/-1"), 404, "version_not_found")
    refused(api.call("POST", "/functions/greet/versions/-1/rollback"), 404, "version_not_found")
    answer = api.call("POST", "/functions/greet/invoke", json={}, headers={"x-zmesh-version": "-1"})
    refused(answer, 400, "invalid_header")


def test_a_draft_may_have_files_and_one_without_runs_beside_those_of_the_function(api: Api) -> None:
    files = {"main.py": "from a import handler\n", "a.py": DRAFT}
    api.call(
        "POST",
        "/functions",
        json={"name": "greet", "language": "python", "entry_file": "main.py", "files": files},
    )
    with standing_in(api):
        version = try_out(api, code="import a\nhandler = a.handler\n").json()["version"]
        stored = "select code, files from zmesh.function_versions where function_id = %s and version = %s"
        id = api.call("GET", "/functions/greet").json()["id"]
        row = api.database.row(stored, id, version)
        assert (row["code"], row["files"]) == ("import a\nhandler = a.handler\n", {"a.py": DRAFT})
        version = try_out(api, entry_file="x.py", files={"x.py": DRAFT, "y.txt": "1"}).json()["version"]
        assert api.database.row(stored, id, version)["files"] == {"y.txt": "1"}
        refused(try_out(api, entry_file="x.py", files={"x.py": DRAFT, "../y": "1"}), 422, "invalid_input", "files")


def test_a_draft_needs_its_packages_built_and_its_function_enabled(api: Api) -> None:
    api.deploy()
    needs = '# /// script\n# dependencies = ["six"]\n# ///\n' + DRAFT
    refused(try_out(api, code=needs), 409, "packages_not_built")
    refused(try_out(api, kode="x"), 422, "invalid_input", "kode")
    api.call("PATCH", "/functions/greet", json={"enabled": False})
    refused(try_out(api, code=DRAFT), 409, "function_disabled")


def test_a_draft_may_have_settings_of_its_own(api: Api) -> None:
    before = api.deploy(timeout_ms=5000, memory_mb=128, env_vars={"A": "1"})
    own = {"timeout_ms": 1234, "memory_mb": 99, "env_vars": {"B": "2"}, "network": "none"}
    names = ("timeout_ms", "memory_mb", "env_vars", "network")
    with standing_in(api) as jobs:
        assert try_out(api, code=DRAFT, **own).status_code == 200
        assert try_out(api, code=DRAFT, network="none").status_code == 200
        assert api.invoke(json={}).status_code == 200
    ran = [tuple(job[name] for name in names) for job in jobs]
    assert ran == [(1234, 99, {"B": "2"}, "none"), (5000, 128, {"A": "1"}, "none"), (5000, 128, {"A": "1"}, "open")]
    assert api.call("GET", "/functions/greet").json() == before
    refused(try_out(api, memory_mb=1), 422, "invalid_input", "memory_mb")


def test_a_draft_may_be_tried_with_a_request(api: Api) -> None:
    api.deploy(auth="none", code=DRAFT)
    id = api.call("GET", "/functions/greet").json()["id"]
    headers = {"Content-Type": "application/json", "X-Color": "red"}
    written = {"method": "PUT", "path": "/a%20b", "query": "n=1&n=2&e=", "headers": headers, "body": '{"x": 1}'}
    with standing_in(api) as jobs:
        assert try_out(api, request=written).status_code == 200
        assert try_out(api, request={}).status_code == 200
        url = f"{api.url}/api/functions/{id}/a%20b?n=1&n=2&e="
        api.client.put(url, content='{"x": 1}', headers=headers)
    tried, empty, sent = (json.loads(job["request"]) for job in jobs)
    assert [job["payload"] for job in jobs] == ['{"x": 1}', "{}", '{"x": 1}']
    told = {"method", "path", "raw_path", "raw_query", "scheme", "query", "body_base64"}
    assert {name: tried[name] for name in told} == {name: sent[name] for name in told}
    of_client = {"accept", "accept-encoding", "connection", "user-agent", "x-request-id"}
    assert tried["headers"] == {name: value for name, value in sent["headers"].items() if name not in of_client}
    assert (empty["method"], empty["path"], empty["root_path"]) == ("POST", "/", "/api/functions/greet")
    for bad, field in (
        ({"path": "a"}, "path"),
        ({"query": "a b"}, "query"),
        ({"headers": {"a b": "c"}}, "headers.a b"),
        ({"headers": {"a": "b\nc: d"}}, "headers.a"),
        ({"body": "\0"}, "body"),
    ):
        refused(try_out(api, request=bad), 422, "invalid_input", f"request.{field}")
    refused(try_out(api, request={}, payload=1), 422, "invalid_input", "request")


def test_a_function_that_does_not_exist_yet_runs_and_is_nowhere_to_be_seen(api: Api) -> None:
    new = {"name": "Not yet", "language": "python", "code": DRAFT}
    with standing_in(api) as jobs:
        first, second = [api.call("POST", "/drafts", json={**new, "payload": {"n": n}}) for n in (1, 2)]
        assert (first.status_code, first.json()["version"], second.json()["version"]) == (200, -1, -2), first.text
        api.deploy()
        assert api.call("POST", "/drafts", json={"name": "greet", "code": DRAFT}).json()["version"] == -1
    assert [(job["code"], job["timeout_ms"], job["network"]) for job in jobs] == [(DRAFT, 10000, "open")] * 3
    assert jobs[0]["function_id"] == jobs[1]["function_id"] != jobs[2]["function_id"]
    shown = [one["slug"] for one in api.call("GET", "/functions").json()["items"]]
    figures = [one["slug"] for one in api.call("GET", "/statistics/functions").json()["items"]]
    assert (shown, figures, api.call("GET", "/usage").json()["limits"]["functions"]) == (["greet"], ["greet"], 1)
    refused(api.call("POST", "/drafts", json={"name": "x", "code": DRAFT}), 422, "invalid_input", "language")
    refused(api.call("POST", "/drafts", json={"name": "x", "language": "python"}), 422, "invalid_input", "code")


def test_what_only_held_drafts_is_deleted_with_them(api: Api) -> None:
    names = ("old", "recent")
    with standing_in(api):
        for name in names:
            api.call("POST", "/drafts", json={"name": name, "language": "python", "code": DRAFT})
    kept = "select draft_of from zmesh.functions where project_id = %s"
    assert {row["draft_of"] for row in api.database.rows(kept, api.project.id)} == set(names)
    for table in ("functions", "function_versions"):
        of_old = "(select id from zmesh.functions where draft_of = 'old' and project_id = %s)"
        column = "id" if table == "functions" else "function_id"
        change = f"update zmesh.{table} set created_at = created_at - interval '2 hours' where {column} = {of_old}"
        api.database.rows("set session_replication_role = replica; " + change.replace("%s", f"'{api.project.id}'"))
    api.database.rows("select zmesh.delete_old_drafts()")
    assert [row["draft_of"] for row in api.database.rows(kept, api.project.id)] == ["recent"]


def test_a_draft_that_was_deleted_never_runs_as_something_else(api: Api) -> None:
    api.deploy()
    answer = api.call("POST", "/functions/greet/test", json={"code": DRAFT}, headers={"prefer": "respond-async"})
    assert answer.status_code == 202
    api.database.rows("delete from zmesh.function_versions where version < 0")

    def ended() -> Row | None:
        row = api.database.invocation(answer.json()["invocation_id"])
        return row if row["status"] == "cancelled" else None

    with standing_in(api) as jobs:
        row = eventually(ended, "the end of the invocation")
    assert row["error"]["type"] == "version_retired"
    assert jobs == []
    refused(api.call("POST", f"/invocations/{row['id']}/retry"), 409, "not_retryable")


def test_no_draft_gets_the_number_of_an_earlier_one(api: Api) -> None:
    """Invocations that are tried again later, and files that listeners have kept, would belong to another draft."""
    api.deploy()
    with standing_in(api):
        assert try_out(api, code=DRAFT).json()["version"] == -1
        api.database.rows("update zmesh.function_versions set created_at = created_at - interval '2 hours'")
        api.database.rows("select zmesh.delete_old_drafts()")
        assert try_out(api, code=DRAFT).json()["version"] == -2


def test_a_draft_is_not_deleted_while_a_listener_takes_it(api: Api) -> None:
    """What the listener got would be the function's own code, and no dry run."""
    api.deploy()
    answer = api.call("POST", "/functions/greet/test", json={"code": DRAFT}, headers={"prefer": "respond-async"})
    assert answer.status_code == 202
    with psycopg.connect(api.database.listener_url, row_factory=dict_row) as taking:
        [job] = taking.execute("select * from zmesh.claim(%s, 1)", [api.database.listener()]).fetchall()
        assert (job["version"], job["code"]) == (-1, DRAFT)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            api.database.rows("select from zmesh.function_versions where version < 0 for update nowait")


def test_only_the_latest_drafts_of_a_function_are_kept(api: Api) -> None:
    id = api.deploy()["id"]
    code = """select zmesh.save_draft(%s, jsonb_build_object('language', 'python', 'entry_point', 'handler', 'code', '',
                                                            'files', '{}'::jsonb)) from generate_series(1, 25)"""
    numbers = [row["save_draft"] for row in api.database.rows(code, id)]
    assert numbers == list(range(-1, -26, -1))
    kept = api.database.rows("select version from zmesh.function_versions where function_id = %s", id)
    assert sorted(row["version"] for row in kept) == list(range(-25, -5))
