"""Code of Workers, Deno, Supabase, Vercel and Next.js: fetch handlers, called with the web's Request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sdk.exchanges import Answer, exchange, request
from tests.sdk.runtimes import run

ECHO = """
  async fetch(request, env, ctx) {
    const { method, url, headers } = request;
    const body = await request.text();
    return Response.json({ method, url, mine: headers.get('x-mine'), body, greeting: env.GREETING,
                           project: ctx.zmesh.projectId.slice(0, 4), global: globalThis.zmesh === ctx.zmesh });
  },
"""


def fetch(code: str, method: str = "GET", target: str = "/", **options: Any) -> Answer:
    return exchange("javascript", code, method, target, **options)


@pytest.mark.parametrize(
    "code",
    [
        f"exports.default = {{ {ECHO} }};",
        f"exports.handler = {{ {ECHO} }};",
        f"class App {{ {ECHO.strip().rstrip(',')} }}\nmodule.exports = new App();",
    ],
)
def test_an_object_with_a_fetch_method_is_a_fetch_handler(code: str) -> None:
    answer = fetch(
        code, "POST", "/a%2Fb/c/?d=%20e&d=f", body="grüße".encode(), headers={"x-mine": "yes"}, env={"GREETING": "Hi"}
    )
    assert answer.json == {
        "method": "POST",
        "url": "https://shop.example:8700/a%2Fb/c/?d=%20e&d=f",
        "mine": "yes",
        "body": "grüße",
        "greeting": "Hi",
        "project": "0190",
        "global": True,
    }


@pytest.mark.parametrize(
    "code",
    [
        "exports.handler = (payload) => [payload]; exports.GET = () => new Response('no');",
        "exports.handler = (payload) => [payload]; Deno.serve(() => new Response('no'));",
        "exports.default = { handler: (payload) => [payload], fetch: () => new Response('no') };",
        "exports.default = (request) => [request];",
    ],
)
def test_a_plain_handler_keeps_its_place(code: str) -> None:
    assert run("javascript", code, {"n": 1}).result == [{"n": 1}]


def test_a_router_that_answers_to_any_name_is_not_taken_for_a_handler() -> None:
    code = """
      const target = { fetch: async (request) => new Response(new URL(request.url).pathname) };
      module.exports = new Proxy(target, { get: (object, name) => object[name] ?? (() => 'registered') });
    """
    assert fetch(code, target="/x").text == "/x"


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("export default (request, env) => new Response(request.method);", "POST"),
        ("const app = { fetch: (request) => new Response(request.method) }; export default app;", "POST"),
        ("export default (function (request) { return new Response(request.method); }).bind(null);", "POST"),
        ("export function POST(request) { return new Response(request.method); }", "POST"),
        ("export default async (payload) => new Response(payload.n);", "1"),
        ("export default async ({ n }, { response: zmesh }) => zmesh(String(n));", "1"),
        ("export default () => new Response('no parameters');", "no parameters"),
        ("export const handler = ({ n }) => new Response(n); export default { fetch() {} };", "1"),
    ],
)
def test_the_default_export_of_an_es_module_is_a_fetch_handler_unless_it_takes_a_payload(
    code: str, body: str, tmp_path: Path
) -> None:
    assert fetch(code, "POST", payload={"n": 1}, entry_file="index.mjs", cwd=tmp_path).text == body


METHODS = (
    "exports.GET = async (request, { params }) => new Response(JSON.stringify(await params), { headers: { a: 'b' } });"
)


@pytest.mark.parametrize(
    ("method", "status", "headers", "body"),
    [
        ("GET", 200, {"a": "b", "content-type": "text/plain;charset=UTF-8"}, b"{}"),
        ("HEAD", 200, {"a": "b", "content-type": "text/plain;charset=UTF-8"}, b""),
        ("OPTIONS", 204, {"allow": "GET, HEAD, OPTIONS"}, b""),
        ("POST", 405, {"allow": "GET, HEAD, OPTIONS"}, b""),
    ],
)
def test_exports_named_as_methods_answer_these_methods(
    method: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    answer = fetch(METHODS, method)
    assert (answer.status, answer.headers, answer.body) == (status, headers, body)


@pytest.mark.parametrize(
    "code",
    [
        "Deno.serve(HANDLER)",
        "Deno.serve({ port: 8000, onListen() {} }, HANDLER)",
        "Deno.serve({ handler: HANDLER })",
    ],
)
def test_deno_serve_gets_paths_that_begin_with_the_name_as_at_supabase(code: str) -> None:
    handler = "async (request) => new Response([new URL(request.url).pathname, Deno.env.get('GREETING')])"
    answer = fetch(code.replace("HANDLER", handler), target="/users/5", env={"GREETING": "Hi"})
    assert answer.text == "/send-welcome/users/5,Hi"


@pytest.mark.parametrize("rest", ["", "const word = await Promise.resolve('new');", "enum Word { New }"])
def test_a_new_function_of_supabase_runs_although_it_imports_types_from_an_address(rest: str) -> None:
    code = (
        "// Setup type definitions\n"
        'import "jsr:@supabase/functions-js/edge-runtime.d.ts"\n'
        f"{rest}\n"
        "Deno.serve(async (request: Request) => new Response(`Hello ${(await request.json()).name}!`));"
    )
    assert exchange("typescript", code, "POST", body=b'{"name": "Ada"}').text == "Hello Ada!"


def test_deno_serve_answers_errors_as_it_says() -> None:
    code = (
        "Deno.serve({ onError: (error) => new Response(error.message, { status: 503 }) }, () => { throw Error('no'); })"
    )
    assert (fetch(code).status, fetch(code).text) == (503, "no")


def test_a_listener_for_fetch_events_is_a_fetch_handler() -> None:
    code = "addEventListener('fetch', (event) => event.respondWith(new Response(event.request.method)))"
    assert fetch(code, "DELETE").text == "DELETE"


def test_what_deno_does_not_have_here_is_an_error_that_says_what_there_is() -> None:
    error = run("javascript", "exports.handler = () => Deno.readTextFile('x')").error
    assert error["type"] == "TypeError"
    assert error["message"].startswith(
        "Deno.readTextFile is not available: zMesh functions run on Node.js; of Deno there"
    )


def test_globals_of_other_platforms_are_there_only_where_the_code_names_them() -> None:
    code = "exports.handler = () => ['De' + 'no', 'Edge' + 'Runtime', 'zmesh'].map((name) => name in globalThis)"
    assert run("javascript", code).result == [False, False, True]


def test_a_response_keeps_bytes_status_and_every_cookie() -> None:
    code = """
      module.exports = { async fetch(request) {
        const body = new Uint8Array(await request.arrayBuffer()).reverse();
        const headers = [['set-cookie', 'a=1'], ['set-cookie', 'b=2'], ['x-y', 'z']];
        return new Response(body, { status: 201, headers });
      } };
    """
    answer = fetch(code, "PUT", body=b"\x00\xff\x80")
    assert (answer.status, answer.body) == (201, b"\x80\xff\x00")
    assert answer.headers == {"set-cookie": ["a=1", "b=2"], "x-y": "z", "content-type": "application/octet-stream"}


def test_a_response_may_be_of_a_librarys_own_implementation_of_the_standard() -> None:
    code = """
        class Ponyfill {
          [Symbol.toStringTag] = 'Response';
          status = 201;
          headers = new Headers({ a: 'b' });
          body = ReadableStream.from([Buffer.from('one '), Buffer.from('two')]);
          async arrayBuffer() {}
          async text() { return 'one two'; }
        }
        module.exports = { fetch: () => new Ponyfill() };
    """
    answer = fetch(code)
    assert (answer.status, answer.headers["a"], answer.text) == (201, "b", "one two")


def test_a_body_may_be_read_and_sent_in_pieces() -> None:
    code = """
      module.exports = { fetch: (request) => new Response(request.body.pipeThrough(new TransformStream({
        async transform(piece, controller) {
          for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate); // what takes a turn only is sent whole
          controller.enqueue(piece);
          controller.enqueue(new TextEncoder().encode('!'));
        },
      })), { headers: { 'content-type': 'text/plain' } }) };
    """
    answer = fetch(code, "POST", body=b"x" * 100_000)
    assert (answer.body.count(b"x"), answer.body.endswith(b"!"), answer.pieces > 1) == (100_000, True, True)


@pytest.mark.parametrize(
    "code",
    [
        "module.exports = { fetch(r, env, { waitUntil }) { waitUntil(LATER); return new Response('now'); } };",
        "Deno.serve(() => { EdgeRuntime.waitUntil(LATER); return new Response('now'); });",
        "exports.handler = (p, z) => { EdgeRuntime.waitUntil(LATER); return z.response('now'); };",
    ],
)
def test_work_passed_to_wait_until_goes_on_after_the_response(code: str) -> None:
    later = "new Promise((resolve) => setTimeout(resolve, 20)).then(() => console.log('later'))"
    answer = fetch(code.replace("LATER", later))
    assert (answer.text, answer.completed_early, answer.ending.lines) == ("now", True, [("info", "later")])


@pytest.mark.parametrize(
    ("promise", "logged"),
    [
        ("Promise.reject(new RangeError('no'))", "rejected: RangeError: no"),
        ("new Promise((_, reject) => setTimeout(reject, 5, new RangeError('no')))", "rejected: RangeError: no"),
        ("new Promise(() => {})", "can never settle"),
    ],
)
def test_work_that_fails_after_the_response_is_logged_and_changes_nothing(promise: str, logged: str) -> None:
    answer = fetch(
        f"module.exports = {{ fetch(r, e, ctx) {{ ctx.waitUntil({promise}); return new Response('now'); }} }};"
    )
    assert answer.text == "now"
    assert answer.ending.lines[0][0] == "error"
    assert logged in answer.logged


def test_work_that_fails_fails_an_invocation_that_is_no_request() -> None:
    code = "Deno.serve((r) => { EdgeRuntime.waitUntil(Promise.reject(new RangeError('no'))); return new Response(); })"
    assert run("javascript", code).error["type"] == "RangeError"


JOB = """
  module.exports = { async fetch(request) {
    const { method, url, headers } = request;
    return Response.json([method, url, headers.get('x-zmesh-source'), await request.json()]);
  } };
