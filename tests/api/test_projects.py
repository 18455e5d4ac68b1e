"""Projects, their people and their keys."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import psycopg
import pytest

from tests.api.client import PASSWORD, Api, ApiProcess, new_token, refused, standing_in
from tests.api.conftest import Backend

NEW_PASSWORD = "a password of some length"


def role_of(api: Api, email: str) -> str | None:
    members = api.call("GET", "/members").json()["items"]
    return next((member["role"] for member in members if member["email"] == email), None)


def invite(api: Api, email: str, role: str = "developer") -> dict[str, Any]:
    answer = api.call("POST", "/invitations", json={"email": email, "role": role})
    assert answer.status_code == 201, answer.text
    invitation: dict[str, Any] = answer.json()
    return invitation


def accept(api: Api, token: str, password: str = NEW_PASSWORD) -> httpx.Response:
    return api.client.post(f"{api.url}/auth/accept", json={"token": token, "password": password})


def new_address() -> str:
    return f"{uuid4().hex}@example.org"


# Projects


def test_a_project_is_created_with_its_database_renamed_and_deleted(api: Api) -> None:
    name = f"Shop {uuid4().hex[:8]}"
    created = api.call("POST", "/projects", json={"name": name})
    assert created.status_code == 201, created.text
    project = created.json()
    assert (project["slug"], project["role"]) == (name.lower().replace(" ", "-"), "owner")
    refused(api.call("POST", "/projects", json={"name": name}), 409, "name_taken")
    assert [p["id"] for p in api.call("GET", "/projects").json()["items"]].count(project["id"]) == 1

    there = Api(api.database, api.url, api.project, "", new_token(api.user_id, project["id"]), api.user_id)
    there.deploy("greet")
    renamed = api.call("PATCH", f"/projects/{project['id']}", json={"name": "Another name"}).json()
    assert (renamed["name"], renamed["slug"]) == ("Another name", project["slug"])

    assert api.call("DELETE", f"/projects/{project['id']}").status_code == 204
    refused(there.call("GET", "/functions"), 403, "not_a_member")
    refused(api.call("GET", f"/projects/{project['id']}"), 404, "project_not_found")
    assert not api.database.rows("select 1 from pg_roles where rolname = %s", project["role_name"])
    assert not api.database.rows("select 1 from pg_namespace where nspname = %s", project["schema_name"])


def test_an_owner_learns_how_to_connect_to_the_projects_database(api: Api) -> None:
    project = api.call("POST", "/projects", json={"name": f"Shop {uuid4().hex[:8]}"}).json()
    found = api.call("GET", f"/projects/{project['id']}/database").json()
    assert (found["role_name"], found["schema_name"]) == (project["role_name"], project["schema_name"])
    with psycopg.connect(found["database_url"], autocommit=True) as connection:
        connection.execute("create table orders (id integer)")
        [row] = connection.execute("select current_user, 'orders'::regclass::oid::regclass::text, current_schema()")
        assert row == (project["role_name"], "orders", project["schema_name"])


def test_a_token_for_another_project_ends_with_the_one_it_was_exchanged_for(api: Api) -> None:
    project = api.call("POST", "/projects", json={"name": f"Shop {uuid4().hex[:8]}"}).json()
    switched = api.call("POST", "/auth/switch", json={"project": project["slug"]}).json()
    assert switched["project_id"] == project["id"]
    there = Api(api.database, api.url, api.project, "", switched["token"], api.user_id)
    assert there.call("GET", "/functions").json()["items"] == []
    claims = [jwt.decode(token, options={"verify_signature": False}) for token in (api.token, switched["token"])]
    assert claims[0]["exp"] == claims[1]["exp"]
    assert claims[0].get("sid") == claims[1].get("sid")
    api.call("DELETE", f"/projects/{project['id']}")
    refused(there.call("GET", "/functions"), 403, "not_a_member")
    refused(api.call("POST", "/auth/switch", json={"project": project["slug"]}), 403, "not_a_member")


def test_deleting_a_project_ends_its_connections_and_cancels_its_work(api: Api) -> None:
    api.deploy()
    api.invoke(headers={"prefer": "respond-async"})
    [id] = api.database.rows("select id from zmesh.queue where project_id = %s", api.project.id)
    with psycopg.connect(api.project.url, autocommit=True) as connection:
        connection.execute("create table orders (id integer)")
        connection.execute("begin; lock table orders")
        assert api.call("DELETE", f"/projects/{api.project.id}").status_code == 204
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    assert api.database.row("select status from zmesh.invocations where id = %s", id["id"]) == {"status": "cancelled"}
    refused(api.invoke(), 401, "invalid_api_key")


def test_a_project_shows_only_to_its_people_and_changes_only_for_its_owners(api: Api, stranger: Api) -> None:
    path = f"/projects/{stranger.project.id}"
    for method, options in (("GET", {}), ("PATCH", {"json": {"name": "mine"}}), ("DELETE", {})):
        refused(api.call(method, path, **options), 404, "project_not_found")
    api.database.rows(
        "insert into zmesh.memberships (user_id, project_id, role) values (%s, %s, 'developer')",
        api.user_id,
        stranger.project.id,
    )
    assert api.call("GET", path).json()["role"] == "developer"
    refused(api.call("DELETE", path), 403, "forbidden")
    refused(api.call("PATCH", path, json={"name": "mine"}), 403, "forbidden")


# People


def test_somebody_new_is_invited_and_accepts_with_a_password_of_their_own(api: Api) -> None:
    email = new_address()
    invitation = invite(api, email, "viewer")
    [listed] = api.call("GET", "/invitations").json()["items"]
    assert listed["email"] == email
    assert "token" not in listed
    assert invitation["token"] not in api.call("GET", "/invitations").text
    refused(accept(api, invitation["token"], "short"), 422, "invalid_input")
    session = accept(api, invitation["token"])
    assert session.status_code == 200, session.text
    assert role_of(api, email) == "viewer"
    api.token = session.json()["token"]
    assert api.call("GET", "/functions").status_code == 200
    refused(accept(api, invitation["token"]), 404, "invitation_not_found")
    again = api.client.post(f"{api.url}/auth/login", json={"email": email, "password": NEW_PASSWORD})
    assert again.status_code == 200


def test_somebody_with_an_account_accepts_with_its_password_and_the_inviter_learns_nothing(
    api: Api, stranger: Api
) -> None:
    email = stranger.database.value("select email from zmesh.users where id = %s", stranger.user_id)
    known, unknown = invite(api, email), invite(api, new_address())
    assert {*known} == {*unknown}
    refused(accept(api, known["token"], "not the password"), 401, "invalid_login")
    assert accept(api, known["token"], PASSWORD).status_code == 200
    assert role_of(api, email) == "developer"
    refused(api.call("POST", "/invitations", json={"email": email.upper()}), 409, "already_a_member")


def test_an_invitation_is_good_until_it_is_replaced_withdrawn_or_old(api: Api) -> None:
    email = new_address()
    first, second = invite(api, email), invite(api, email.upper(), "owner")
    assert first["id"] == second["id"]
    refused(accept(api, first["token"]), 404, "invitation_not_found")
    assert api.call("DELETE", f"/invitations/{second['id']}").status_code == 204
    refused(accept(api, second["token"]), 404, "invitation_not_found")
    third = invite(api, email)
    api.database.rows("update zmesh.invitations set expires_at = now() where id = %s", third["id"])
    refused(accept(api, third["token"]), 404, "invitation_not_found")
    assert api.call("GET", "/invitations").json()["items"] == []


def test_an_invitation_from_a_removed_owner_is_void(api: Api) -> None:
    accomplice = invite(api, new_address(), "owner")
    assert api.call("DELETE", f"/members/{api.user_id}").status_code == 204
    refused(accept(api, accomplice["token"]), 404, "invitation_not_found")


def test_a_changed_role_and_a_removal_count_at_once(api: Api) -> None:
    email = new_address()
    session = accept(api, invite(api, email)["token"]).json()
    member = next(m for m in api.call("GET", "/members").json()["items"] if m["email"] == email)
    there = Api(api.database, api.url, api.project, "", session["token"], member["user_id"])
    there.deploy("one")
    path = f"/members/{member['user_id']}"
    assert api.call("PATCH", path, json={"role": "viewer"}).json()["role"] == "viewer"
    refused(there.call("DELETE", "/functions/one"), 403, "forbidden")
    refused(there.call("DELETE", f"/members/{api.user_id}"), 403, "forbidden")
    assert api.call("DELETE", path).status_code == 204
    refused(there.call("GET", "/functions"), 403, "not_a_member")
    refused(api.call("DELETE", path), 404, "member_not_found")
    refused(api.call("PATCH", path, json={"role": "owner"}), 404, "member_not_found")


def test_everybody_may_leave_but_the_last_owner(api: Api) -> None:
    others = [m for m in api.call("GET", "/members").json()["items"] if m["user_id"] != str(api.user_id)]
    for other in others:
        assert api.call("DELETE", f"/members/{other['user_id']}").status_code == 204
    refused(api.call("DELETE", f"/members/{api.user_id}"), 409, "last_owner")
    refused(api.call("PATCH", f"/members/{api.user_id}", json={"role": "viewer"}), 409, "last_owner")
    leaving = accept(api, invite(api, new_address(), "viewer")["token"]).json()
    [other] = [m for m in api.call("GET", "/members").json()["items"] if m["user_id"] != str(api.user_id)]
    bearer = {"authorization": f"Bearer {leaving['token']}"}
    assert api.call("DELETE", f"/members/{other['user_id']}", headers=bearer).status_code == 204


# Keys


def new_key(api: Api, **values: Any) -> dict[str, Any]:
    answer = api.call("POST", "/keys", json={"name": "test", **values})
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


def calling(api: Api, key: str, path: str = "greet") -> httpx.Response:
    return api.invoke(path, headers={"x-api-key": key, "prefer": "respond-async"})


def test_a_key_is_shown_once_and_listed_by_its_prefix(api: Api) -> None:
    api.deploy()
    created = new_key(api, name="frontend")
    assert created["key"].startswith("zb_")
    assert created["key"].startswith(created["prefix"])
    assert calling(api, created["key"]).status_code == 202
    listed = api.call("GET", "/keys")
    assert created["key"] not in listed.text
    assert [key["name"] for key in listed.json()["items"]] == ["frontend", "default"]
    assert listed.json()["items"][0]["created_by"]
    page = api.call("GET", "/keys?limit=1").json()
    assert [k["name"] for k in api.call("GET", f"/keys?cursor={page['next_cursor']}").json()["items"]] == ["default"]
    assert not api.database.rows("select 1 from zmesh.api_keys where hash = %s", created["key"].encode())


def test_to_a_key_for_some_functions_the_others_do_not_exist(api: Api) -> None:
    function = api.deploy("greet")
    api.deploy("secret")
    key = new_key(api, functions=["greet"])
    assert key["functions"] == ["greet"]
    assert new_key(api, functions=[function["id"]])["functions"] == ["greet"]
    accepted = calling(api, key["key"])
    assert accepted.status_code == 202
    refused(calling(api, key["key"], "secret"), 404, "function_not_found")
    other = calling(api, api.key, "secret")
    mine = {"x-api-key": key["key"]}
    assert api.client.get(api.url + accepted.headers["location"], headers=mine).status_code == 200
    refused(api.client.get(api.url + other.headers["location"], headers=mine), 404, "invocation_not_found")
    refused(api.client.get(f"{api.url}{other.headers['location']}/logs", headers=mine), 404, "invocation_not_found")


def test_a_key_does_not_widen_when_its_functions_go(api: Api) -> None:
    api.deploy("greet")
    api.deploy("other")
    key = new_key(api, functions=["greet"])
    assert api.call("DELETE", "/functions/greet").status_code == 204
    api.deploy("greet")
    refused(calling(api, key["key"]), 404, "function_not_found")
    refused(calling(api, key["key"], "other"), 404, "function_not_found")
    assert api.call("GET", f"/keys/{key['id']}").json()["functions"] == []


def test_a_key_names_functions_of_its_project_only(api: Api, stranger: Api) -> None:
    theirs = stranger.deploy("theirs")
    for name in ("theirs", theirs["id"], "nothing"):
        refused(api.call("POST", "/keys", json={"name": "x", "functions": [name]}), 404, "function_not_found")
    assert len(api.call("GET", "/keys").json()["items"]) == 1
    refused(api.call("POST", "/keys", json={"name": "x", "functions": []}), 422, "invalid_input")


def test_a_key_expires(api: Api) -> None:
    api.deploy()
    soon = datetime.now(UTC) + timedelta(hours=1)
    key = new_key(api, expires_at=soon.isoformat())
    assert calling(api, key["key"]).status_code == 202
    api.database.rows("update zmesh.api_keys set expires_at = now() where id = %s", key["id"])
    refused(calling(api, key["key"]), 401, "api_key_expired")
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    refused(api.call("POST", "/keys", json={"name": "x", "expires_at": past}), 422, "invalid_input")
    naive = "2100-01-01T00:00:00"
    refused(api.call("POST", "/keys", json={"name": "x", "expires_at": naive}), 422, "invalid_input")


def test_a_revoked_key_is_refused_at_once_by_every_replica(api: Api, backend: Backend, tmp_path: Path) -> None:
    api.deploy()
    key = new_key(api)
    other = ApiProcess(backend.database, tmp_path / "log")
    try:
        headers = {"x-api-key": key["key"], "prefer": "respond-async"}
        for url in (api.url, other.url):
            assert api.client.post(f"{url}/api/functions/greet", headers=headers).status_code == 202
        assert api.call("DELETE", f"/keys/{key['id']}").status_code == 204
        for url in (other.url, api.url):
            refused(api.client.post(f"{url}/api/functions/greet", headers=headers), 401, "api_key_revoked")
    finally:
        other.stop()
    assert api.call("DELETE", f"/keys/{key['id']}").status_code == 204
    assert api.call("GET", f"/keys/{key['id']}").json()["revoked_at"]


def test_a_key_of_another_project_does_not_exist(api: Api, stranger: Api) -> None:
    key = new_key(stranger)
    refused(api.call("GET", f"/keys/{key['id']}"), 404, "key_not_found")
    refused(api.call("DELETE", f"/keys/{key['id']}"), 404, "key_not_found")
    stranger.deploy()
    assert calling(stranger, key["key"]).status_code == 202


def test_a_key_made_here_invokes(api: Api) -> None:
    api.deploy()
    key = new_key(api)["key"]
    started = time.monotonic()
    with standing_in(api):
        assert api.invoke(headers={"x-api-key": key}).json()["status"] == "success"
    assert time.monotonic() - started < 60
