"""A caller whose key and function are remembered is let through by memory; a change counts at once all the same."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.api.client import Api, refused, standing_in


@pytest.fixture
def remembered(api: Api) -> Iterator[Api]:
    """A project whose key has just called `greet`, a few times."""
    api.deploy()
    with standing_in(api):
        for _ in range(4):
            assert api.invoke().status_code == 200
        yield api


def change(api: Api, **settings: object) -> None:
    answer = api.call("PATCH", "/functions/greet", json=settings)
    assert answer.is_success, answer.text


def test_a_revoked_key_is_refused(remembered: Api) -> None:
    remembered.database.rows(
        "update zmesh.api_keys set revoked_at = now() where project_id = %s", remembered.project.id
    )
    refused(remembered.invoke(), 401, "api_key_revoked")


def test_an_expired_key_is_refused(remembered: Api) -> None:
    remembered.database.rows(
        "update zmesh.api_keys set created_at = now() - interval '2 hours', expires_at = now() - interval '1 second'"
        " where project_id = %s",
        remembered.project.id,
    )
    refused(remembered.invoke(), 401, "api_key_expired")


def test_a_key_that_is_for_other_functions_now_does_not_find_this_one(remembered: Api) -> None:
    remembered.database.rows(
        "update zmesh.api_keys set all_functions = false where project_id = %s", remembered.project.id
    )
    refused(remembered.invoke(), 404, "function_not_found")


def test_a_disabled_function_is_refused(remembered: Api) -> None:
    change(remembered, enabled=False)
    refused(remembered.invoke(), 409, "function_disabled")


def test_a_deleted_function_is_not_found(remembered: Api) -> None:
    assert remembered.call("DELETE", "/functions/greet").is_success
    refused(remembered.invoke(), 404, "function_not_found")


def test_a_function_that_needs_a_token_now_takes_no_key(remembered: Api) -> None:
    change(remembered, auth="jwt")
    refused(remembered.invoke(), 401, "missing_credentials")


def test_methods_count_when_they_are_taken_away_and_when_they_are_given(remembered: Api) -> None:
    change(remembered, methods=["PUT"])
    refused(remembered.invoke(), 405, "method_not_allowed")
    change(remembered, methods=["POST"])
    assert remembered.invoke().status_code == 200


def test_options_count_when_they_are_taken_away_and_when_they_are_given(remembered: Api) -> None:
    def prioritised() -> httpx.Response:
        return remembered.invoke(headers={"x-zmesh-priority": "1"})

    change(remembered, key_options=[])
    assert remembered.invoke().status_code == 200  # remembered without
    refused(prioritised(), 403, "option_not_allowed")
    change(remembered, key_options=["priority"])
    assert prioritised().status_code == 200
    change(remembered, key_options=[])
    refused(prioritised(), 403, "option_not_allowed")


def test_an_idempotency_key_is_replayed(remembered: Api) -> None:
    first, second = (remembered.invoke(json={"n": 1}, headers={"idempotency-key": "a"}) for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.json()["invocation_id"] == second.json()["invocation_id"]


def test_a_key_revoked_meanwhile_gets_no_earlier_result(remembered: Api) -> None:
    remembered.invoke(json={"n": 1}, headers={"idempotency-key": "a"})
    remembered.database.rows(
        "update zmesh.api_keys set revoked_at = now() where project_id = %s", remembered.project.id
    )
    refused(remembered.invoke(json={"n": 1}, headers={"idempotency-key": "a"}), 401, "api_key_revoked")
