"""`zmesh mcp` as an agent uses it: started by the SDK's own client, which calls its tools."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, TextContent

from cli.agents.server import server
from cli.client import Client as ApiClient
from cli.config import Connection
from tests.docs.guides import Guide
from tests.platform import ZMESH, Platform, clean_environment

GREETING = (
    "def handler(payload, zmesh):\n    print('greeting', payload['name'])\n    return {'hello': payload['name']}\n"
)


@dataclass
class Agent:
    """Calls tools, and plans before it changes anything."""

    client: Client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        answer = await self._call(tool, arguments)
        assert not answer.is_error, answer
        found: dict[str, Any] = json.loads(_texts(answer)[-1])
        return found

    async def refused(self, tool: str, **arguments: Any) -> str:
        answer = await self._call(tool, arguments)
        assert answer.is_error, answer
        return _texts(answer)[-1]

    async def change(self, tool: str, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The plan, and what became of it."""
        planned = await self.call(tool, **arguments)
        return planned["plan"], await self.call(tool, **arguments, confirm=planned["confirm"])

    async def _call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        answer = await self.client.call_tool(tool, arguments)
        assert isinstance(answer, CallToolResult)
        return answer


def _texts(answer: CallToolResult) -> list[str]:
    return [block.text for block in answer.content if isinstance(block, TextContent)]


