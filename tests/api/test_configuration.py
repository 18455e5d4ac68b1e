"""How functions are configured over HTTP, and what the public route makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.client import Api, refused, standing_in

SETTINGS: dict[str, Any] = {
    "timeout_ms": 20_000,
    "memory_mb": 512,
    "env_vars": {"A": "b"},
    "network": "none",
    "enabled": False,
    "description": "Says hello",
    "tags": ["mail", "team:growth"],
    "auth": "jwt",
    "methods": ["GET", "POST"],
    "cors_origins": ["https://shop.example"],
    "anonymous_options": ["idempotency_key"],
    "key_options": ["version", "priority"],
    "public_errors": True,
    "max_attempts": 5,
    "retry_base_ms": 10,
    "retry_max_ms": 20_000,
    "max_concurrency": 7,
    "max_concurrency_per_key": 2,
}


def test_every_setting_can_be_given_at_creation_and_changed_later(api: Api) -> None:
    created = api.deploy("made", **SETTINGS)
    changed = api.call("PATCH", f"/functions/{api.deploy('changed')['id']}", json=SETTINGS).json()
    for function in (created, changed, api.call("GET", "/functions/changed").json()):
        assert {name: function[name] for name in SETTINGS} == SETTINGS
    assert (created["version"], changed["version"], changed["revision"]) == (1, 1, 2)
    assert api.call("PATCH", "/functions/changed", json={"max_concurrency": None}).json()["max_concurrency"] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("description", "x" * 1001),
        ("tags", ["-"]),
        ("tags", [f"t{n}" for n in range(21)]),
        ("auth", "basic"),
        ("network", "closed"),
        ("methods", []),
        ("methods", ["TRACE"]),
        ("cors_origins", ["https://shop.example/path"]),
        ("max_attempts", 0),
        ("retry_base_ms", 0),
        ("retry_max_ms", 604_800_001),
        ("max_concurrency", 0),
        ("max_concurrency_per_key", None),
        ("enabled", None),
    ],
)
def test_an_invalid_setting_is_named(api: Api, field: str, value: object) -> None:
    api.deploy()
    problem = refused(api.call("PATCH", "/functions/greet", json={field: value}), 422, "invalid_input")
    assert all(error["field"].startswith(field) for error in problem["errors"]), problem


def test_functions_are_found_by_tag(api: Api) -> None:
    api.deploy("a", tags=["mail"])
    api.deploy("b", tags=["mail", "urgent"])
    api.deploy("c")
    found = {tag: [f["slug"] for f in api.call("GET", "/functions", params={"tag": tag}).json()["items"]]
             for tag in ("mail", "urgent", "none")}  # fmt: skip
    assert found == {"mail": ["a", "b"], "urgent": ["b"], "none": []}


def test_who_sends_the_etag_of_what_was_read_overwrites_nobody(api: Api) -> None:
    read = api.call("GET", f"/functions/{api.deploy()['id']}")
    etag = read.headers["etag"]
    assert etag == '"1"'
    first = api.call("PATCH", "/functions/greet", json={"timeout_ms": 1}, headers={"If-Match": etag})
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    late = api.call("PATCH", "/functions/greet", json={"timeout_ms": 2}, headers={"If-Match": etag})
    problem = refused(late, 412, "changed_meanwhile")
    assert "revision 2" in problem["detail"]
    assert late.headers["etag"] == '"2"'
    assert api.call("GET", "/functions/greet").json()["timeout_ms"] == 1
    refused(api.call("DELETE", "/functions/greet", headers={"If-Match": etag}), 412, "changed_meanwhile")


def test_a_rollback_with_the_etag_overwrites_nobody_either(api: Api) -> None:
    api.deploy()
    etag = api.call("PATCH", "/functions/greet", json={"code": "async def handler(p, z): return 2"}).headers["etag"]
    api.call("PATCH", "/functions/greet", json={"timeout_ms": 1})
    late = api.call("POST", "/functions/greet/versions/1/rollback", headers={"If-Match": etag})
    assert "revision 3" in refused(late, 412, "changed_meanwhile")["detail"]
    assert late.headers["etag"] == '"3"'
    assert api.call("GET", "/functions/greet").json()["version"] == 2
    rolled_back = api.call("POST", "/functions/greet/versions/1/rollback", headers={"If-Match": '"3"'})
    assert (rolled_back.status_code, rolled_back.json()["version"]) == (200, 3)


@pytest.mark.parametrize("given", [{}, {"If-Match": "*"}, {"If-Match": '"7", "1"'}, {"If-Match": "1"}])
def test_nobody_has_to_send_an_etag(api: Api, given: dict[str, str]) -> None:
    api.deploy()
    assert api.call("PATCH", "/functions/greet", json={"timeout_ms": 9}, headers=given).status_code == 200


@pytest.mark.parametrize("given", ['W/"1"', '"other"', '"99999999999"', "nonsense"])
def test_a_tag_that_we_never_gave_out_matches_nothing(api: Api, given: str) -> None:
    api.deploy()
    answer = api.call("PATCH", "/functions/greet", json={"timeout_ms": 9}, headers={"If-Match": given})
    refused(answer, 412, "changed_meanwhile")


def test_a_change_that_changes_nothing_keeps_the_etag(api: Api) -> None:
    before = api.deploy()
    after = api.call("PATCH", "/functions/greet", json={"code": before["code"], "tags": []}).json()
    assert after == before


def test_the_public_route_takes_the_methods_of_the_function_and_no_other(api: Api) -> None:
    api.deploy(methods=["GET"])
    answer = api.invoke(json={})
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"
    with standing_in(api):
        assert api.invoke(method="GET").status_code == 200
        assert api.invoke(method="HEAD").status_code == 200


def test_a_function_for_members_takes_their_tokens_and_no_keys(api: Api, stranger: Api) -> None:
    id = api.deploy(auth="jwt")["id"]
    stranger.deploy()
    refused(api.invoke(json={}), 401, "missing_credentials")
    refused(api.client.post(f"{api.url}/api/functions/{id}", json={}), 401, "missing_credentials")
    refused(stranger.call("POST", f"/api/functions/{id}", json={}), 404, "function_not_found")
    with standing_in(api) as jobs:
        for name in ("greet", id):
            headers = {"x-zmesh-user-id": "somebody else"}
            assert api.call("POST", f"/api/functions/{name}", json={}, headers=headers).status_code == 200
    for job in jobs:
        assert api.token not in job["request"]
        assert str(api.user_id) in job["request"]
        assert "somebody else" not in job["request"]


def test_a_function_for_anybody_is_called_by_its_id(api: Api) -> None:
    id = api.deploy(auth="none")["id"]
    with standing_in(api) as jobs:
        answer = api.client.post(f"{api.url}/api/functions/{id}", json={"n": 1}, headers={"authorization": "Bearer x"})
        assert (answer.status_code, answer.json()["result"]) == (200, {"n": 1})
        assert api.invoke(json={}).status_code == 200
    assert '"Bearer x"' in jobs[0]["request"]  # not ours: the function may check it itself
    problem = refused(api.client.post(f"{api.url}/api/functions/greet", json={}), 401, "missing_credentials")
    assert "by its id" in problem["hint"]


def test_a_function_for_keys_takes_no_token_and_is_called_by_its_id_as_well(api: Api, stranger: Api) -> None:
    id = api.deploy()["id"]
    refused(api.call("POST", "/api/functions/greet", json={}), 401, "missing_credentials")
    refused(stranger.invoke(id, json={}), 404, "function_not_found")
    with standing_in(api):
        assert api.invoke(id, json={}).status_code == 200


def test_a_disabled_function_is_not_invoked_by_anybody(api: Api) -> None:
    id = api.deploy(auth="none", enabled=False)["id"]
    refused(api.client.post(f"{api.url}/api/functions/{id}", json={}), 409, "function_disabled")


def test_pages_of_other_origins_are_refused_before_anything_runs(api: Api) -> None:
    api.deploy(cors_origins=["https://shop.example"])
    with standing_in(api) as jobs:
        allowed = api.invoke(json={}, headers={"Origin": "https://shop.example"})
        own = api.invoke(json={}, headers={"Origin": api.url})
        program = api.invoke(json={})
        refused(api.invoke(json={}, headers={"Origin": "https://evil.example"}), 403, "origin_not_allowed")
    assert len(jobs) == 3
    assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
    for answer in (allowed, own, program):
        assert (answer.status_code, answer.headers["vary"]) == (200, "origin")
    assert "access-control-allow-origin" not in own.headers
