"""ASGI and WSGI applications answer requests as under a server of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sdk.exchanges import ROOT, Answer, answer_of, exchange, request, run_here

ASGI_ECHO = """
    import json
    async def app(scope, receive, send):
        if scope['type'] != 'http':
            raise RuntimeError('no lifespan')
        body, more = b'', True
        while more:
            message = await receive()
            body, more = body + message['body'], message['more_body']
        seen = {name: scope[name] for name in ('method', 'scheme', 'root_path', 'path', 'server')}
        seen |= {'raw_path': scope['raw_path'].decode(), 'query': scope['query_string'].decode(), 'bytes': len(body)}
        shown = (b'x-mine', b'content-length')
        seen |= {'headers': [[name.decode(), value.decode()] for name, value in scope['headers'] if name in shown]}
        seen['project'] = scope['zmesh'].project_id[:4] + scope['state']['zmesh'].env.GREETING
        headers = [(b'content-type', b'application/json'), (b'set-cookie', b'a=1'), (b'set-cookie', b'b=2')]
        await send({'type': 'http.response.start', 'status': 201, 'headers': headers})
        await send({'type': 'http.response.body', 'body': json.dumps(seen).encode()})
"""
WSGI_ECHO = """
    import json
    def application(environ, start_response):
        body = environ['wsgi.input'].read()
        names = ('REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'SERVER_NAME', 'SERVER_PORT',
                 'wsgi.url_scheme', 'CONTENT_LENGTH', 'HTTP_X_MINE')
        seen = {name: environ[name] for name in names}
        seen |= {'bytes': len(body), 'project': environ['zmesh'].project_id[:4]}
        headers = [('Content-Type', 'application/json'), ('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2')]
        start_response('201 Created', headers)
        return [json.dumps(seen).encode()]
"""


def asgi(body: str) -> str:
    """An application without a lifespan."""
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    return f"import asyncio\nasync def app(scope, receive, send):\n    assert scope['type'] == 'http'\n{lines}\n"


def get(code: str, method: str = "GET", target: str = "/", **options: Any) -> Answer:
    return exchange("python", code, method, target, **options)


def here(code: str, method: str = "GET", target: str = "/", **options: Any) -> Answer:
    return answer_of(run_here(code, context={"request": request(method, target, **options)}))


def error(code: str) -> dict[str, Any]:
    return run_here(code, context={"request": request("GET", "/")}).error


def test_an_asgi_application_gets_the_request_as_below_a_mount_point() -> None:
    answer = get(
        ASGI_ECHO, "PUT", "/a%2Fb/%C3%A4?d=%20e", body=b"x" * 200_000, headers={"x-mine": "1"}, env={"GREETING": "!"}
    )
    assert (answer.status, answer.headers["set-cookie"]) == (201, ["a=1", "b=2"])
    assert answer.json == {
        "method": "PUT",
        "scheme": "https",
        "root_path": ROOT,
        "path": f"{ROOT}/a/b/ä",
        "raw_path": f"{ROOT}/a%2Fb/%C3%A4",
        "query": "d=%20e",
        "server": ["shop.example", 8700],
        "bytes": 200_000,
        "headers": [["x-mine", "1"], ["content-length", "200000"]],
        "project": "0190!",
    }


def test_a_wsgi_application_gets_the_request_as_below_a_mount_point() -> None:
    answer = get(WSGI_ECHO, "PUT", "/a%2Fb?d=%20e", body=b"x" * 100, headers={"x-mine": "1"})
    assert (answer.status, answer.headers["Set-Cookie"]) == (201, ["a=1", "b=2"])
    assert answer.json == {
        "REQUEST_METHOD": "PUT",
        "SCRIPT_NAME": ROOT,
        "PATH_INFO": "/a/b",
        "QUERY_STRING": "d=%20e",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "8700",
        "wsgi.url_scheme": "https",
        "CONTENT_LENGTH": "100",
        "HTTP_X_MINE": "1",
        "bytes": 100,
        "project": "0190",
    }


@pytest.mark.parametrize(
    "code",
    [
        "def handler(payload, zmesh): return [payload]\nasync def app(scope, receive, send): pass",
        "def handler(environ, context): return [environ]",
        "async def app(scope, receive, send): pass\nclass A:\n  def __call__(self, p, z): return [p]\nhandler = A()",
    ],
)
def test_a_plain_handler_keeps_its_place(code: str) -> None:
    assert run_here(code, {"n": 1}).result == [{"n": 1}]


@pytest.mark.parametrize(
    "code",
    [
        "class App:\n  async def __call__(self, scope, receive, send):\n{asgi}\nhandler = App()",
        "class App:\n  async def __call__(self, scope, receive, send):\n{asgi}\napp = App()",
        "async def handler(scope, receive, send):\n{asgi}",
        "class App:\n  def __call__(self, environ, start_response):\n{wsgi}\nhandler = App()",
        "class App:\n  def __call__(self, env, start_response):\n{wsgi}\napplication = App()",
    ],
)
def test_an_application_is_found_by_its_parameters(code: str) -> None:
    head = "    await send({'type': 'http.response.start', 'status': 200})\n"
    asgi_body = head + "    await send({'type': 'http.response.body', 'body': b'x'})"
    wsgi_body = "    start_response('200 OK', [])\n    return [b'x']"
    assert here(code.replace("{asgi}", asgi_body).replace("{wsgi}", wsgi_body)).text == "x"


def test_an_asgi_application_streams() -> None:
    code = asgi("""