"""


def test_an_invocation_that_is_no_request_is_a_post_of_its_payload() -> None:
    assert run("javascript", JOB, {"n": 1}, context={"source": "schedule"}).result == [
        "POST",
        "http://localhost/",
        "schedule",
        {"n": 1},
    ]


@pytest.mark.parametrize(
    ("response", "result"),
    [
        ("new Response('text')", "text"),
        ("new Response(null, { status: 204 })", None),
        ("new Response('{\"a\":1}', { headers: { 'content-type': 'application/problem+json' } })", {"a": 1}),
    ],
)
def test_its_result_is_what_the_body_says(response: str, result: Any) -> None:
    assert run("javascript", f"exports.handler = {{ fetch: () => {response} }}").result == result


def test_its_failure_is_a_status_from_400_on() -> None:
    error = run("javascript", "exports.handler = { fetch: () => new Response('sold out', { status: 409 }) }").error
    assert (error["type"], error["message"]) == ("http_error", "the handler answered POST / with status 409: sold out")


def test_no_client_passes_as_the_platform() -> None:
    code = "exports.handler = { fetch: (request) => new Response(request.headers.get('x-zmesh-source')) }"
    assert fetch(code, headers={"x-zmesh-source": "invocation"}).text == ""


@pytest.mark.parametrize(
    ("returned", "type", "message"),
    [
        ("undefined", "invalid_result", "the fetch handler returned undefined, not a Response"),
        ("({ a: 1 })", "invalid_result", "the fetch handler returned an object (Object), not a Response"),
        ("'text'", "invalid_result", "the fetch handler returned a string, not a Response"),
        ("Response.error()", "RangeError", "status must be a whole number from 200 to 599, not 0"),
        ("(() => { const r = new Response('x'); r.body.getReader(); return r; })()", "invalid_result", "is locked"),
        (
            "new Response('x').text().then(() => new Response('x', { headers: { a: 'b\\r\\nc: d' } }))",
            "TypeError",
            "invalid",
        ),
        ("new Response(ReadableStream.from([1]))", "TypeError", "Uint8Array"),
        ("new Response(null, { status: 1000 })", "RangeError", "status"),
    ],
)
def test_what_is_no_response_is_a_clear_error(returned: str, type: str, message: str) -> None:
    code = f"module.exports = {{ fetch() {{ const value = {returned}; return value; }} }};"
    error = run("javascript", code, context={"request": request("GET", "/")}).error
    assert (error["type"], message in error["message"]) == (type, True), error


def test_a_body_that_fails_half_way_breaks_the_response_off() -> None:
    code = """
      module.exports = { fetch: () => new Response(ReadableStream.from((async function* () {
        yield new TextEncoder().encode('half');
        for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate); // or it would be sent whole
        throw new RangeError('no');
      })())) };
    """
    ending = run("javascript", code, context={"request": request("GET", "/")})
    assert [kind for kind, _ in ending.finals] == ["S", "C", "E"]


NODE_SERVER = """
  const server = require('node:http').createServer(async (request, response) => {
    const { method, url, headers, socket, zmesh } = request;
    if (url === '/gone') return socket.destroy();
    if (url === '/never') return;
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const body = Buffer.concat(pieces);
    if (url === '/pieces') {
      for (const piece of ['a', 'b', 'c']) {
        response.write(piece);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return response.end();
    }
    if (url === '/nothing') return response.writeHead(204).end();
    if (url === '/echo') return response.setHeader('set-cookie', ['a=1', 'b=2']).writeHead(201).end(body);
    const { host, 'x-mine': mine, 'x-zmesh-source': source } = headers;
    const { remoteAddress: from, encrypted } = socket;
    const project = zmesh.projectId.slice(0, 4);
    const seen = { method, url, host, mine, source, body: String(body), from, encrypted, project };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(seen));
  });
