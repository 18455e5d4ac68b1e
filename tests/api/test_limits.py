"""How many requests and waiting invocations a project and a key are good for."""

from __future__ import annotations

from api.invoking.limits import Bucket
from support.api_keys import key_hash
from tests.api.client import Api, eventually, refused, standing_in


def test_a_project_may_be_limited_to_some_requests_a_second(api: Api, stranger: Api) -> None:
    api.deploy()
    stranger.deploy()
    api.database.rows("update zmesh.projects set requests_per_second = 3 where id = %s", api.project.id)
    later = {"prefer": "respond-async"}
    answers = [api.invoke(headers=later) for _ in range(30)]
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert 3 <= len(accepted) < 30
    limited = next(answer for answer in answers if answer.status_code != 202)
    refused(limited, 429, "rate_limited")
    assert limited.headers["retry-after"] == "1"
    assert stranger.invoke(headers=later).status_code == 202
    api.database.rows("update zmesh.projects set requests_per_second = null where id = %s", api.project.id)
    eventually(lambda: all(api.invoke(headers=later).status_code == 202 for _ in range(5)), "the limit to be gone")


def test_a_key_may_be_limited_by_itself(api: Api) -> None:
    api.deploy()
    limit = "update zmesh.api_keys set requests_per_second = 1 where hash = %s"
    api.database.rows(limit, key_hash(api.key))
    answers = [api.invoke(headers={"prefer": "respond-async"}) for _ in range(10)]
    assert answers[0].status_code == 202
    refused(next(answer for answer in answers if answer.status_code != 202), 429, "rate_limited")
    answer = api.call("POST", "/functions/greet/invoke", headers={"prefer": "respond-async"})
    assert answer.status_code == 202  # a person's request is not the key's


def test_a_full_queue_takes_no_more_until_it_has_emptied(api: Api) -> None:
    api.deploy()
    api.database.rows("update zmesh.projects set max_queued = 2 where id = %s", api.project.id)
    later = {"prefer": "respond-async"}
    full = eventually(
        lambda: (answer := api.invoke(headers=later)).status_code != 202 and answer, "the queue to be full"
    )
    refused(full, 429, "queue_full")
    assert full.headers["retry-after"] == "5"
    refused(api.call("POST", "/functions/greet/invoke", headers=later), 429, "queue_full")
    with standing_in(api):
        eventually(lambda: api.invoke(headers=later).status_code == 202, "room in the queue")


def test_a_bucket_gives_its_rate_and_says_how_long_to_wait() -> None:
    bucket = Bucket(rate=2, tokens=2, filled_at=0.0)
    assert [bucket.take(0.0), bucket.take(0.0)] == [0, 0]
    assert bucket.take(0.0) == 0.5
    assert bucket.take(0.5) == 0
    assert [bucket.take(100.0) for _ in range(3)] == [0, 0, 0.5]