await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/event-stream')]})
for n in range(3):
    await send({'type': 'http.response.body', 'body': b'data: %d' % n, 'more_body': True})
    await asyncio.sleep(0.02)
await send({'type': 'http.response.body'})
""")
    answer = here(code)
    assert (answer.text, answer.pieces) == ("data: 0data: 1data: 2", 3)


def test_a_wsgi_application_streams_and_its_iterable_is_closed() -> None:
    code = """
        class Body:
            def __iter__(self):
                yield b'b'
                yield b'c'
            def close(self):
                print('closed')
        def app(environ, start_response):
            write = start_response('200 OK', [('content-type', 'text/plain')])
            write(b'a')
            return Body()
    """
    answer = get(code)
    assert (answer.text, answer.pieces, answer.logged) == ("abc", 3, "info closed")


def test_a_wsgi_response_whose_length_is_known_goes_out_whole() -> None:
    code = """
        def app(environ, start_response):
            start_response('200 OK', [('content-length', '2')])
            yield b'a'
            yield b'b'
    """
    assert (here(code).text, [kind for kind, _ in here(code).ending.finals]) == ("ab", ["H"])


def test_an_empty_response_gets_no_content_type() -> None:
    """A cache would apply that of a 304 to the copy that it has."""
    code = """
        def app(environ, start_response):
            start_response('304 Not Modified', [('etag', 'x')])
            return [b'']
    """
    assert (here(code).status, here(code).headers) == (304, {"etag": "x"})
    code = asgi(
        """
        await send({'type': 'http.response.start', 'status': 304, 'headers': [(b'etag', b'x')]})
        await send({'type': 'http.response.body', 'body': b''})
    """.replace("        ", "")
    )
    assert (here(code).status, here(code).headers) == (304, {"etag": "x"})


def test_a_wsgi_error_handler_replaces_the_response_before_it_is_sent() -> None:
    code = """
        import sys
        def app(environ, start_response):
            start_response('200 OK', [])
            try:
                raise ValueError('no')
            except ValueError:
                start_response('503 Busy', [], sys.exc_info())
            return [b'busy']
    """
    assert (here(code).status, here(code).text) == (503, "busy")


def test_the_lifespan_surrounds_the_request_and_its_state_reaches_it() -> None:
    code = """
        async def app(scope, receive, send):
            if scope['type'] == 'lifespan':
                assert (await receive())['type'] == 'lifespan.startup'
                scope['state']['pool'] = 'pool'
                await send({'type': 'lifespan.startup.complete'})
                assert (await receive())['type'] == 'lifespan.shutdown'
                print('shut down')
                return await send({'type': 'lifespan.shutdown.complete'})
            await send({'type': 'http.response.start', 'status': 200})
            await send({'type': 'http.response.body', 'body': scope['state']['pool'].encode()})
    """
    answer = get(code)
    assert (answer.text, answer.logged) == ("pool", "info shut down")


def test_a_startup_that_fails_fails_the_run() -> None:
    code = """
        async def app(scope, receive, send):
            await receive()
            await send({'type': 'lifespan.startup.failed', 'message': 'no database'})
    """
    assert error(code) == {
        "type": "startup_failed",
        "message": "the application did not start: no database",
        "stack": None,
    }


def test_background_work_goes_on_after_the_response() -> None:
    code = asgi("""
await send({'type': 'http.response.start', 'status': 200})
await send({'type': 'http.response.body', 'body': b'now'})
assert (await receive())['type'] == 'http.request'
assert (await receive())['type'] == 'http.disconnect'
await asyncio.sleep(0.03)
print('later')
""")
    answer = get(code)
    assert (answer.text, answer.completed_early, answer.logged) == ("now", True, "info later")


@pytest.mark.parametrize("seconds", [0, 0.03])
def test_work_that_fails_after_the_response_is_logged_and_changes_nothing(seconds: float) -> None:
    code = asgi(f"""
await send({{'type': 'http.response.start', 'status': 500}})
await send({{'type': 'http.response.body', 'body': b'own page'}})
await asyncio.sleep({seconds})
raise ValueError('no')
""")
    answer = get(code)
    assert (answer.status, answer.text) == (500, "own page")
    assert "error ValueError: no" in answer.logged
    assert run_here(code).error["type"] == "ValueError"


JOB = """
    async def app(scope, receive, send):
        assert scope['type'] == 'http'
        headers = dict(scope['headers'])
        body = (await receive())['body']
        parts = [scope['method'].encode(), scope['path'].encode(), headers[b'x-zmesh-source'], body]
        await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]})
        await send({'type': 'http.response.body', 'body': b' '.join(parts)})
