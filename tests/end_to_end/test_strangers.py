"""Who may not: revoked keys, expired tokens, and people of another project."""

from __future__ import annotations

import secrets
import time
from typing import Any

import jwt
import pytest

from tests.end_to_end.test_bad_input import PLAIN, refused
from tests.platform import Parts, Platform


@pytest.fixture
def stranger(parts: Parts) -> Platform:
    """The administrator of another project on the same platform."""
    return parts.project_of(f"eve-{secrets.token_hex(4)}")


def test_a_revoked_key_is_refused_at_once(parts: Parts) -> None:
    parts.platform.deploy("echo", PLAIN)
    project = parts.platform.project_id
    parts.database.rows("update zmesh.api_keys set revoked_at = now() where project_id = %s", project)
    refused(parts.platform.invoke("echo"), 401)


def test_an_expired_token_is_refused(parts: Parts) -> None:
    claims = jwt.decode(parts.platform.token, options={"verify_signature": False})
    assert claims["project"] == parts.platform.project_id
    claims |= {"iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}
    token = jwt.encode(claims, parts.jwt_key, "HS256")
    refused(parts.platform.request("GET", "/functions", headers={"authorization": f"Bearer {token}"}), 401, "expired")


def test_a_token_ends_with_its_persons_membership(parts: Parts) -> None:
    project = parts.platform.project_id
    [grace] = parts.database.rows(
        "with grace as (insert into zmesh.users (email, password_hash) values ('grace@example.com', 'x') returning id)"
        " insert into zmesh.memberships (user_id, project_id, role) select id, %s, 'owner' from grace"
        " returning user_id",
        project,
    )
    parts.database.rows(
        "delete from zmesh.memberships where project_id = %s and user_id <> %s", project, grace["user_id"]
    )
    assert parts.platform.request("GET", "/functions").status_code in (401, 403)


def test_another_projects_ids_do_not_exist(parts: Parts, stranger: Platform) -> None:
    function = parts.platform.deploy("secret-recipe", PLAIN)
    id = parts.platform.enqueue("secret-recipe", {"spice": "saffron"})
    for reference in (function["id"], "secret-recipe"):
        for method, path in (
            ("GET", f"/functions/{reference}"),
            ("PATCH", f"/functions/{reference}"),
            ("DELETE", f"/functions/{reference}"),
            ("POST", f"/functions/{reference}/invoke"),
            ("GET", f"/functions/{reference}/invocations"),
            ("GET", f"/functions/{reference}/versions"),
            ("POST", f"/functions/{reference}/versions/1/rollback"),
        ):
            body: Any = {"code": PLAIN} if method == "PATCH" else {"payload": {}} if path.endswith("invoke") else None
            refused(stranger.request(method, path, json=body), 404)
    refused(stranger.request("GET", f"/invocations/{id}"), 404)
    refused(stranger.request("POST", f"/invocations/{id}/cancel"), 404)
    refused(stranger.invoke("secret-recipe"), 404)
    refused(stranger.request("POST", "/webhooks", json={"function_id": function["id"], "name": "x"}), 404)
    schedule = {"function_id": function["id"], "name": "x", "cron": "* * * * *"}
    refused(stranger.request("POST", "/schedules", json=schedule), 404)
    assert stranger.request("GET", "/functions").json()["items"] == []
    assert stranger.sql("select id from zmesh.invocations") == []
    assert parts.platform.request("GET", "/functions/secret-recipe").json()["code"] == PLAIN