def as_agent(target: Any, work: Callable[[Agent], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Client(target) as client:
            await work(Agent(client))

    asyncio.run(run())


def test_an_agent_writes_runs_deploys_and_rolls_back_a_function(running_platform: Platform) -> None:
    name = f"agent-{secrets.token_hex(4)}"

    async def work(agent: Agent) -> None:
        new = {"name": name, "language": "python", "code": GREETING}
        plan, ran = await agent.change("run_draft", **new, payload={"name": "Ada"}, dry_run=False)
        assert plan["note"] == "There is no such function yet."
        assert (ran["status"], ran["result"]) == ("success", {"hello": "Ada"})
        assert ran["log"][0].endswith("info greeting Ada")
        assert "function_not_found" in await agent.refused("read_function", name=name)

        settings = {"variables": {"PASSWORD": "sesame"}, "timeout_ms": 5000}
        plan, deployed = await agent.change("deploy_function", **new, settings=settings, message="first")
        assert "+    return {'hello': payload['name']}" in plan["diff"]
        assert plan["settings"]["timeout_ms"] == [None, 5000]
        assert "entry_file" not in plan["settings"], "a single file has none"
        assert plan["variables"] == {"set": ["PASSWORD"], "removed": []}
        assert deployed == {"action": "created", "function": name, "version": 1}
        read = await agent.call("read_function", name=name)
        assert (read["code"], read["variables"]) == (GREETING, ["PASSWORD"])
        assert "sesame" not in json.dumps(read)

        worse = {"name": name, "code": "def run(payload, zmesh):\n    return 1 / 0\n", "entry_point": "run"}
        plan, deployed = await agent.change("deploy_function", **worse)
        assert plan["settings"] == {"entry_point": ["handler", "run"]}
        assert deployed["version"] == 2
        _, failed = await agent.change("invoke_function", name=name, payload={"name": "Bob"})
        assert (failed["status"], failed["error"]["type"]) == ("error", "ZeroDivisionError")
        [listed] = (await agent.call("list_invocations", function=name, status="error"))["items"]
        assert listed["id"] == failed["id"]
        assert (await agent.call("read_invocation", id=failed["id"]))["payload"] == {"name": "Bob"}

        plan, restored = await agent.change("roll_back", name=name, version=1)
        assert "-    return 1 / 0" in plan["code"]
        assert restored == {"action": "rolled back", "function": name, "version": 3}
        assert (await agent.call("read_file", name=name))["text"] == GREETING
        assert (await agent.call("list_versions", name=name))["items"][-1]["message"] == "first"
        broken = {"name": name, "code": "def handler(:\n"}
        confirm = (await agent.call("deploy_function", **broken))["confirm"]
        assert "syntax_error" in await agent.refused("deploy_function", **broken, confirm=confirm)

    started = json.loads(Guide("agents").text(".mcp.json"))["mcpServers"]["zmesh"]
    assert started["command"] == "zmesh"
    credentials = {"ZMESH_URL": running_platform.url, "ZMESH_TOKEN": running_platform.token}
    as_agent(
        StdioServerParameters(
            command=ZMESH[0],
            args=[*ZMESH[1:], *started["args"]],
            env={**clean_environment(), **credentials},
            cwd=running_platform.folder,
        ),
        work,
    )


def test_a_dry_run_needs_no_plan_and_tells_what_it_would_have_changed(running_platform: Platform) -> None:
    table = f"agent_{secrets.token_hex(4)}"
    running_platform.sql(f"create table {table} (id integer)")
    inserts = f"def handler(payload, zmesh):\n    return zmesh.db.insert('{table}', {{'id': payload['id']}})\n"
    name = running_platform.deploy(table.replace("_", "-"), inserts)["slug"]

    async def work(agent: Agent) -> None:
        ran = await agent.call("dry_run_function", name=name, payload={"id": 7})
        [row] = ran["would_have_changed"]["rows"]
        assert (ran["result"], row["operation"], row["new"]) == ({"id": 7}, "insert", {"id": 7})
        plan, ran = await agent.change("run_draft", name=name, code=f"#\n{inserts}", payload={"id": 8})
        [row] = ran["would_have_changed"]["rows"]
        assert (plan["dry_run"], row["new"]) == (True, {"id": 8})

    as_agent(server(api_client(running_platform, running_platform.token)), work)
    assert running_platform.sql(f"select * from {table}") == []
    running_platform.sql(f"drop table {table}")


def test_a_plan_says_what_callers_get_where_an_alias_decides(running_platform: Platform) -> None:
    name = running_platform.deploy(f"agent-{secrets.token_hex(4)}", GREETING)["slug"]
    running_platform.deploy(name, "def handler(payload, zmesh):\n    return 2\n")
    running_platform.request("PUT", f"/functions/{name}/aliases/live", json={"versions": {"1": 100}})

    async def work(agent: Agent) -> None:
        expected = {"alias": "live", "versions": {"1": 100}}
        for tool, arguments in (("invoke_function", {}), ("roll_back", {"version": 1})):
            assert (await agent.call(tool, name=name, **arguments))["plan"]["callers_get"] == expected
        [version, _] = (await agent.call("list_versions", name=name))["items"]
        assert (version["version"], version["current"]) == (2, True)
        assert "-    return 2" in (await agent.call("compare_versions", name=name, before=2, after=1))["code"]
        assert (await agent.call("read_file", name=name, version=1))["text"] == GREETING

    as_agent(server(api_client(running_platform, running_platform.token)), work)


def test_a_plan_is_void_once_something_has_changed(running_platform: Platform) -> None:
    name = running_platform.deploy(f"agent-{secrets.token_hex(4)}", GREETING)["slug"]

    async def work(agent: Agent) -> None:
        change = {"name": name, "code": "def handler(payload, zmesh):\n    return 2\n"}
        confirm = (await agent.call("deploy_function", **change))["confirm"]
        running_platform.deploy(name, "def handler(payload, zmesh):\n    return 3\n")
        again = await agent.call("deploy_function", **change, confirm=confirm)
        assert again["refused"]
        assert "-    return 3" in again["plan"]["diff"]
        assert (await agent.call("deploy_function", **change, confirm=again["confirm"]))["action"] == "updated"

    as_agent(server(api_client(running_platform, running_platform.token)), work)


def test_an_agent_plans_changes_and_pauses_a_schedule(running_platform: Platform) -> None:
    name = running_platform.deploy(f"agent-{secrets.token_hex(4)}", GREETING)["slug"]

    async def work(agent: Agent) -> None:
        plan, made = await agent.change("set_schedule", name=name, function=name, cron="0 3 * * *")
        assert len(plan["next_due"]) == 5
        assert plan["changes"] == {"cron": [None, "0 3 * * *"], "function": [None, name]}
        assert made["action"] == "created"
        plan, made = await agent.change("set_schedule", name=name, enabled=False)
        assert (plan["changes"], made["schedule"]["next_due_at"]) == ({"enabled": [True, False]}, None)
        [listed] = (await agent.call("list_schedules", function=name))["items"]
        assert not listed["enabled"]
        assert (await agent.call("set_schedule", name=name, enabled=False))["action"] == "unchanged"
        assert "cron" in await agent.refused("set_schedule", name=f"{name}-2", function=name, cron="every day")

    as_agent(server(api_client(running_platform, running_platform.token)), work)


def test_credentials_that_may_not_are_refused_by_the_server(running_platform: Platform) -> None:
    name = running_platform.deploy(f"agent-{secrets.token_hex(4)}", GREETING)["slug"]
    invited = running_platform.request(
        "POST", "/invitations", json={"email": f"{name}@example.com", "role": "viewer"}
    ).json()
    password = secrets.token_urlsafe(16)
    viewer = running_platform.client.post(
        f"{running_platform.url}/auth/accept", json={"token": invited["token"], "password": password}
    ).json()["token"]

    async def as_viewer(agent: Agent) -> None:
        assert (await agent.call("read_function", name=name))["slug"] == name
        change = {"name": name, "code": "def handler(payload, zmesh):\n    return 2\n"}
        assert "yours is viewer" in await agent.refused("deploy_function", **change), "before there is a plan"
        assert "yours is viewer" in await agent.refused("invoke_function", name=name, payload={"name": "Ada"})

    async def with_key(agent: Agent) -> None:
        _, ran = await agent.change("invoke_function", name=name, payload={"name": "Ada"})
        assert ran["result"] == {"hello": "Ada"}
        assert "API key" in await agent.refused("read_function", name=name)

    as_agent(server(api_client(running_platform, viewer)), as_viewer)
    as_agent(server(ApiClient(Connection(running_platform.url, api_key=running_platform.api_key))), with_key)
    assert running_platform.history(name)[0]["source"] == "api"


def api_client(platform: Platform, token: str) -> ApiClient:
    return ApiClient(Connection(platform.url, token))


def test_sql_of_an_agent_reads_and_cannot_write(running_platform: Platform) -> None:
    table = f"agent_{secrets.token_hex(4)}"
    running_platform.sql(f"create table {table} (id serial, price numeric)")
    running_platform.sql(f"insert into {table} (price) select n::numeric from generate_series(1, 600) n")
    writes = [
        f"delete from {table}",
        f"commit; delete from {table}",
        f"rollback; begin read write; delete from {table}; commit",
        f"with gone as (delete from {table} returning id) select * from gone",
        f"do $$ begin commit; delete from {table}; end $$",
        f"do $$ begin set transaction read write; delete from {table}; end $$",
        "set transaction read write",
        "select set_config('transaction_read_only', 'off', true)",
        f"select nextval('{table}_id_seq')",
        "insert into zmesh.invocations (function) values ('send-welcome')",
        f"explain analyze delete from {table}",
    ]

    async def work(agent: Agent) -> None:
        found = await agent.call("query_database", statement=f"select id, price, id from {table} order by id")
        assert (found["columns"], found["rows"][0]) == (["id", "price", "id_2"], [1, "1", 1])
        assert (len(found["rows"]), "rows_left_out" in found) == (500, True)
        assert (await agent.call("query_database", statement=f"select from {table} where false"))["rows"] == []
        assert "42P01" in await agent.refused("query_database", statement="select * from nowhere")
        raises = "do $$ begin raise exception '%', repeat('x', 100000); end $$"
        assert len(await agent.refused("query_database", statement=raises)) < 5000
        for write in writes:
            assert await agent.refused("query_database", statement=write)

    as_agent(server(api_client(running_platform, running_platform.token), running_platform.database_url), work)
    assert running_platform.sql(f"select count(*) from {table}")[0]["count"] == 600
    running_platform.sql(f"drop table {table}")


def test_sql_that_writes_is_planned_by_undoing_it(running_platform: Platform) -> None:
    table = f"agent_{secrets.token_hex(4)}"
    running_platform.sql(f"create table {table} as select n as id from generate_series(1, 9) n")

    def left() -> int:
        return int(running_platform.sql(f"select count(*) from {table}")[0]["count"])

    async def work(agent: Agent) -> None:
        deletes = {"statement": f"delete from {table} where id <= 2 returning id"}
        planned = await agent.call("change_database", **deletes)
        assert (planned["plan"]["result"], planned["plan"]["rows"], left()) == ("DELETE 2", [[1], [2]], 9)
        running_platform.sql(f"delete from {table} where id = 1")
        again = await agent.call("change_database", **deletes, confirm=planned["confirm"])
        assert (bool(again["refused"]), again["plan"]["result"], left()) == (True, "DELETE 1", 8)
        done = await agent.call("change_database", **deletes, confirm=again["confirm"])
        assert (done["action"], done["result"], left()) == ("committed", "DELETE 1", 7)
        for statement in (
            f"delete from {table}; commit",
            f"commit; delete from {table}",
            f"do $$ begin delete from {table}; commit; end $$",
        ):
            assert await agent.refused("change_database", statement=statement)
        assert left() == 7

    target = server(
        api_client(running_platform, running_platform.token), running_platform.database_url, sql_writes=True
    )
    as_agent(target, work)
    running_platform.sql(f"drop table {table}")
