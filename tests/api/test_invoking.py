"""Invoking functions; a stand-in for the listener says how the jobs end."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.api.client import Api, echo, eventually, refused, response, standing_in

FAILURE = {"type": "ValueError", "message": "no", "stack": "greet.py:2"}


def failing(status: str) -> Any:
    return lambda job: {"status": status, "error": json.dumps(FAILURE)}


def test_the_dashboard_gets_the_envelope(api: Api) -> None:
    function = api.deploy()
    with standing_in(api, lambda job: {**echo(job), "duration_ms": 230}) as jobs:
        answer = api.call("POST", "/functions/greet/invoke", json={"payload": {"user_id": "abc123"}})
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "success",
        "result": {"user_id": "abc123"},
        "error": None,
        "duration_ms": 230,
        "invocation_id": str(jobs[0]["id"]),
        "version": 1,
    }
    assert answer.headers["x-zmesh-invocation-id"] == str(jobs[0]["id"])
    assert (str(jobs[0]["function_id"]), jobs[0]["max_attempts"]) == (function["id"], 1)


def test_the_public_route_takes_the_whole_body_as_payload(api: Api) -> None:
    api.deploy()
    with standing_in(api):
        answer = api.invoke(json={"user_id": "abc123"})
    assert (answer.status_code, answer.json()["result"]) == (200, {"user_id": "abc123"})


@pytest.mark.parametrize(("status", "http"), [("error", 500), ("timeout", 504), ("cancelled", 409)])
def test_a_function_that_fails_is_never_a_200(api: Api, status: str, http: int) -> None:
    api.deploy()
    with standing_in(api, failing(status)):
        for answer in (api.invoke(), api.call("POST", "/functions/greet/invoke", json={})):
            assert answer.status_code == http
            assert answer.headers["content-type"] == "application/json"
            assert (answer.json()["status"], answer.json()["error"]) == (status, FAILURE)


def test_numbers_and_order_arrive_as_they_were_sent(api: Api) -> None:
    api.deploy()
    text = '{"big":123456789012345678901234567890,"precise":0.1000000000000000055511151231257827}'
    with standing_in(api) as jobs:
        answer = api.call("POST", "/functions/greet/invoke", content=f'{{"payload": {text}}}')
        api.invoke(content=text, headers={"content-type": "application/json"})
    assert text.replace(":", ": ").replace(",", ", ") in answer.text
    assert [json.loads(job["payload"])["big"] for job in jobs] == [123456789012345678901234567890] * 2


@pytest.mark.parametrize(
    ("body", "content_type", "payload"),
    [
        (b"", "application/json", {}),
        (b"", None, {}),
        (b"[1, 2]", "application/json", [1, 2]),
        (b'"text"', "application/vnd.api+json; charset=utf-8", "text"),
        (b"null", "application/json", None),
        (b'{"a": 1}', None, {"a": 1}),
        (b'{"a": 1}', "application/x-www-form-urlencoded", {"a": 1}),
        (b"a=1&b=2&b=3&c=", "application/x-www-form-urlencoded", {"a": "1", "b": ["2", "3"], "c": ""}),
        ("grüße".encode(), "text/plain; charset=utf-8", "grüße"),
        ("grüße".encode("latin-1"), "text/plain; charset=latin-1", "grüße"),
        (b"<a/>", "text/xml", "<a/>"),
        (b"\x00\x01\xff", "application/octet-stream", None),
        (b"not json", None, None),
        (b"{not json", "application/x-www-form-urlencoded", {}),
    ],
)
def test_a_body_becomes_the_payload_by_its_type(api: Api, body: bytes, content_type: str | None, payload: Any) -> None:
    api.deploy()
    headers = {"content-type": content_type} if content_type else {}
    with standing_in(api) as jobs:
        answer = api.invoke(content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    if body != b"{not json":
        assert answer.json()["result"] == payload
    assert base64.b64decode(json.loads(jobs[0]["request"])["body_base64"]) == body


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b'{"a": nan}', 400, "malformed_json"),
        (b'{"a": 1} x', 400, "malformed_json"),
        (b'{"a": "\\u0000"}', 422, "invalid_input"),
        (b'{"\\u0000": 1}', 422, "invalid_input"),
        (b'["\\udc00"]', 422, "invalid_input"),
        (b'{"a": 1e400}', 422, "invalid_input"),
        (b'{"a": 1e-99999}', 422, "invalid_input"),
        (b"[" * 100_000 + b"]" * 100_000, 422, "invalid_input"),
        (b'"' + b"x" * 9_000_000 + b'"', 413, "payload_too_large"),
        (b'{"text": "' + b"x" * 10 * 1024 * 1024 + b'"}', 413, "payload_too_large"),
    ],
)
def test_a_payload_that_cannot_be_kept_is_refused(api: Api, body: bytes, status: int, code: str) -> None:
    api.deploy()
    wrapped = b'{"payload": ' + body + b"}"
    refused(api.invoke(content=body, headers={"content-type": "application/json"}), status, code)
    refused(api.call("POST", "/functions/greet/invoke", content=wrapped), status, code)


def test_a_backslash_before_u0000_is_no_nul(api: Api) -> None:
    api.deploy()
    with standing_in(api):
        assert api.invoke(json={"regex": "\\u0000"}).json()["result"] == {"regex": "\\u0000"}


def test_large_and_deep_payloads_within_the_limits_pass(api: Api) -> None:
    api.deploy()
    with standing_in(api):
        large = "x" * (8 * 1024 * 1024 - 2)
        assert api.invoke(json=large).json()["result"] == large
        deep = "[" * 500 + "]" * 500
        answer = api.invoke(content=deep, headers={"content-type": "application/json"})
        assert f'"result":{deep},' in answer.text
    assert api.call("GET", "/functions/greet/invocations").status_code == 200


def test_a_payload_that_only_grows_too_large_in_the_database_is_413(api: Api) -> None:
    api.deploy()
    body = b"[" + b"1," * (3 * 1024 * 1024) + b"1]"
    refused(api.invoke(content=body, headers={"content-type": "application/json"}), 413, "payload_too_large")


@pytest.mark.parametrize("body", [b"[]", b'{"payload": 1, "x": 2}', b'{"user_id": 1}', b"1"])
def test_the_dashboard_wants_the_payload_inside_an_object(api: Api, body: bytes) -> None:
    api.deploy()
    refused(api.call("POST", "/functions/greet/invoke", content=body), 422, "invalid_input")


def test_a_key_in_an_open_transaction_holds_up_the_calls_of_its_own_project_only(api: Api, stranger: Api) -> None:
    """A caller that sends a key while it is being inserted waits until that insert ends."""
    api.deploy()
    stranger.deploy()
    later = {"prefer": "respond-async"}
    scope = f"key:{api.database.value('select id from zmesh.api_keys where project_id = %s', api.project.id)}"
    with psycopg.connect(api.database.api_url) as connection, ThreadPoolExecutor(10) as pool:
        connection.execute(
            "insert into zmesh.invocations (project_id, function, idempotency_key, idempotency_scope)"
            " values (%s, 'greet', 'held', %s)",
            (api.project.id, scope),
        )
        held = [pool.submit(api.invoke, headers={**later, "idempotency-key": "held"}) for _ in range(10)]
        waiting = (
            "select 1 from pg_locks l join pg_stat_activity a using (pid) where not granted and usename = 'zmesh_api'"
        )
        eventually(lambda: api.database.rows(waiting), "a call that waits for the transaction")
        answers = [stranger.invoke(headers={**later, "idempotency-key": f"{n}"}) for n in range(5)]
        answers += [api.invoke(headers=later)]

        assert [answer.status_code for answer in answers] == [202] * 6
        assert not any(call.done() for call in held)
        connection.rollback()
        assert [call.result().status_code for call in held] == [202] * 10


def test_a_key_that_a_role_holds_in_an_open_transaction_holds_up_no_call_over_http(api: Api) -> None:
    api.deploy()
    with psycopg.connect(api.project.url) as connection:
        connection.execute("insert into zmesh.invocations (function, idempotency_key) values ('greet', 'held')")
        answer = api.invoke(headers={"prefer": "respond-async", "idempotency-key": "held"})
        assert answer.status_code == 202


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_method_and_path_reach_the_function(api: Api, method: str) -> None:
    api.deploy()
    headers = {"cookie": "a=b", "x-thing": "1", "authorization": "Bearer of the function's own"}
    with standing_in(api) as jobs:
        answer = api.invoke("greet/users/5%2F6?a=1&a=2&b=%FF", method, headers=headers)
        assert api.invoke("greet", method).status_code == 200
    assert answer.status_code == 200
    request = json.loads(jobs[0]["request"])
    assert (request["method"], request["path"]) == (method, "/users/5/6")
    assert request["query"] == {"a": ["1", "2"], "b": ["\ufffd"]}
    assert {name: request["headers"][name] for name in headers} == headers
    assert api.key not in jobs[0]["request"]
    assert json.loads(jobs[1]["request"])["path"] == "/"


def test_our_key_in_the_authorization_header_does_not_reach_the_function(api: Api) -> None:
    api.deploy()
    with standing_in(api) as jobs:
        api.client.post(f"{api.url}/api/functions/greet", headers={"authorization": f"Bearer {api.key}"})
    assert api.key not in jobs[0]["request"]


def test_a_functions_own_response_is_passed_on(api: Api) -> None:
    api.deploy()
    headers = {"Content-Type": "text/html; charset=utf-8", "X-Thing": "1", "Set-Cookie": ["a=1", "b=2"]}
    body = base64.b64encode("<p>é</p>".encode()).decode()
    with standing_in(api, lambda job: response(418, headers, body)) as jobs:
        answer = api.invoke()
    assert (answer.status_code, answer.text) == (418, "<p>é</p>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-thing"] == "1"
    path = "Path=/api/functions/greet"
    assert answer.headers.get_list("set-cookie") == [f"a=1; {path}", f"b=2; {path}"]
    assert answer.headers["x-zmesh-invocation-id"] == str(jobs[0]["id"])


def test_headers_that_are_not_a_functions_to_set_are_left_out(api: Api) -> None:
    api.deploy()
    headers = {
        "Content-Length": "999",
        "Transfer-Encoding": "chunked",
        "Connection": "close",
        "X-Zmesh-Invocation-Id": "forged",
        "X-Split": "a\r\nX-Injected: 1",
        "Bad Name": "x",
        "X-Snow": "☃",
        "X-Latin": "é",
        "X-Request-Id": "forged",
        "Location": "/elsewhere",
        "Access-Control-Allow-Origin": "https://example.org",
    }
    with standing_in(api, lambda job: response(302, headers, base64.b64encode(b"body").decode())) as jobs:
        answer = api.invoke(follow_redirects=False)
    assert (answer.status_code, answer.content, answer.headers["location"]) == (302, b"body", "/elsewhere")
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    assert dict(answer.headers.raw)[b"X-Latin".lower()] == "é".encode("latin-1")
    assert answer.headers["x-request-id"] != "forged"
    assert answer.headers["x-zmesh-invocation-id"] == str(jobs[0]["id"])
    assert not {"x-split", "x-injected", "bad name", "x-snow", "transfer-encoding"} & set(answer.headers)


def test_a_page_of_a_function_is_an_origin_of_its_own_and_decides_nothing_for_the_others(api: Api) -> None:
    """The console is served by the same host, and so are pages of other projects."""
    headers = {
        "Content-Type": "text/html",
        "Content-Security-Policy": "default-src *",
        "Clear-Site-Data": '"storage"',
        "Service-Worker-Allowed": "/",
        "Alt-Svc": 'h2="example.org:443"',
        "Strict-Transport-Security": "max-age=1",
        "NEL": "{}",
        "Report-To": "{}",
    }
    id = api.deploy(auth="none")["id"]
    with standing_in(api, lambda job: response(200, headers, base64.b64encode(b"<script>1</script>").decode())):
        answer = api.client.get(f"{api.url}/api/functions/{id}")
    theirs, ours = answer.headers.get_list("content-security-policy")
    assert theirs == "default-src *"
    assert ours.startswith("sandbox ")
    assert "allow-same-origin" not in ours
    assert not {name.lower() for name in list(headers)[2:]} & set(answer.headers)


def test_nobody_but_the_platform_says_who_calls(api: Api) -> None:
    ids = [api.deploy(f"for-{auth}", auth=auth)["id"] for auth in ("none", "api_key")]
    with standing_in(api) as jobs:
        for id in ids:
            assert api.invoke(id, headers={"X-Zmesh-User-Id": str(api.user_id)}).status_code == 200
    assert [str(api.user_id) in job["request"] for job in jobs] == [False, False]


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_that_may_have_no_body_has_none(api: Api, status: int) -> None:
    api.deploy()
    with standing_in(api, lambda job: response(status, {}, base64.b64encode(b"body").decode())):
        answer = api.invoke()
        assert (answer.status_code, answer.content) == (status, b"")
        assert api.invoke().status_code == status  # over the same connection


def test_an_empty_response_has_no_content_type_but_the_functions_own(api: Api) -> None:
    api.deploy()
    for status in (200, 302, 304):
        with standing_in(api, lambda job, status=status: response(status, {}, "")):
            assert "content-type" not in api.invoke().headers, status
    with standing_in(api, lambda job: response(200, {"Content-Type": "text/csv"}, "")):
        assert api.invoke().headers["content-type"] == "text/csv"


@pytest.mark.parametrize(
    ("headers", "body", "length"),
    [
        ({"Content-Length": "17"}, "", "17"),
        ({"content-length": "17"}, base64.b64encode(b"body").decode(), "4"),
        ({"content-length": "-1"}, "", None),
        ({}, "", None),
    ],
)
def test_the_response_to_head_has_the_length_that_a_get_would_send(
    api: Api, headers: dict[str, str], body: str, length: str | None
) -> None:
    id = api.deploy(auth="none")["id"]
    with standing_in(api, lambda job: response(200, headers, body)):
        answer = api.client.head(f"{api.url}/api/functions/{id}")
        assert (answer.status_code, answer.headers.get("content-length"), answer.content) == (200, length, b"")
        assert api.client.head(f"{api.url}/api/functions/{id}").status_code == 200  # over the same connection


def test_a_websocket_is_refused_before_anything_runs(api: Api) -> None:
    id = api.deploy(auth="none")["id"]
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "WebSocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with standing_in(api) as jobs:
        refused(api.client.get(f"{api.url}/api/functions/{id}", headers=headers), 501, "websockets_not_supported")
    assert not jobs


@pytest.mark.parametrize(("status", "body"), [(99, ""), (600, ""), (100, ""), (200, "no base64")])
def test_a_response_that_http_cannot_carry_is_named(api: Api, status: int, body: str) -> None:
    api.deploy()
    with standing_in(api, lambda job: response(status, {}, body)):
        refused(api.invoke(), 502, "invalid_response")


def test_the_dashboard_sees_a_functions_own_response_in_the_envelope(api: Api) -> None:
    api.deploy()
    body = base64.b64encode(b'{"a": 1}').decode()
    with standing_in(api, lambda job: response(201, {"content-type": "application/json"}, body)):
        answer = api.call("POST", "/functions/greet/invoke", json={})
    assert (answer.status_code, answer.json()["status"], answer.json()["result"]) == (200, "success", {"a": 1})
    assert answer.json()["response"]["status"] == 201


def test_respond_async_is_accepted_at_once_and_tried_three_times(api: Api) -> None:
    api.deploy()
    answer = api.invoke(headers={"prefer": "respond-async"}, json={"n": 1})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "respond-async"
    location = answer.headers["location"]
    assert location == f"/invocations/{answer.json()['invocation_id']}"
    with standing_in(api) as jobs:
        ended = eventually(
            lambda: (i := api.call("GET", location).json())["status"] == "success" and i, "the end of the invocation"
        )
    assert (ended["result"], jobs[0]["max_attempts"]) == ({"n": 1}, 3)
    by_key = api.client.get(api.url + location, headers={"x-api-key": api.key})
    assert by_key.json() == ended


def test_a_wait_that_runs_out_is_202_for_the_same_invocation(api: Api) -> None:
    api.deploy()
    started = time.monotonic()
    answer = api.invoke(headers={"prefer": "wait=1"})
    assert 0.9 < time.monotonic() - started < 5
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=1")
    id = answer.json()["invocation_id"]
    assert api.database.invocation(id)["status"] == "queued"
    with standing_in(api):
        eventually(lambda: api.database.invocation(id)["status"] == "success", "the end of the invocation")


def test_a_slow_function_shows_as_running_when_its_caller_has_waited_enough(api: Api) -> None:
    api.deploy()
    with standing_in(api, lambda job: None):
        answer = api.invoke(headers={"prefer": "respond-async, wait=2"})
    assert (answer.status_code, answer.json()["status"], answer.json()["version"]) == (202, "running", 1)


def test_the_first_of_several_waits_counts(api: Api) -> None:
    api.deploy()
    answer = api.invoke(headers={"prefer": "wait=0, wait=60"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0")


@pytest.mark.parametrize("prefer", ["wait=x", "wait", "nonsense", "wait=-1", ",,,", "respond-sync; a=b"])
def test_preferences_that_are_not_understood_are_ignored(api: Api, prefer: str) -> None:
    api.deploy()
    with standing_in(api):
        assert api.invoke(headers={"prefer": prefer}).status_code == 200


def test_a_disabled_function_is_409_and_an_unknown_one_404(api: Api) -> None:
    api.deploy(enabled=False)
    refused(api.invoke(), 409, "function_disabled")
    refused(api.call("POST", "/functions/greet/invoke", json={}), 409, "function_disabled")
    for slug in ("nope", "NOPE", "a%00b", "☃", "x" * 200):
        refused(api.invoke(slug), 404, "function_not_found")


def test_the_same_idempotency_key_gets_the_first_answer(api: Api) -> None:
    api.deploy()
    headers = {"idempotency-key": "order-1"}
    with standing_in(api) as jobs:
        first = api.invoke(json={"n": 1}, headers=headers)
        again = api.invoke(json={"n": 1}, headers=headers)
        assert again.json() == first.json()
        assert again.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in first.headers
        refused(api.invoke(json={"n": 2}, headers=headers), 422, "idempotency_key_reused")
        api.deploy("other")
        assert api.invoke("other", json={"n": 2}, headers=headers).status_code == 200
    assert len(jobs) == 2


def test_a_retry_while_the_first_call_runs_awaits_its_answer(api: Api) -> None:
    api.deploy()
    headers = {"idempotency-key": "once"}
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(api.invoke, json={"n": 1}, headers=headers) for _ in range(8)]
        eventually(lambda: api.call("GET", "/functions/greet/invocations").json()["items"], "the first call")
        with standing_in(api) as jobs:
            answers = [call.result() for call in calls]
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({answer.json()["invocation_id"] for answer in answers}) == 1
    assert len(jobs) == 1


def test_a_retry_of_a_call_that_nobody_awaited_is_told_of_its_end(api: Api) -> None:
    api.deploy()
    headers = {"idempotency-key": "once"}
    id = api.invoke(headers={**headers, "prefer": "respond-async"}).json()["invocation_id"]
    with ThreadPoolExecutor(1) as threads:
        retry = threads.submit(api.invoke, headers=headers)
        eventually(
            lambda: api.database.rows("select 1 from zmesh.waiters where invocation_id = %s", id), "the retry waits"
        )
        with standing_in(api):
            answer = retry.result()
    assert (answer.status_code, answer.json()["invocation_id"]) == (200, id)


def test_a_failure_is_replayed_as_well(api: Api) -> None:
    api.deploy()
    headers = {"idempotency-key": "once"}
    with standing_in(api, failing("error")) as jobs:
        assert [api.invoke(headers=headers).status_code for _ in range(2)] == [500, 500]
    assert len(jobs) == 1


def test_a_body_that_is_no_json_is_compared_as_it_is(api: Api) -> None:
    api.deploy()
    headers = {"idempotency-key": "once", "prefer": "respond-async"}
    assert api.invoke(content=b"\x01", headers=headers).status_code == 202
    assert api.invoke(content=b"\x01", headers=headers).headers["idempotent-replayed"] == "true"
    refused(api.invoke(content=b"\x02", headers=headers), 422, "idempotency_key_reused")
    refused(api.invoke("greet/x", content=b"\x01", headers=headers), 422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
def test_an_idempotency_key_that_is_none_is_refused(api: Api, key: str) -> None:
    api.deploy()
    refused(api.invoke(headers={"idempotency-key": key.encode("latin-1")}), 400, "invalid_header")


def test_concurrent_calls_are_each_answered_with_their_own_result(api: Api) -> None:
    api.deploy()
    with standing_in(api), ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(lambda n: api.invoke(json={"n": n}).json()["result"]["n"], range(300)))
    assert answers == list(range(300))


def test_one_bad_call_fails_none_of_its_neighbours(api: Api) -> None:
    """1e-99999 is JSON that only PostgreSQL refuses, so it fails the statement it shares."""
    api.deploy()
    json_type = {"content-type": "application/json"}

    def call(n: int) -> int:
        body = b'{"n": 1e-99999}' if n % 10 == 0 else b'{"n": 1}'
        return api.invoke(content=body, headers=json_type).status_code

    with standing_in(api), ThreadPoolExecutor(32) as threads:
        statuses = list(threads.map(call, range(200)))
    assert statuses == [422 if n % 10 == 0 else 200 for n in range(200)]


def test_an_answer_is_found_although_nobody_was_notified(api: Api) -> None:
    """Polling is the net under the notifications."""
    api.deploy()
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(api.invoke)
        id = eventually(lambda: api.call("GET", "/functions/greet/invocations").json()["items"], "the call")[0]["id"]
        api.database.rows("delete from zmesh.waiters where invocation_id = %s", id)
        with standing_in(api):
            assert call.result().status_code == 200


def test_a_forged_notification_answers_nobody(api: Api) -> None:
    api.deploy()
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(api.invoke, headers={"prefer": "wait=2"})
        id = eventually(lambda: api.call("GET", "/functions/greet/invocations").json()["items"], "the call")[0]["id"]
        channel = api.database.value("select channel from zmesh.waiters where invocation_id = %s", id)
        for forged in (id, "no id", "", '{"status": "success"}'):
            api.database.rows("select pg_notify(%s, %s)", channel, forged, url=api.project.url)
        assert call.result().status_code == 202


def test_any_page_may_call_the_public_route(api: Api) -> None:
    api.deploy()
    preflight = api.client.options(
        f"{api.url}/api/functions/greet",
        headers={
            "origin": "https://example.org",
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type, x-api-key",
        },
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-headers"] == "content-type, x-api-key"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    unknown = api.client.post(f"{api.url}/api/functions/greet", headers={"origin": "https://example.org"})
    assert (unknown.status_code, unknown.headers["access-control-allow-origin"]) == (401, "*")
    assert "access-control-allow-origin" not in api.call("GET", "/functions").headers


def test_each_function_gets_only_its_own_jobs(api: Api, stranger: Api) -> None:
    api.deploy()
    stranger.deploy()

    with standing_in(api) as jobs:
        assert api.invoke(json={"of": "mine"}).json()["result"] == {"of": "mine"}
        assert stranger.invoke(json={"of": "theirs"}).json()["result"] == {"of": "theirs"}
    assert [json.loads(job["payload"]) for job in jobs] == [{"of": "mine"}]


def test_calls_at_the_same_time_share_their_inserts(api: Api) -> None:
    """Rows of one statement have one transaction id."""
    api.deploy()
    with ThreadPoolExecutor(32) as threads:
        list(threads.map(lambda n: api.invoke(headers={"prefer": "respond-async"}), range(200)))
    found = api.database.row(
        "select count(*), count(distinct xmin::text) as statements from zmesh.queue where project_id = %s",
        api.project.id,
    )
    assert found["count"] == 200
    assert found["statements"] < 150
