"""Keys that deploy: all functions of a project, or those they name. What else they may: test_permissions.py."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.client import ECHO, Api, refused

CHANGED = ECHO + "# changed\n"


class Deployer:
    """A program with a deploy key."""

    def __init__(self, api: Api, functions: list[str] | None = None) -> None:
        made = api.call("POST", "/keys", json={"name": "CI", "scope": "deploy", "functions": functions})
        assert made.status_code == 201, made.text
        self.made: dict[str, Any] = made.json()
        self.api = api

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"x-api-key": self.made["key"]}
        return self.api.client.request(method, self.api.url + path, headers=headers, **options)

    def deploy(self, *names: str, code: str = CHANGED) -> httpx.Response:
        functions = [{"name": name, "language": "python", "code": code} for name in names]
        return self.call("POST", "/deployments", json={"functions": functions})

    def names(self, path: str, field: str) -> list[str]:
        return [item[field] for item in self.call("GET", path).json()["items"]]


@pytest.fixture
def shop(api: Api) -> Api:
    """A project with the functions cart and mail, each with a schedule, a webhook and a table change."""
    api.database.rows("create table orders (id int)", url=api.project.url)
    for name in ("cart", "mail"):
        api.deploy(name)
        assert api.call("POST", "/schedules", json={"name": name, "function_id": name, "cron": "@daily"}).is_success
        assert api.call("POST", "/webhooks", json={"name": name, "function_id": name}).is_success
        assert api.call("POST", "/changes", json={"table": "orders", "function_id": name}).is_success
    return api


def test_a_key_invokes_unless_it_is_made_to_deploy(api: Api) -> None:
    usual = api.call("POST", "/keys", json={"name": "usual"}).json()
    deploys = Deployer(api).made
    assert (usual["scope"], deploys["scope"]) == ("invoke", "deploy")
    listed = {key["name"]: key["scope"] for key in api.call("GET", "/keys").json()["items"]}
    assert listed == {"default": "invoke", "usual": "invoke", "CI": "deploy"}
    refused(api.call("POST", "/keys", json={"name": "x", "scope": "admin"}), 422, "invalid_input", "scope")


def test_a_deploy_key_deploys_and_neither_invokes_nor_reads_what_was_invoked(api: Api) -> None:
    ci = Deployer(api)
    assert ci.deploy("cart").json()["items"][0]["action"] == "created"
    assert ci.call("GET", "/functions/cart").json()["code"] == CHANGED
    refused(ci.call("POST", "/api/functions/cart", json={}), 401, "wrong_key_scope")
    id = api.database.enqueue(api.project, "cart")[0]
    refused(ci.call("GET", f"/invocations/{id}"), 401, "wrong_key_scope")
    key = {"x-api-key": api.key}
    refused(api.client.get(f"{api.url}/functions", headers=key), 401, "wrong_key_scope")


def test_it_is_sent_as_a_bearer_token_too_but_never_in_place_of_a_persons(api: Api) -> None:
    ci = Deployer(api)
    url = f"{api.url}/functions"
    assert api.client.get(url, headers={"authorization": f"Bearer {ci.made['key']}"}).is_success
    both = {"x-api-key": ci.made["key"], "authorization": "Bearer not-a-token"}
    refused(api.client.get(url, headers=both), 401, "token_malformed")
    refused(
        api.client.get(f"{api.url}/console/api/functions", headers={"x-api-key": ci.made["key"]}),
        401,
        "missing_credentials",
    )


def test_a_revoked_one_is_refused_at_once(api: Api) -> None:
    ci = Deployer(api)
    assert ci.call("GET", "/functions").is_success
    assert api.call("DELETE", f"/keys/{ci.made['id']}").status_code == 204
    refused(ci.call("GET", "/functions"), 401, "api_key_revoked")


def test_for_a_limited_key_other_functions_and_their_triggers_do_not_exist(shop: Api) -> None:
    ci = Deployer(shop, ["cart"])
    assert ci.names("/functions", "slug") == ["cart"]
    assert ci.names("/schedules", "name") == ["cart"]
    assert ci.names("/webhooks", "name") == ["cart"]
    assert ci.names("/changes", "function") == ["cart"]
    schedules, webhooks = (shop.call("GET", f"/{path}?name=mail").json()["items"] for path in ("schedules", "webhooks"))
    assert ci.names("/schedules?name=mail", "name") == []
    for method, path, body in (
        ("GET", "/functions/mail", None),
        ("PATCH", "/functions/mail", {"code": CHANGED}),
        ("GET", "/functions/mail/versions/1", None),
        ("PUT", "/functions/mail/aliases/live", {"versions": {"1": 100}}),
        ("GET", "/functions/mail/secrets", None),
        ("POST", "/schedules", {"function_id": "mail", "cron": "@daily"}),
        ("POST", "/webhooks", {"function_id": "mail"}),
        ("POST", "/changes", {"table": "orders", "function_id": "mail"}),
        ("DELETE", "/changes?table=orders&function_id=mail", None),
        ("DELETE", "/changes?table=orders&function_id=gone", None),
        ("PATCH", f"/schedules/{schedules[0]['id']}", {"enabled": False}),
        ("DELETE", f"/schedules/{schedules[0]['id']}", None),
        ("PATCH", f"/webhooks/{webhooks[0]['id']}", {"enabled": False}),
        ("DELETE", f"/webhooks/{webhooks[0]['id']}", None),
    ):
        answer = ci.call(method, path, json=body)
        assert answer.status_code == 404, f"{method} {path}: {answer.text}"


def test_a_limited_key_changes_its_functions_and_cannot_reach_further_through_them(shop: Api) -> None:
    ci = Deployer(shop, ["cart"])
    assert ci.deploy("cart").json()["items"][0]["action"] == "updated"
    [schedule] = ci.call("GET", "/schedules").json()["items"]
    path = f"/schedules/{schedule['id']}"
    assert ci.call("PATCH", path, json={"cron": "@hourly"}).is_success
    refused(ci.call("PATCH", path, json={"function_id": "mail"}), 404, "function_not_found")
    new = {"name": "new", "language": "python", "code": ECHO}
    refused(ci.call("POST", "/functions", json=new), 403, "key_limited")
    refused(ci.call("GET", "/builds"), 403, "key_limited")
    refused(ci.call("PUT", f"/bundles/{'0' * 64}/chunks/0", json={"data": ""}), 403, "key_limited")
    build = {"language": "python", "files": {"requirements.txt": "six"}}
    assert ci.call("POST", "/builds", json=build).is_success
    for chosen in ({"lock": "six==1.0 --hash=sha256:aa\n"}, {"bundle": {"hash": "0" * 64, "chunks": 1}}):
        refused(ci.call("POST", "/builds", json={**build, **chosen}), 403, "key_limited")
    for names in (["mail"], ["new"], ["cart", "mail"]):
        refused(ci.deploy(*names, code="def handler(:"), 403, "key_limited")
    assert shop.call("GET", "/functions/mail").json()["code"] == ECHO
    assert ci.call("DELETE", path).status_code == 204


def test_a_function_made_anew_is_not_the_one_that_the_key_names(shop: Api) -> None:
    ci = Deployer(shop, ["cart"])
    assert shop.call("DELETE", "/functions/cart").status_code == 204
    refused(ci.deploy("cart"), 403, "key_limited")
    shop.deploy("cart")
    refused(ci.deploy("cart"), 403, "key_limited")
    assert ci.names("/functions", "slug") == []


def test_each_version_says_who_deployed_it(api: Api) -> None:
    function = api.deploy()
    ci = Deployer(api)
    assert ci.deploy("greet").is_success
    api.database.rows("update zmesh.functions set code = 'by hand' where id = %s", function["id"])
    assert ci.call("POST", "/functions/greet/versions/1/rollback").is_success
    assert api.call("PATCH", "/functions/greet", json={"timeout_ms": 5}).is_success  # deploys nothing
    declared = {"functions": [{"name": "greet", "language": "python", "code": "pass"}]}
    assert api.call("POST", "/deployments/project?force=true", json=declared | {"overwrite": True}).is_success
    person = api.database.value("select email from zmesh.users where id = %s", api.user_id)
    role = api.database.value("select session_user")
    expected = [person, "CI (API key)", f"{role} (SQL)", "CI (API key)", person]
    versions = ci.call("GET", "/functions/greet/versions").json()["items"]
    assert [one["deployed_by"] for one in versions] == expected
    assert ci.call("GET", "/functions/greet/versions/2").json()["deployed_by"] == "CI (API key)"
    deployments = api.call("GET", "/functions/greet/statistics").json()["deployments"]
    assert [(one["version"], one["deployed_by"]) for one in deployments] == list(
        zip((5, 4, 3, 2, 1), expected, strict=True)
    )
    [listed] = api.call("GET", "/statistics/functions").json()["items"]
    assert listed["deployed_by"] == person
