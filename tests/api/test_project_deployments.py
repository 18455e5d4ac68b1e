"""Whole projects over HTTP: planned, deployed in one transaction, and not over what others changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.http.problems import Problem
from api.management.deploying import tables
from tests.api.client import ECHO, Api, refused

OTHER = "def handler(payload, zmesh):\n    return 2\n"
FUNCTION = {"name": "greet", "language": "python", "code": ECHO}


def sql(api: Api, statement: str) -> list[dict[str, Any]]:
    return api.database.rows(statement, url=api.project.url)


def everything(**values: Any) -> dict[str, Any]:
    """One of each kind."""
    return {
        "functions": [FUNCTION],
        "schedules": [{"name": "nightly", "function": "greet", "cron": " 0 3 * * * ", "payload": {"n": 1e3}}],
        "webhooks": [{"name": "pushes", "function": "greet", "preset": "hmac", "signature_header": "X-Mine"}],
        "changes": [{"table": "orders", "function": "greet", "events": ["UPDATE", "INSERT"], "columns": ["total"]}],
        "aliases": [{"function": "greet", "name": "live", "versions": {"1": 100}}],
        **values,
    }


def post(api: Api, wanted: dict[str, Any], **query: Any) -> Any:
    """Without a look at the code, which takes its time, unless told."""
    return api.call("POST", "/deployments/project", json=wanted, params={"force": True, **query})


def deployed(api: Api, wanted: dict[str, Any], **query: Any) -> dict[str, Any]:
    answer = post(api, wanted, **query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def actions(answer: dict[str, Any]) -> dict[str, str]:
    return {f"{item['kind']}:{item['name']}": item["action"] for item in answer["items"]}


def listed(api: Api) -> dict[str, list[str]]:
    paths = ("functions", "schedules", "webhooks")
    named = {path: [one["name"] for one in api.call("GET", f"/{path}").json()["items"]] for path in paths}
    return {**named, "changes": [one["table"] for one in api.call("GET", "/changes").json()["items"]]}


@pytest.fixture
def shop(api: Api) -> Api:
    """A project with the table orders and nothing else."""
    sql(api, "create table orders (id int primary key, total int)")
    return api


ALL = {
    "function:greet": "created",
    "schedule:nightly": "created",
    "webhook:pushes": "created",
    "alias:greet/live": "created",
    "change:orders → greet": "created",
}
NOTHING: dict[str, list[str]] = {"functions": [], "schedules": [], "webhooks": [], "changes": []}
KEPT = {"functions": ["greet"], "schedules": ["nightly"], "webhooks": ["pushes"], "changes": ["orders"]}


def test_a_plan_changes_nothing_and_the_deployment_does_what_it_said(shop: Api) -> None:
    planned = deployed(shop, everything(), plan=True)
    assert (actions(planned), planned["state"], listed(shop)) == (ALL, {}, NOTHING)
    done = deployed(shop, everything())
    assert (actions(done), listed(shop)) == (ALL, KEPT)
    [webhook] = [item for item in done["items"] if item["kind"] == "webhook"]
    assert len(webhook["secret"]) > 20
    assert webhook["path"] == shop.call("GET", "/webhooks").json()["items"][0]["path"]
    again = deployed(shop, everything(), plan=True)
    assert actions(again) == dict.fromkeys(ALL, "unchanged")
    assert again["state"] == done["state"]
    sql(shop, "insert into orders values (1, 1); update orders set total = 2")
    assert [row["payload"]["type"] for row in sql(shop, "select payload from zmesh.invocations order by id")] == [
        "INSERT",
        "UPDATE",
    ]


MISTAKES: list[tuple[dict[str, Any], int, str, str]] = [
    ({"schedules": [{"name": "s", "function": "greet", "cron": "0 25 * * *"}]}, 422, "invalid_input", '"s"'),
    ({"schedules": [{"name": "s", "function": "nobody", "cron": "@daily"}]}, 404, "function_not_found", "nobody"),
    (
        {"webhooks": [{"name": "w", "function": "greet", "preset": "github", "signature_header": "x"}]},
        *(422, "invalid_input", '"w"'),
    ),
    ({"changes": [{"table": "nowhere", "function": "greet"}]}, 404, "table_not_found", "nowhere"),
    ({"changes": [{"table": "orders", "function": "greet", "when": "new.colour"}]}, 422, "invalid_input", "colour"),
    ({"changes": [{"table": t, "function": "greet"} for t in ("orders", '"orders"')]}, 422, "invalid_input", "twice"),
    ({"aliases": [{"function": "greet", "name": "live", "versions": {"7": 100}}]}, 404, "not_found", "version 7"),
    ({"functions": [{**FUNCTION, "code": "def handler("}]}, 422, "syntax_error", "greet"),
    (
        {"schedules": [{"name": "s", "function": "greet", "cron": "@daily", "payload": "\0"}]},
        *(422, "invalid_input", "Unicode"),
    ),
    ({"functions": [{**FUNCTION, "timeout": 5}]}, 422, "invalid_input", "timeout"),
    ({"functions": [FUNCTION, FUNCTION]}, 422, "invalid_input", "twice"),
    ({"functions": [{**FUNCTION, "secrets": ["KEY"]}], "secrets": ["OTHER"]}, 409, "secrets_missing", "OTHER, KEY"),
]


def test_one_mistake_and_nothing_is_deployed(shop: Api) -> None:
    for bad, status, code, said in MISTAKES:
        problem = refused(post(shop, everything(**bad), force=code != "syntax_error"), status, code)
        assert said in problem["detail"]
        assert listed(shop) == NOTHING


def test_secrets_of_the_project_or_the_function_are_enough(shop: Api) -> None:
    deployed(shop, {"functions": [FUNCTION]})
    shop.call("PUT", "/secrets/SHARED", json={"value": "sesame"})
    shop.call("PUT", "/functions/greet/secrets/OWN", json={"value": "sesame"})
    needs = {"functions": [{**FUNCTION, "secrets": ["SHARED", "OWN", "NONE"]}]}
    assert deployed(shop, needs, plan=True)["missing_secrets"] == [{"name": "NONE", "functions": ["greet"]}]


def test_what_is_left_out_gets_its_default_and_the_plan_shows_both_values(shop: Api) -> None:
    deployed(shop, everything(functions=[{**FUNCTION, "timeout_ms": 5000}]), message="first")
    changed = everything(schedules=[{"name": "nightly", "function": "greet", "cron": "@daily"}])
    planned = deployed(shop, {**changed, "functions": [{**FUNCTION, "code": OTHER}]}, plan=True)
    differences = {item["kind"]: item["changed"] for item in planned["items"] if item["action"] == "updated"}
    assert differences == {
        "function": {"timeout_ms": {"before": 5000, "after": 10000}, "code": {"before": None, "after": None}},
        "schedule": {
            "cron": {"before": "0 3 * * *", "after": "@daily"},
            "payload": {"before": None, "after": None},
        },
    }


def test_a_trigger_moves_to_another_function_and_keeps_its_url(shop: Api) -> None:
    deployed(shop, everything())
    path = shop.call("GET", "/webhooks").json()["items"][0]["path"]
    webhook = {"name": "pushes", "function": "other", "preset": "github"}
    moved = {"functions": [{**FUNCTION, "name": "other"}], "webhooks": [webhook]}
    done = deployed(shop, {**moved, "prune": True})
    assert actions(done) == {
        "function:other": "created",
        "function:greet": "deleted",
        "schedule:nightly": "deleted",
        "webhook:pushes": "updated",
        "change:orders → greet": "deleted",
    }
    [found] = shop.call("GET", "/webhooks").json()["items"]
    assert (found["path"], found["function"], found["preset"]) == (path, "other", "github")
    assert next(item["secret"] for item in done["items"] if item["kind"] == "webhook")
    assert listed(shop) == {**NOTHING, "functions": ["other"], "webhooks": ["pushes"]}


def test_what_is_not_declared_is_listed_and_left_until_it_is_pruned(shop: Api) -> None:
    deployed(shop, everything())
    left = deployed(shop, {"functions": [FUNCTION]})
    assert {action for key, action in actions(left).items() if key != "function:greet"} == {"undeclared"}
    assert listed(shop) == KEPT
    pruned = deployed(shop, {"functions": [FUNCTION], "prune": True})
    assert {action for key, action in actions(pruned).items() if key != "function:greet"} == {"deleted"}
    assert listed(shop) == {**NOTHING, "functions": ["greet"]}


def test_a_trigger_of_a_function_that_would_be_pruned_is_refused(shop: Api) -> None:
    deployed(shop, everything())
    schedules = everything()["schedules"]
    refused(post(shop, {"schedules": schedules, "prune": True}), 404, "function_not_found")
    assert listed(shop) == KEPT


def test_what_others_changed_is_not_overwritten_unknowingly(shop: Api) -> None:
    deployed(shop, everything())
    ids = {kind: shop.call("GET", f"/{kind}").json()["items"][0]["id"] for kind in ("schedules", "webhooks")}
    change = {"table": "orders", "function_id": "greet", "events": ["DELETE"]}
    for method, path, body in (
        ("PATCH", "/functions/greet", {"code": OTHER}),
        ("DELETE", f"/schedules/{ids['schedules']}", None),
        ("PATCH", f"/webhooks/{ids['webhooks']}", {"answer": "result"}),
        ("POST", "/changes", change),
        ("DELETE", "/functions/greet/aliases/live", None),
    ):
        assert shop.call(method, path, json=body).is_success
    planned = deployed(shop, everything(), plan=True)
    assert {f"{i['kind']}:{i['name']}" for i in planned["items"] if i["changed_elsewhere"]} == set(ALL)
    problem = refused(post(shop, everything()), 409, "changed_elsewhere")
    assert {error["field"] for error in problem["errors"]} == set(ALL)
    # Whoever has seen it may change it; but not what was changed after that.
    shop.call("PATCH", "/functions/greet", json={"memory_mb": 512})
    seen = {**everything(), "based_on": planned["state"]}
    problem = refused(post(shop, seen), 409, "changed_elsewhere")
    assert [error["field"] for error in problem["errors"]] == ["function:greet"]
    shop.call("PATCH", "/functions/greet", json={"memory_mb": 256})
    deployed(shop, seen)
    assert actions(deployed(shop, everything(), plan=True)) == dict.fromkeys(ALL, "unchanged")


def test_a_function_that_no_deployment_made_is_not_overwritten_either(shop: Api) -> None:
    shop.deploy(code=OTHER)
    refused(post(shop, {"functions": [FUNCTION]}), 409, "changed_elsewhere")
    assert actions(deployed(shop, {"functions": [FUNCTION], "overwrite": True})) == {"function:greet": "updated"}


def test_a_deploy_key_deploys_a_project_but_deletes_no_function_of_it(shop: Api) -> None:
    made = shop.call("POST", "/keys", json={"name": "CI", "scope": "deploy"}).json()
    only = shop.deploy("only")
    limited = shop.call("POST", "/keys", json={"name": "CI of one", "scope": "deploy", "functions": ["only"]}).json()
    wanted = {"functions": [FUNCTION]}
    url, query = f"{shop.url}/deployments/project", {"force": True}
    answer = shop.client.post(url, json=wanted, params=query, headers={"x-api-key": limited["key"]})
    refused(answer, 403, "key_limited")
    headers = {"x-api-key": made["key"]}
    assert shop.client.post(url, json=wanted, params=query, headers=headers).is_success
    answer = shop.client.post(url, json={**wanted, "prune": True}, params=query, headers=headers)
    assert only["name"] in refused(answer, 403, "forbidden")["detail"]
    assert listed(shop)["functions"] == ["greet", "only"]


def test_a_message_is_kept_with_the_versions_that_were_made(shop: Api) -> None:
    deployed(shop, {"functions": [FUNCTION], "message": "first"})
    deployed(shop, {"functions": [{**FUNCTION, "memory_mb": 512}], "message": "only a setting"})
    deployed(shop, {"functions": [{**FUNCTION, "code": OTHER}], "message": "second"})
    deployed(shop, {"functions": [FUNCTION]})
    found = shop.call("GET", "/functions/greet/versions").json()["items"]
    assert [version["message"] for version in found] == ["", "second", "first"]


def test_a_project_without_free_sessions_can_be_deployed_as_long_as_tables_are_not_concerned(shop: Api) -> None:
    role = shop.project.role
    shop.database.rows(f"alter role {role} connection limit 0")
    assert actions(deployed(shop, {"functions": [FUNCTION]})) == {"function:greet": "created"}
    refused(post(shop, everything(overwrite=True)), 503, "unavailable")


async def test_a_condition_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SECONDS", 0.01)
    with pytest.raises(Problem, match="took longer"):
        async with tables.bounded():
            await asyncio.Event().wait()


MIGRATIONS = [
    {"name": "2_b.sql", "sql": "alter table parcels add column state text"},
    {"name": "1_a.sql", "sql": "create table parcels (id int primary key); select repeat('x', 1000000)"},
]


def parcels(**values: Any) -> dict[str, Any]:
    """A table change of a table that the same deployment makes."""
    change = {"table": "parcels", "function": "greet", "columns": ["state"], "events": ["UPDATE"]}
    return {"functions": [FUNCTION], "changes": [change], "migrations": MIGRATIONS, **values}


def test_migrations_come_first_and_are_part_of_the_transaction(shop: Api) -> None:
    planned = deployed(shop, parcels(), plan=True)
    assert planned["migrations"] == ["1_a.sql", "2_b.sql"]
    assert sql(shop, "select to_regclass('parcels') as t, to_regclass('zmesh_migrations') as m") == [
        {"t": None, "m": None}
    ]
    refused(post(shop, parcels(secrets=["MISSING"])), 409, "secrets_missing")
    assert sql(shop, "select to_regclass('parcels') as t") == [{"t": None}]
    assert deployed(shop, parcels())["migrations"] == ["1_a.sql", "2_b.sql"]
    assert deployed(shop, parcels())["migrations"] == []
    assert deployed(shop, parcels(migrations=None))["migrations"] == []
    assert sql(shop, "select name from zmesh_migrations order by 1") == [{"name": "1_a.sql"}, {"name": "2_b.sql"}]


def test_a_migration_that_fails_undoes_the_deployment_and_says_where(shop: Api) -> None:
    failing = {"name": "3_c.sql", "sql": "create table c (id int);\n\nselect nothing"}
    problem = refused(post(shop, parcels(migrations=[*MIGRATIONS, failing])), 422, "migration_failed")
    assert problem["detail"].startswith('3_c.sql, line 3: column "nothing" does not exist (42703)')
    concurrent = {"name": "3_c.sql", "sql": "-- zmesh: no transaction\ncreate index concurrently on orders (id)"}
    refused(post(shop, parcels(migrations=[*MIGRATIONS, concurrent])), 409, "migration_outside_transaction")
    assert listed(shop) == NOTHING
    deployed(shop, parcels())
    refused(post(shop, parcels(migrations=MIGRATIONS[:1])), 409, "migration_missing")
    refused(post(shop, parcels(migrations=[*MIGRATIONS, MIGRATIONS[0]])), 422, "invalid_input")
    refused(post(shop, parcels(migrations=[{"name": "../1_a.sql", "sql": ""}])), 422, "invalid_input")


def test_a_migration_has_no_other_rights_than_the_project(shop: Api) -> None:
    for statement in ("reset role", "set role zmesh_api", "set session authorization zmesh_api", "commit"):
        attack = f"{statement}; delete from zmesh.functions"
        refused(post(shop, parcels(migrations=[{"name": "1_a.sql", "sql": attack}])), 422, "migration_failed")


FLOODS = {
    "one long error": "do $$ begin raise exception '%', repeat('x', 20000000); end $$",
    "a long hint": "do $$ begin raise exception 'x' using hint = repeat('x', 2000000); end $$",
    "one long notice": "do $$ begin raise notice '%', repeat('x', 20000000); end $$",
    "many notices": "do $$ begin for n in 1 .. 30000 loop raise notice 'x'; end loop; end $$",
}


@pytest.mark.parametrize("kind", FLOODS)
def test_what_a_project_says_while_it_is_deployed_is_not_taken_in_without_bound(shop: Api, kind: str) -> None:
    flood = {"name": "1_a.sql", "sql": FLOODS[kind]}
    refused(post(shop, parcels(migrations=[flood])), 409, "answers_too_large")
    assert listed(shop)["functions"] == []
    assert deployed(shop, parcels())["migrations"] == ["1_a.sql", "2_b.sql"]
