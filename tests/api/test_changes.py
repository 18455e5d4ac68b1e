"""Table changes over HTTP: made with the rights of the project's own role and no others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.client import Api, refused
from tests.hostile_roles import demand_hashing


@pytest.fixture
def shop(api: Api) -> Api:
    """A project with the function greet and the table orders."""
    api.deploy()
    sql(api, "create table orders (id int primary key, total int)")
    return api


def sql(api: Api, statement: str) -> list[dict[str, Any]]:
    return api.database.rows(statement, url=api.project.url)


def pass_on(api: Api, **values: Any) -> dict[str, Any]:
    answer = api.call("POST", "/changes", json={"table": "orders", "function_id": "greet", **values})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_a_change_is_passed_on_until_it_is_stopped(shop: Api) -> None:
    made = pass_on(shop, events=["UPDATE"], when="new.total > 5", columns=["total"])
    function_id = shop.call("GET", "/functions/greet").json()["id"]
    assert made == {
        "table": "orders",
        "function_id": function_id,
        "function": "greet",
        "events": ["UPDATE"],
        "when": "new.total > 5",
        "columns": ["total"],
    }
    assert shop.call("GET", "/changes").json() == {"items": [made], "next_cursor": None}
    sql(shop, "insert into orders values (1, 1), (2, 2); update orders set total = total + 4")
    [invoked] = sql(shop, "select payload from zmesh.invocations")
    assert invoked["payload"]["record"] == {"id": 2, "total": 6}
    query = {"table": "orders", "function_id": function_id}
    assert shop.call("DELETE", "/changes", params=query).status_code == 204
    refused(shop.call("DELETE", "/changes", params=query), 404, "change_not_found")
    assert shop.call("GET", "/changes").json()["items"] == []


def test_all_events_are_passed_on_unless_told_and_setting_it_again_replaces_it(shop: Api) -> None:
    assert pass_on(shop)["events"] == ["INSERT", "DELETE", "UPDATE"]
    assert pass_on(shop, events=["DELETE"])["events"] == ["DELETE"]
    assert len(shop.call("GET", "/changes").json()["items"]) == 1


def test_what_a_deleted_function_leaves_is_shown_and_can_be_stopped(shop: Api) -> None:
    pass_on(shop)
    shop.call("DELETE", "/functions/greet")
    [left] = shop.call("GET", "/changes").json()["items"]
    assert (left["function"], left["function_id"]) == ("greet", None)
    assert shop.call("DELETE", "/changes", params={"table": "orders", "function_id": "greet"}).status_code == 204


@pytest.mark.parametrize(
    ("values", "status", "code", "field"),
    [
        ({"table": "nowhere"}, 404, "table_not_found", None),
        ({"function_id": "nobody"}, 404, "function_not_found", None),
        ({"table": "zmesh.invocations"}, 403, "forbidden", None),
        ({"table": "pg_catalog.pg_class"}, 403, "forbidden", None),
        ({"table": 'a"b'}, 404, "table_not_found", None),
        ({"table": "a.b.c.d"}, 404, "table_not_found", None),
        ({"table": "or\x00ders"}, 422, "invalid_input", "table"),
        ({"events": ["TRUNCATE"]}, 422, "invalid_input", "events.0"),
        ({"events": []}, 422, "invalid_input", "events"),
        ({"when": "new.colour = 'red'"}, 422, "invalid_input", "when"),
        ({"when": "new.total >"}, 422, "invalid_input", "when"),
        ({"columns": ["colour"]}, 422, "invalid_input", "columns"),
        ({"colour": "green"}, 422, "invalid_input", "colour"),
    ],
)
def test_an_invalid_change_is_refused_with_the_reason(
    shop: Api, values: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    answer = shop.call("POST", "/changes", json={"table": "orders", "function_id": "greet", **values})
    refused(answer, status, code, field)
    assert shop.call("GET", "/changes").json()["items"] == []


def test_a_condition_runs_as_the_project_and_never_as_the_platform(shop: Api) -> None:
    refused(
        shop.call(
            "POST",
            "/changes",
            json={
                "table": "orders",
                "function_id": "greet",
                "when": "exists (select from zmesh.project_databases)",
            },
        ),
        422,
        "invalid_input",
        "when",
    )


def test_another_projects_table_is_out_of_reach_even_where_it_may_be_written_to(shop: Api, stranger: Api) -> None:
    stranger.deploy("spy")
    shop.database.rows(f"grant usage on schema {shop.project.schema} to {stranger.project.role}")
    shop.database.rows(f"grant all on {shop.project.schema}.orders to {stranger.project.role}")
    pass_on(shop)
    theirs = f"{shop.project.schema}.orders"
    refused(stranger.call("POST", "/changes", json={"table": theirs, "function_id": "spy"}), 403, "forbidden")
    refused(stranger.call("DELETE", "/changes", params={"table": theirs, "function_id": "greet"}), 403, "forbidden")
    assert stranger.call("GET", "/changes").json()["items"] == []
    assert len(shop.call("GET", "/changes").json()["items"]) == 1


def test_a_viewer_may_look_only(shop: Api) -> None:
    pass_on(shop)
    shop.change_role("viewer")
    assert len(shop.call("GET", "/changes").json()["items"]) == 1
    body = {"table": "orders", "function_id": "greet"}
    refused(shop.call("POST", "/changes", json=body), 403, "forbidden")
    refused(shop.call("DELETE", "/changes", params=body), 403, "forbidden")


def test_what_a_condition_says_is_not_taken_in_without_bound(shop: Api) -> None:
    sql(
        shop,
        "create function shout() returns boolean immutable language plpgsql as"
        " $$ begin raise exception '%', repeat('x', 20000000); end $$",
    )
    shouting = {"table": "orders", "function_id": "greet", "when": "shout()"}
    refused(shop.call("POST", "/changes", json=shouting), 409, "answers_too_large")


def test_nobody_signs_in_as_a_role_with_an_expensive_verifier(shop: Api) -> None:
    demand_hashing(shop.database, shop.project)
    assert "iterations" in refused(shop.call("GET", "/changes"), 503, "unavailable")["detail"]


def test_who_changed_the_roles_password_is_told_so(shop: Api) -> None:
    sql(shop, "alter role current_user password 'another'")
    assert "changed its password" in refused(shop.call("GET", "/changes"), 503, "unavailable")["detail"]


def test_a_project_whose_role_is_closed_is_told_so(shop: Api) -> None:
    shop.database.rows(f"alter role {shop.project.role} connection limit 0")
    problem = refused(shop.call("GET", "/changes"), 503, "unavailable")
    assert "no more connections" in problem["detail"]
    assert "zmesh.ended_sessions" in problem["hint"]
