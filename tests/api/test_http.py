"""The public route as HTTP: what the caller's headers do, and what every answer tells."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from litestar import Litestar, get

from api.http.errors import HANDLERS
from api.http.middleware import Edge
from observing.logs import TextFormatter
from tests.api.client import Api, echo, eventually, standing_in


def test_a_request_id_is_given_back_and_reaches_the_function(api: Api) -> None:
    api.deploy()
    with standing_in(api) as jobs:
        answer = api.invoke(headers={"x-request-id": "req-1"})
        own = api.invoke().headers["x-request-id"]
    assert answer.headers["x-request-id"] == "req-1"
    assert re.fullmatch("[0-9a-f]{32}", own)
    assert [json.loads(job["request"])["headers"]["x-request-id"] for job in jobs] == ["req-1", own]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é"])
def test_an_invalid_request_id_is_replaced(api: Api, given: str) -> None:
    answer = api.client.get(f"{api.url}/health", headers={"x-request-id": given.encode("latin-1")})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_refusals_have_a_request_id_too(api: Api) -> None:
    answer = api.client.post(f"{api.url}/api/functions/greet", headers={"x-request-id": "req-1"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (401, "req-1")


def test_an_internal_error_names_the_request_to_quote_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(TextFormatter())

    @get("/broken")
    async def broken() -> None:
        raise RuntimeError("not foreseen")

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(Edge(Litestar([broken], exception_handlers=HANDLERS, logging_config=None), {}))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.get("/broken", headers={"x-request-id": "req-1"})

    with caplog.at_level(logging.ERROR):
        problem = asyncio.run(request()).json()
    assert (problem["status"], problem["code"]) == (500, "internal_error")
    assert (problem["detail"], problem["hint"]) == ("Internal server error.", "Quote request id req-1 to the operator.")
    assert "ERROR internal_error internal error in GET request_id=req-1\n" in caplog.text
    assert "RuntimeError: not foreseen" in caplog.text


def test_the_answer_says_how_long_queue_start_and_run_took(api: Api) -> None:
    api.deploy()
    with standing_in(api, lambda job: {**echo(job), "duration_ms": 7}):
        short = api.invoke().headers["server-timing"]
        read_from_the_row = api.invoke(json="x" * 9000).headers["server-timing"]
    for timing in (short, read_from_the_row):
        assert re.fullmatch(r"queue;dur=[\d.]+, start;dur=[\d.]+, run;dur=7", timing), timing
    assert "server-timing" not in api.invoke(headers={"prefer": "respond-async"}).headers


def test_trace_context_and_tracing_headers_reach_the_function(api: Api) -> None:
    api.deploy()
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1"}
    with standing_in(api) as jobs:
        assert api.invoke(headers=headers).status_code == 200
    assert headers.items() <= json.loads(jobs[0]["request"])["headers"].items()


def test_an_options_request_that_is_not_a_preflight_reaches_the_function(api: Api) -> None:
    api.deploy()
    with standing_in(api) as jobs:
        assert api.invoke(method="OPTIONS").status_code == 200
        assert api.client.options(f"{api.url}/api/functions/greet").status_code == 401
    assert json.loads(jobs[0]["request"])["method"] == "OPTIONS"


def test_a_run_goes_on_when_its_caller_is_gone(api: Api) -> None:
    api.deploy()
    address = urlsplit(api.url)
    with socket.create_connection((address.hostname, address.port)) as caller:
        lines = ["POST /api/functions/greet HTTP/1.1", "host: h", f"x-api-key: {api.key}", "content-length: 7"]
        caller.sendall("\r\n".join([*lines, "", '{"n":1}']).encode())
        [queued] = eventually(lambda: api.call("GET", "/functions/greet/invocations").json()["items"], "the call")
    with standing_in(api):
        ended = eventually(
            lambda: (i := api.call("GET", f"/invocations/{queued['id']}").json())["status"] == "success" and i,
            "the end of the run",
        )
    assert ended["result"] == {"n": 1}