"""


@pytest.mark.parametrize(
    "export", ["module.exports = server;", "exports.default = server;", "exports.handler = server;"]
)
def test_a_server_of_node_answers_without_a_port(export: str) -> None:
    answer = fetch(NODE_SERVER + export, "POST", "/a%2Fb/?c=%20d", body="grüße".encode(), headers={"x-mine": "yes"})
    assert answer.json == {
        "method": "POST",
        "url": "/a%2Fb/?c=%20d",
        "host": "shop.example:8700",
        "mine": "yes",
        "body": "grüße",
        "from": "127.0.0.1",
        "encrypted": True,
        "project": "0190",
    }
    assert not answer.headers.keys() & {"connection", "keep-alive", "transfer-encoding"}


def test_a_server_of_node_answers_with_bytes_with_pieces_and_with_nothing() -> None:
    code = f"{NODE_SERVER}module.exports = server;"
    echo = fetch(code, "POST", "/echo", body=b"\x00\xff" * 100_000)
    assert (echo.status, echo.body, echo.headers["set-cookie"]) == (201, b"\x00\xff" * 100_000, ["a=1", "b=2"])
    pieces = fetch(code, target="/pieces")
    assert (pieces.text, pieces.pieces) == ("abc", 3)
    assert (fetch(code, target="/nothing").status, fetch(code, "HEAD", "/").body) == (204, b"")


def test_a_server_of_node_is_called_with_the_payload_of_a_job() -> None:
    result = run("javascript", f"{NODE_SERVER}module.exports = server;", {"n": 1}).result
    assert (result["method"], result["url"], result["body"], result["source"]) == ("POST", "/", '{"n":1}', "api")


@pytest.mark.parametrize(("target", "type"), [("/gone", "invalid_result"), ("/never", "no_result")])
def test_a_server_of_node_that_does_not_answer_fails(target: str, type: str) -> None:
    context = {"request": request("GET", target)}
    assert run("javascript", f"{NODE_SERVER}module.exports = server;", context=context).error["type"] == type


def test_a_server_of_node_that_also_listens_answers() -> None:
    code = f"{NODE_SERVER}server.listen(0, '127.0.0.1'); module.exports = server;"
    assert fetch(code, target="/x").json["url"] == "/x"
