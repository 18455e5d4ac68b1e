"""Two API processes over one database are one API."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from support.api_keys import key_hash
from tests.api.client import Api, ApiProcess, eventually, refused, standing_in
from tests.api.conftest import Backend


@pytest.fixture(scope="module")
def second(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process = ApiProcess(backend.database, tmp_path_factory.mktemp("api") / "log")
    yield process.url
    process.stop()


@pytest.fixture
def other(api: Api, second: str) -> Api:
    """The same project and credentials at the second process."""
    return replace(api, url=second)


def test_changes_on_one_replica_apply_on_the_other_at_once(api: Api, other: Api) -> None:
    api.deploy()
    with standing_in(api):
        assert other.invoke(json={"n": 1}).json()["result"] == {"n": 1}
        assert other.call("PATCH", "/functions/greet", json={"enabled": False}).status_code == 200
        refused(api.invoke(), 409, "function_disabled")
    api.database.rows("update zmesh.api_keys set revoked_at = now() where hash = %s", key_hash(api.key))
    for one in (api, other):
        refused(one.invoke(), 401, "api_key_revoked")


def test_a_retry_at_the_other_process_is_the_same_call(api: Api, other: Api) -> None:
    api.deploy()
    headers = {"idempotency-key": "once"}
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(one.invoke, json={"n": 1}, headers=headers) for one in (api, other) * 4]
        eventually(lambda: api.call("GET", "/functions/greet/invocations").json()["items"], "the first call")
        with standing_in(api) as jobs:
            answers = [call.result() for call in calls]
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({answer.json()["invocation_id"] for answer in answers}) == 1
    assert len(jobs) == 1


def test_a_call_accepted_by_one_replica_is_shown_and_cancelled_by_the_other(api: Api, other: Api) -> None:
    api.deploy()
    accepted = api.invoke(headers={"prefer": "respond-async"})
    location = accepted.headers["location"]
    assert other.call("GET", location).json()["status"] == "queued"
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(api.invoke, json={"n": 2})
        items = eventually(
            lambda: len(found := other.call("GET", "/functions/greet/invocations").json()["items"]) == 2 and found,
            "the waiting call",
        )
        assert other.call("POST", f"/invocations/{items[0]['id']}/cancel").is_success
        assert (waiting.result().status_code, waiting.result().json()["status"]) == (409, "cancelled")


def test_callers_of_both_get_their_own_answers(api: Api, other: Api) -> None:
    api.deploy()
    with standing_in(api), ThreadPoolExecutor(16) as threads:
        asked = [(one, n) for n, one in enumerate([api, other] * 50)]
        answers = list(threads.map(lambda ask: ask[0].invoke(json={"n": ask[1]}).json()["result"]["n"], asked))
    assert answers == list(range(100))
