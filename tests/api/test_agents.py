"""The Model Context Protocol over HTTP: agents have the tools of `zmesh mcp`, and what their credentials permit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from api.agents import MOST_CALLS_OF_CALLER, MOST_CALLS_OF_PROJECT
from cli.agents.plans import Plans
from cli.agents.server import tools_of
from cli.client import Client
from cli.config import Connection
from tests.api.client import Api, ApiProcess, eventually, refused, standing_in
from tests.api.conftest import Backend
from tests.hostile_roles import demand_hashing

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
CODE = "def handler(payload, zmesh):\n    return 2\n"


@pytest.fixture(scope="module")
def second(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process = ApiProcess(backend.database, tmp_path_factory.mktemp("api") / "log")
    yield process.url
    process.stop()


def post(api: Api, message: dict[str, Any], **headers: str) -> httpx.Response:
    given = {"authorization": f"Bearer {api.token}", "accept": "application/json, text/event-stream", **headers}
    return api.client.post(f"{api.url}/mcp", json=message, headers={k: v for k, v in given.items() if v}, timeout=60)


def tool(api: Api, name: str, credentials: str = "", /, **arguments: Any) -> dict[str, Any]:
    """The answer of a tool, or the text of its error."""
    call = {**CALL, "params": {"name": name, "arguments": arguments}}
    answered = post(api, call, **({"authorization": f"Bearer {credentials}"} if credentials else {}))
    assert answered.status_code == 200, answered.text
    result = answered.json()["result"]
    text = result["content"][-1]["text"]
    return {"error": text} if result.get("isError") else dict(json.loads(text))


def test_the_official_client_finds_the_tools_of_the_command(api: Api) -> None:
    async def names() -> set[str]:
        client = httpx.AsyncClient(headers={"authorization": f"Bearer {api.token}"}, timeout=60)
        async with (
            client,
            streamable_http_client(f"{api.url}/mcp", http_client=client) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.initialize()
            found = await session.list_tools()
            return {tool.name for tool in found.tools}

    command = tools_of(Client(Connection(api.url, token=api.token)), Plans())
    assert asyncio.run(names()) == set(command)


def test_a_developer_plans_confirms_and_confirms_no_second_time(api: Api) -> None:
    api.deploy("greet")
    change = {"name": "greet", "code": CODE, "message": "two"}
    planned = tool(api, "deploy_function", **change)
    assert "+    return 2" in planned["plan"]["diff"]
    assert api.call("GET", "/functions/greet").json()["version"] == 1
    assert tool(api, "deploy_function", **change, confirm=planned["confirm"])["version"] == 2
    assert api.call("GET", "/functions/greet").json()["code"] == CODE
    assert tool(api, "roll_back", name="greet", version=1, confirm=planned["confirm"])["refused"]


def test_a_confirmation_is_known_to_every_process_and_to_no_other_caller(api: Api, stranger: Api, second: str) -> None:
    for one in (api, stranger):
        one.deploy("greet")
    change = {"name": "greet", "code": CODE}
    confirm = tool(api, "deploy_function", **change)["confirm"]
    assert tool(stranger, "deploy_function", **change, confirm=confirm)["refused"]
    assert tool(replace(api, url=second), "deploy_function", **change, confirm=confirm)["version"] == 2


def test_an_invocation_that_is_confirmed_at_two_processes_happens_once(api: Api, second: str) -> None:
    api.deploy("greet")
    call = {"name": "greet", "payload": {"n": 1}}
    with standing_in(api) as jobs:
        confirm = tool(api, "invoke_function", **call)["confirm"]
        first = tool(api, "invoke_function", **call, confirm=confirm)
        again = tool(replace(api, url=second), "invoke_function", **call, confirm=confirm)
    assert (first["id"], first["result"]) == (again["id"], {"n": 1})
    assert len(jobs) == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("deploy_function", {"code": CODE}),
        ("roll_back", {"version": 1}),
        ("invoke_function", {}),
        ("run_draft", {"code": CODE}),
        ("dry_run_function", {}),
        ("set_schedule", {"function": "greet", "cron": "@daily"}),
    ],
)
def test_a_viewer_is_refused_before_there_is_a_plan(api: Api, name: str, arguments: dict[str, Any]) -> None:
    api.deploy("greet")
    api.change_role("viewer")
    answered = tool(api, name, name="greet", **arguments)
    assert "This requires the role developer; yours is viewer. [forbidden]" in answered["error"]
    assert tool(api, "read_function", name="greet")["name"] == "greet"


def test_keys_have_the_tools_of_their_scope(api: Api) -> None:
    api.deploy("greet")
    deploys = api.call("POST", "/keys", json={"name": "CI", "scope": "deploy"}).json()["key"]
    assert tool(api, "deploy_function", deploys, name="greet", code=CODE)["plan"]
    for name in ("invoke_function", "run_draft"):
        assert "wrong_key_scope" in tool(api, name, deploys, name="greet")["error"]
    assert tool(api, "invoke_function", api.key, name="greet")["plan"]
    assert "not_logged_in" in tool(api, "deploy_function", api.key, name="greet", code=CODE)["error"]


def test_of_another_project_an_agent_finds_nothing(api: Api, stranger: Api) -> None:
    api.deploy("greet")
    assert "function_not_found" in tool(stranger, "read_function", name="greet")["error"]


def test_sql_is_read_as_the_role_of_the_project_and_only_for_its_owner(api: Api) -> None:
    api.database.rows("create table orders (id int)", url=api.project.url)
    asked = tool(api, "query_database", statement="select current_user::text as me, count(*) from orders")
    assert asked["rows"] == [[api.project.role, 0]]
    assert "read-only" in tool(api, "query_database", statement="insert into orders values (1)")["error"]
    api.change_role("developer")
    assert "database_unknown" in tool(api, "query_database", statement="select 1")["error"]


def test_nothing_but_a_bearer_is_a_credential(api: Api) -> None:
    refused(post(api, HELLO, authorization=""), 401, "missing_credentials")
    refused(post(api, HELLO, authorization="", **{"x-api-key": api.key}), 401, "missing_credentials")
    refused(post(api, HELLO, authorization="", cookie=f"zmesh-console={api.token}"), 401, "missing_credentials")
    refused(post(api, HELLO, authorization="Bearer x"), 401, "token_malformed")
    unknown = f"{api.key[:-4]}aaaa"
    refused(post(api, HELLO, authorization=f"Bearer {unknown}"), 401, "invalid_api_key")


def test_pages_of_other_origins_are_refused(api: Api) -> None:
    refused(post(api, HELLO, origin="https://evil.example"), 403, "origin_not_allowed")
    refused(post(api, HELLO, origin="null"), 403, "origin_not_allowed")
    refused(post(api, HELLO, origin="http://["), 403, "origin_not_allowed")
    answered = post(api, HELLO, origin=api.url)
    assert answered.status_code == 200
    assert "access-control-allow-origin" not in answered.headers


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS"])
def test_there_are_no_streams_and_no_sessions(api: Api, method: str) -> None:
    answered = api.client.request(method, f"{api.url}/mcp", headers={"authorization": f"Bearer {api.token}"})
    refused(answered, 405, "method_not_allowed")
    assert answered.headers["allow"] == "POST"
    assert "mcp-session-id" not in post(api, HELLO).headers


def test_what_is_no_message_of_the_protocol_is_refused(api: Api) -> None:
    for body in (b"", b"{", b"[]", b'{"jsonrpc": "2.0"}', b"\xff" * 100, b" " * 2_000_000):
        headers = {"authorization": f"Bearer {api.token}", "content-type": "application/json", "accept": "*/*"}
        answered = api.client.post(f"{api.url}/mcp", content=body, headers=headers)
        assert 400 <= answered.status_code < 500, body[:20]


def test_a_message_with_more_values_than_a_request_is_refused(api: Api) -> None:
    """Each of half a million wrong tags made an error, for two and a half seconds on the event loop."""
    for count in (3_000, 30_000):
        arguments = {"name": "x", "settings": {"tags": [1] * count}}
        message = {**CALL, "params": {"name": "deploy_function", "arguments": arguments}}
        refused(post(api, message), 422, "invalid_input")
    api.deploy("greet")
    assert tool(api, "invoke_function", name="greet", payload=[[]] * 15_000)["plan"]


def test_a_plan_for_code_that_takes_long_to_compare_comes_at_once(api: Api) -> None:
    """A hundred different lines, each as often as possible: hours for difflib."""
    code = "def handler(payload, zmesh):\n    return 1\n"
    lines = [f"# {n % 100}" for n in range(30_000)]
    api.deploy("greet", code="\n".join([code, *lines]))
    planned = tool(api, "deploy_function", name="greet", code="\n".join([code, *reversed(lines)]))
    assert planned["plan"]["diff"] == ["@ version new: too many lines to compare (30003 → 30003)"]


def test_no_row_of_a_project_fills_the_memory_of_the_api(api: Api) -> None:
    """libpq takes one as a whole: a gigabyte, if somebody asks for it."""
    for statement in ("select repeat('x', 50_000_000)", "select repeat('x', 100_000) from generate_series(1, 100)"):
        assert "answers_too_large" in tool(api, "query_database", statement=statement)["error"]
    many = tool(api, "query_database", statement="select n from generate_series(1, 5000000) n")
    assert "500" in many["rows_left_out"]


def test_a_role_with_an_expensive_verifier_delays_no_call(api: Api) -> None:
    demand_hashing(api.database, api.project)
    refusal = tool(api, "query_database", statement="select 1")["error"]
    assert "database_unreachable" in refusal
    assert "iterations" in refusal


def test_waiting_calls_of_one_caller_leave_room_for_others(api: Api, stranger: Api) -> None:
    api.deploy("greet")
    calls = [(credentials, n) for credentials in (api.token, api.key) for n in range(MOST_CALLS_OF_CALLER)]
    assert len(calls) == MOST_CALLS_OF_PROJECT
    confirms = [tool(api, "invoke_function", given, name="greet", payload=n)["confirm"] for given, n in calls]
    with ThreadPoolExecutor(len(calls)) as pool:
        waiting = [
            pool.submit(tool, api, "invoke_function", given, name="greet", payload=n, confirm=confirm)
            for (given, n), confirm in zip(calls, confirms, strict=True)
        ]
        queued = "select count(*) from zmesh.invocations where project_id = %s"
        eventually(lambda: api.database.value(queued, api.project.id) == len(confirms), "the calls to be queued")
        refused(post(api, HELLO), 429, "too_many_agent_calls")
        another = api.call("POST", "/keys", json={"name": "another"}).json()["key"]
        refused(post(api, HELLO, authorization=f"Bearer {another}"), 429, "too_many_agent_calls")
        assert post(stranger, HELLO).status_code == 200
        assert api.client.get(f"{api.url}/health").status_code == 200
        with standing_in(api):
            assert [one.result()["result"] for one in waiting] == [n for _, n in calls]
    assert post(api, HELLO).status_code == 200


def test_agents_are_refused_on_the_host_of_a_project(backend: Backend, api: Api, tmp_path: Any) -> None:
    hosts = f"shop.example={api.project.id}"
    process = ApiProcess(backend.database, tmp_path / "log", ZMESH_PROJECT_HOSTS=hosts)
    try:
        refused(post(replace(api, url=process.url), HELLO, host="shop.example"), 404, "not_found")
    finally:
        process.stop()
