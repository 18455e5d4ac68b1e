"""Secrets over HTTP: written, listed, deleted, never read."""

from __future__ import annotations

import pytest

from sql import secrets
from support.sealing import Sealer, SealingError
from tests.api.client import Api, refused
from tests.databases import Row


def stored(api: Api) -> Row:
    return api.database.row("select * from zmesh.secrets where project_id = %s", api.project.id)


def test_a_secret_is_sealed_for_its_place_and_name(api: Api) -> None:
    answer = api.call("PUT", "/secrets/TOKEN", json={"value": "a very secret value"})
    assert set(answer.json()) == {"name", "created_at", "updated_at"}
    row = stored(api)
    assert b"secret value" not in bytes(row["sealed"])
    sealer = Sealer(api.database.secret_key)
    assert sealer.open(row["sealed"], secrets.purpose(api.project.id, None, "TOKEN")) == "a very secret value"
    for elsewhere in (
        secrets.purpose(api.project.id, None, "OTHER"),
        secrets.purpose(api.project.id, api.user_id, "TOKEN"),
        secrets.purpose(api.user_id, None, "TOKEN"),
    ):
        with pytest.raises(SealingError):
            sealer.open(row["sealed"], elsewhere)


def test_the_api_itself_cannot_read_what_it_sealed(api: Api) -> None:
    api.call("PUT", "/secrets/TOKEN", json={"value": "v"})
    rights = "select has_column_privilege(%s, 'zmesh.secrets', 'sealed', 'select')"
    for role, may in (("zmesh_api", False), (api.project.role, False)):
        assert api.database.value(rights, role) is may


def test_setting_it_again_replaces_the_value(api: Api) -> None:
    first = api.call("PUT", "/secrets/TOKEN", json={"value": "one"}).json()
    before = stored(api)
    second = api.call("PUT", "/secrets/TOKEN", json={"value": "two"}).json()
    assert stored(api)["sealed"] != before["sealed"]
    assert second["created_at"] == first["created_at"]
    assert second["updated_at"] > first["updated_at"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("1ST", "v"),
        ("A-B", "v"),
        ("A" * 129, "v"),
        ("PATH%20", "v"),
        ("TOKEN", ""),
        ("TOKEN", "x" * 65_537),
        ("TOKEN", "secret\x00value"),
        ("TOKEN", ["secret value"]),
    ],
)
def test_what_cannot_be_a_secret_is_refused_without_repeating_it(api: Api, name: str, value: object) -> None:
    problem = refused(api.call("PUT", f"/secrets/{name}", json={"value": value}), 422, "invalid_input")
    assert "secret" not in str(problem)


def test_the_largest_value_fits_and_lists_have_pages(api: Api) -> None:
    assert api.call("PUT", "/secrets/B", json={"value": "é" * 32_768}).is_success
    assert api.call("PUT", "/secrets/a", json={"value": "v"}).is_success
    page = api.call("GET", "/secrets?limit=1").json()
    rest = api.call("GET", f"/secrets?cursor={page['next_cursor']}").json()
    assert [s["name"] for s in page["items"] + rest["items"]] == ["B", "a"]


def test_a_project_has_a_hundred_at_most(api: Api) -> None:
    api.database.rows(
        "insert into zmesh.secrets (project_id, name, sealed, created_at, updated_at)"
        " select %s, 'S' || n, '', now(), now() from generate_series(1, 100) n",
        api.project.id,
    )
    refused(api.call("PUT", "/secrets/ONE_MORE", json={"value": "v"}), 422, "invalid_input")
    assert api.call("PUT", "/secrets/S1", json={"value": "v"}).is_success


def test_secrets_go_with_their_function(api: Api) -> None:
    api.deploy()
    assert api.call("PUT", "/functions/greet/secrets/TOKEN", json={"value": "v"}).is_success
    assert api.call("GET", "/secrets").json()["items"] == []
    api.call("DELETE", "/functions/greet")
    assert api.database.rows("select 1 from zmesh.secrets where project_id = %s", api.project.id) == []