"""


def test_an_invocation_that_is_no_request_is_a_post_of_its_payload() -> None:
    assert run_here(JOB, {"n": 1}, context={"source": "schedule"}).result == 'POST / schedule {"n":1}'


def wsgi(status: str, kind: str, body: str) -> str:
    head = f"start_response('{status}', [('content-type', '{kind}')])"
    return f"def app(environ, start_response):\n {head}\n return [b'{body}']"


def test_its_result_is_what_the_body_says_and_a_status_from_400_on_its_failure() -> None:
    assert run_here(wsgi("200 OK", "application/json", '{"a": 1}')).result == {"a": 1}
    assert run_here(wsgi("204 No Content", "text/html", "")).result is None
    failed = run_here(wsgi("409 Conflict", "text/plain", "sold out")).error
    assert (failed["type"], failed["message"]) == (
        "http_error",
        "the application answered POST / with status 409: sold out",
    )


def test_no_client_passes_as_the_platform() -> None:
    code = """
        def app(environ, start_response):
            start_response('200 OK', [])
            return [str(environ.get('HTTP_X_ZMESH_SOURCE')).encode()]
    """
    assert here(code, headers={"x-zmesh-source": "invocation", "x_zmesh_source": "invocation"}).text == "None"


START = "await send({'type': 'http.response.start', 'status': 200})\n"
BODY = "await send({'type': 'http.response.body', 'body': b'x'})\n"
HEADER = START.replace("200", "200, 'headers': [(%s, %s)]")
INVALID = {
    asgi("pass"): "the ASGI application returned without a response",
    asgi(START): "the ASGI application returned in the middle of its response",
    asgi(START + START): "the ASGI application sent http.response.start twice",
    asgi(BODY): "the ASGI application sent http.response.body before http.response.start",
    asgi("try:\n    " + BODY + "except Exception:\n    pass\n" + START + BODY): "before http.response.start",
    asgi("await send({'type': 'websocket.accept'})"): "sent 'websocket.accept', which answers no HTTP request",
    asgi(START.replace("200", "99")): "status must be a whole number from 200 to 599, not 99",
    asgi(START.replace("200", "1000")): "status must be a whole number from 200 to 599, not 1000",
    asgi(HEADER % ("b'a'", "b'b\\r\\nc: d'")): "header a must be text of one line",
    asgi(HEADER % ("b'a b'", "b'c'")): "'a b' is not a header name",
    "def app(environ, start_response): return [b'x']": "the WSGI application did not call start_response",
    wsgi("OK", "text/plain", "x"): "status must be text such as",
    wsgi("99 No", "text/plain", "x"): "status must be text such as",
    wsgi("1000 No", "text/plain", "x"): "status must be text such as",
    wsgi("200 OK", "a\\r\\nb: c", "x"): "header content-type must be text of one line",
    wsgi("200 OK", "text/plain", "x").replace("b'x'", "'x'"): "made of bytes (got str)",
    "def app(environ, start_response):\n start_response('200 OK', [])\n start_response('200 OK', [])\n return []": (
        "called start_response twice without exc_info"
    ),
}


@pytest.mark.parametrize("code", INVALID)
def test_what_is_no_response_is_a_clear_error(code: str) -> None:
    failed = error(code)
    assert failed["type"] == "invalid_result"
    assert INVALID[code] in failed["message"]


def test_an_error_of_the_application_before_its_response_is_the_runs() -> None:
    assert error(asgi("raise LookupError('no')"))["type"] == "LookupError"
    assert error("def app(environ, start_response): raise LookupError('no')")["type"] == "LookupError"


def test_a_response_that_breaks_off_is_an_error_after_its_head() -> None:
    code = asgi(
        START + "await send({'type': 'http.response.body', 'body': b'x', 'more_body': True})\nawait asyncio.sleep(0.03)"
    )
    ending = run_here(code, context={"request": request("GET", "/")})
    assert [kind for kind, _ in ending.finals] == ["S", "C", "E"]
    assert json.loads(ending.finals[-1][1])["message"] == "the ASGI application returned in the middle of its response"


def test_the_log_says_that_an_application_does_not_answer_its_startup() -> None:
    code = """
        import asyncio
        async def app(scope, receive, send):
            if scope['type'] == 'lifespan':
                await asyncio.sleep(1.1)
                raise RuntimeError('no lifespan')
            await send({'type': 'http.response.start', 'status': 204})
            await send({'type': 'http.response.body'})
    """
    answer = get(code)
    assert (answer.status, answer.logged) == (204, "warning The application has not answered lifespan.startup for 1 s.")
