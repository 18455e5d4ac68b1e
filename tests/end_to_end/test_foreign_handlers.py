"""Handlers of other platforms, through the API, the queue and the sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.platform import Platform, eventually

WORKER = """
module.exports = { async fetch(request, env, ctx) {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === '/later') ctx.waitUntil(later(ctx.zmesh.db));
  const headers = [['set-cookie', 'a=1'], ['set-cookie', 'b=2'], ['content-type', 'application/json']];
  const seen = [request.method, pathname, searchParams.get('q'), await request.text()];
  return new Response(JSON.stringify(seen), { headers });
} };
async function later(db) {
  while ((await db.select('foreign_signals', { name: 'go' })).length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await db.insert('foreign_signals', { name: 'done' });
}
"""
ASGI = """
import asyncio, json
async def app(scope, receive, send):
    assert scope['type'] == 'http'
    path = scope['path'].removeprefix(scope['root_path'])
    seen = [scope['method'], path, scope['query_string'].decode(), (await receive())['body'].decode()]
    headers = [(b'set-cookie', b'a=1'), (b'set-cookie', b'b=2'), (b'content-type', b'application/json')]
    await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
    await send({'type': 'http.response.body', 'body': json.dumps(seen).encode()})
    if path == '/later':
        db = scope['zmesh'].db
        while not db.select('foreign_signals', {'name': 'go'}):
            await asyncio.sleep(0.02)
        db.insert('foreign_signals', {'name': 'done'})
"""
CODE = {"foreign-javascript": (WORKER, "javascript"), "foreign-python": (ASGI, "python")}


LAMBDA = {
    "javascript": """exports.handler = async (event, context) => event.version === '2.0'
        ? { statusCode: 201, body: event.rawPath + event.body, cookies: ['a=1', 'b=2'] } : { got: event };""",
    "python": """
def handler(event, context):
    if 'requestContext' not in event:
        return {'got': event}
    return {'statusCode': 201, 'body': event['rawPath'] + event['body'], 'cookies': ['a=1', 'b=2']}
""",
}


@pytest.fixture(scope="module", params=CODE)
def slug(request: pytest.FixtureRequest, running_platform: Platform) -> Iterator[str]:
    running_platform.deploy(request.param, *CODE[request.param])
    running_platform.sql("create table if not exists foreign_signals (name text)")
    yield request.param
    running_platform.sql("drop table foreign_signals")
    running_platform.request("DELETE", f"/functions/{request.param}")


def ask(platform: Platform, method: str, target: str, content: bytes = b"") -> httpx.Response:
    headers = {"x-api-key": platform.api_key, "content-type": "text/plain"}
    url = f"{platform.url}/api/functions/{target}"
    return httpx.request(method, url, headers=headers, content=content, timeout=60)


def test_requests_below_the_functions_path_are_answered_as_sent(running_platform: Platform, slug: str) -> None:
    answer = ask(running_platform, "PUT", f"{slug}/users/5?q=x", "grüße".encode())
    query = "x" if slug == "foreign-javascript" else "q=x"
    assert answer.json() == ["PUT", "/users/5", query, "grüße"]
    assert [line.partition(";")[0] for line in answer.headers.get_list("set-cookie")] == ["a=1", "b=2"]


def test_a_head_request_has_the_headers_and_no_body(running_platform: Platform, slug: str) -> None:
    answer = ask(running_platform, "HEAD", f"{slug}/users/5")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "application/json", b"")


def test_the_client_has_the_whole_response_before_the_run_ends(running_platform: Platform, slug: str) -> None:
    answer = ask(running_platform, "GET", f"{slug}/later")
    assert answer.json()[1] == "/later"
    id = answer.headers["x-zmesh-invocation-id"]
    assert running_platform.request("GET", f"/invocations/{id}").json()["status"] == "running"
    running_platform.sql("insert into foreign_signals values ('go')")
    ended = eventually(
        lambda: (
            (found := running_platform.request("GET", f"/invocations/{id}").json())["status"] != "running" and found
        ),
        "the end of the run",
    )
    assert ended["status"] == "success"
    assert running_platform.sql("delete from foreign_signals where name = 'done' returning name") == [{"name": "done"}]
    running_platform.sql("delete from foreign_signals")


def test_an_insert_by_sql_is_a_post_whose_body_is_the_result(running_platform: Platform, slug: str) -> None:
    id = running_platform.enqueue(slug, {"n": 1})
    ended = eventually(
        lambda: (
            (found := running_platform.request("GET", f"/invocations/{id}").json())["status"] == "success" and found
        ),
        "the end of the run",
    )
    method, path, _, body = ended["result"]
    assert (method, path, body.replace(" ", "")) == ("POST", "/", '{"n":1}')


@pytest.mark.parametrize("language", LAMBDA)
def test_a_lambda_handler_answers_requests_and_takes_payloads(running_platform: Platform, language: str) -> None:
    running_platform.deploy("foreign-lambda", LAMBDA[language], language, style="lambda")
    answer = ask(running_platform, "POST", "foreign-lambda/a%2Fb", b"body")
    assert (answer.status_code, answer.text) == (201, "/a%2Fbbody")
    assert [line.partition(";")[0] for line in answer.headers.get_list("set-cookie")] == ["a=1", "b=2"]
    called = running_platform.request("POST", "/functions/foreign-lambda/invoke", json={"payload": {"n": 1}})
    assert called.json()["result"] == {"got": {"n": 1}}
    running_platform.request("DELETE", "/functions/foreign-lambda")


def test_a_server_of_node_needs_neither_a_port_nor_a_network(running_platform: Platform) -> None:
    code = """
      const app = require('node:http').createServer(async (request, response) => {
        response.write(request.url);
        setImmediate(() => response.end(request.zmesh.invocation.source));
      });
      module.exports = app;
    """
    running_platform.deploy("foreign-server", code, "javascript", network="none")
    assert ask(running_platform, "GET", "foreign-server/users?q=x").text == "/users?q=xapi"
    running_platform.request("DELETE", "/functions/foreign-server")
