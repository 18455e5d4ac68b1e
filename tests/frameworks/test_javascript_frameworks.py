"""Applications of JavaScript's web frameworks, unmodified, with the runtime of functions around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from hatch_build import install_node_packages
from tests.frameworks.pages import example
from tests.platform import Platform
from tests.sdk.exchanges import Answer, exchange
from tests.sdk.runtimes import run

HERE = Path(__file__).parent
HONO = """
const { Hono } = require('hono');
const { setCookie } = require('hono/cookie');
const { streamSSE } = require('hono/streaming');
const { cors } = require('hono/cors');

const app = new Hono();
app.use('*', cors());
app.get('/users/:id', (c) => {
  setCookie(c, 'a', '1');
  setCookie(c, 'b', '2');
  c.executionCtx.waitUntil(new Promise((resolve) => setTimeout(resolve, 20)).then(() => console.log('later')));
  return c.json({ id: c.req.param('id'), q: c.req.query('q'), greeting: c.env.GREETING,
                  project: c.executionCtx.zmesh.projectId.slice(0, 4) });
});
app.post('/upload', async (c) => {
  const { file } = await c.req.parseBody();
  return c.body(await file.arrayBuffer(), 201, { 'content-type': 'application/octet-stream' });
});
app.get('/events', (c) => streamSSE(c, async (stream) => {
  for (let n = 0; n < 3; n++) {
    await stream.writeSSE({ data: String(n) });
    await stream.sleep(10);
  }
}));
app.get('/broken', () => { throw new RangeError('no'); });
"""
ITTY = """
const { AutoRouter, json, error } = require('itty-router');
const router = AutoRouter();
router.get('/users/:id', ({ params, query }) => ({ id: params.id, q: query.q }))
      .post('/upload', async (request) => json(await request.json(), { status: 201 }));
"""
FOLDER = """
import { Hono } from "hono";
import { setCookie } from "hono/cookie";
import { stream } from "hono/streaming";

const app = new Hono();
app.get("/users/:id", (c) => {
  setCookie(c, "a", "1");
  setCookie(c, "b", "2");
  return c.json({ id: c.req.param("id"), url: c.req.url });
});
app.post("/echo", (c) => stream(c, async (out) => {
  for await (const piece of c.req.raw.body) await out.write(piece);
}));
export default app;
"""
FORM = (
    b'--edge\r\ncontent-disposition: form-data; name="file"; filename="a.bin"\r\n'
    b"content-type: application/octet-stream\r\n\r\n\x00\xff\r\n--edge--\r\n"
)


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    install_node_packages(HERE)


def get(code: str, method: str = "GET", target: str = "/", **options: Any) -> Answer:
    environment = {"NODE_PATH": str(HERE / "node_modules")}
    return exchange("javascript", code, method, target, process_env=environment, **options)


@pytest.mark.parametrize("export", ["module.exports = app;", "exports.default = app;"])
def test_hono_answers_below_the_functions_path(export: str) -> None:
    answer = get(HONO + export, target="/users/5?q=x", headers={"origin": "https://a.example"}, env={"GREETING": "Hi"})
    assert answer.json == {"id": "5", "q": "x", "greeting": "Hi", "project": "0190"}
    assert answer.headers["set-cookie"] == ["a=1; Path=/", "b=2; Path=/"]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert (answer.completed_early, answer.logged) == (True, "info later")


def test_hono_answers_as_at_supabase() -> None:
    code = "const app = new (require('hono').Hono)().basePath('/send-welcome');"
    code += "app.get('/users/:id', (c) => c.text(c.req.param('id'))); Deno.serve(app.fetch);"
    assert get(code, target="/users/5").text == "5"


def test_hono_reads_uploads_streams_and_answers_its_own_errors() -> None:
    code = HONO + "module.exports = app;"
    multipart = {"content-type": "multipart/form-data; boundary=edge"}
    answer = get(code, "POST", "/upload", body=FORM, headers=multipart)
    assert (answer.status, answer.body) == (201, b"\x00\xff")
    assert get(code, target="/events").text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
    assert get(code, target="/nowhere").status == 404
    broken = get(code, target="/broken")
    assert (broken.status, "RangeError: no" in broken.logged) == (500, True)


@pytest.mark.parametrize(
    "export", ["module.exports = router;", "exports.default = router;", "module.exports = { ...router };"]
)
def test_itty_router_answers_below_the_functions_path(export: str) -> None:
    assert get(ITTY + export, target="/users/5?q=x").json == {"id": "5", "q": "x"}
    answer = get(ITTY + export, "POST", "/upload", body=b'{"n":1}', headers={"content-type": "application/json"})
    assert (answer.status, answer.json) == (201, {"n": 1})


def test_the_example_of_the_guide_answers() -> None:
    code = example("greet-hono/index.js")
    assert exchange("javascript", code, target="/users/5", cwd=HERE).json["id"] == "5"
    created = exchange("javascript", code, "POST", "/users", body=b'{"n":1}', cwd=HERE)
    assert (created.status, created.json) == (201, {"n": 1})


def test_express_answers_through_its_adapter_for_lambda() -> None:
    code = (
        "const express = require('express'); const serverless = require('serverless-http'); const app = express();\n"
        "app.get('/hello/:name', (request, response) => response.json({ hello: request.params.name }));\n"
        "app.post('/echo', express.raw(), (request, response) => {\n"
        "  response.cookie('a', '1').cookie('b', '2').status(201).send(request.body);\n"
        "});\n"
        "exports.handler = serverless(app, { binary: ['application/octet-stream'] });"
    )
    assert exchange("javascript", code, target="/hello/Ada", cwd=HERE, style="lambda").json == {"hello": "Ada"}
    headers = {"content-type": "application/octet-stream"}
    echo = exchange("javascript", code, "POST", "/echo", body=b"\x00\xff", headers=headers, cwd=HERE, style="lambda")
    assert (echo.status, echo.body) == (201, b"\x00\xff")
    assert echo.headers["set-cookie"] == ["a=1; Path=/", "b=2; Path=/"]
    assert exchange("javascript", code, target="/none", cwd=HERE, style="lambda").status == 404


EXPRESS = """
const express = require('express');
const app = express();
app.use(express.json());
app.get('/users/:id', (request, response) => {
  const { params, query, secure, zmesh } = request;
  response.json({ id: params.id, q: query.q, secure, project: zmesh.projectId.slice(0, 4) });
});
app.post('/echo', express.raw(), (request, response) => {
  response.cookie('a', '1').cookie('b', '2').status(201).send(request.body);
});
app.post('/', (request, response) => response.json({ got: request.body }));
app.get('/broken', async () => { throw new RangeError('no'); });
app.get('/file', (request, response) => response.sendFile('package.json', { root: process.cwd() }));
"""


@pytest.mark.parametrize("export", ["module.exports = app;", "exports.default = app;", "exports.handler = app;"])
def test_an_application_of_express_answers_as_it_is(export: str) -> None:
    code = EXPRESS + export
    assert get(code, target="/users/5?q=x").json == {"id": "5", "q": "x", "secure": True, "project": "0190"}
    headers = {"content-type": "application/octet-stream"}
    echo = get(code, "POST", "/echo", body=b"\x00\xff", headers=headers)
    assert (echo.status, echo.body, echo.headers["set-cookie"]) == (201, b"\x00\xff", ["a=1; Path=/", "b=2; Path=/"])


def test_an_application_of_express_serves_files_jobs_and_its_own_errors() -> None:
    code = f"{EXPRESS}module.exports = app;"
    assert get(code, target="/file", cwd=HERE).json["name"] == "frameworks"
    assert get(code, target="/none").status == 404
    broken = get(code, target="/broken")
    assert (broken.status, "RangeError: no" in broken.logged) == (500, True)
    environment = {"NODE_PATH": str(HERE / "node_modules")}
    assert run("javascript", code, {"n": 1}, process_env=environment).result == {"got": {"n": 1}}


@pytest.mark.parametrize(
    "code",
    [
        "const app = new (require('koa'))(); app.use((ctx) => { ctx.body = { path: ctx.path }; });",
        "const app = require('fastify')(); app.get('/a/b', async (request) => ({ path: request.url }));",
        "const app = require('connect')(); app.use((request, response) => response.setHeader('content-type', "
        "'application/json').end(JSON.stringify({ path: request.url })));",
    ],
    ids=["koa", "fastify", "connect"],
)
def test_applications_of_koa_fastify_and_connect_answer_as_they_are(code: str) -> None:
    assert get(f"{code} module.exports = app;", target="/a/b").json == {"path": "/a/b"}


def test_the_example_of_express_in_the_guide_answers() -> None:
    code = example("greet-express/index.js")
    assert exchange("javascript", code, target="/hello/Ada", cwd=HERE).json == {"hello": "Ada"}


def test_hono_in_a_folder_answers_through_the_public_route(running_platform: Platform) -> None:
    package = HERE / "node_modules" / "hono"
    paths = [path for path in package.glob("dist/**/*.js") if "cjs" not in path.parts] + [package / "package.json"]
    files = {f"node_modules/hono/{path.relative_to(package)}": path.read_text("utf-8") for path in paths}
    files["index.js"] = FOLDER
    function = {"name": "hono", "language": "javascript", "entry_file": "index.js", "files": files}
    created = running_platform.request("POST", "/functions", json=function)
    assert created.status_code == 201, created.text
    url, headers = f"{running_platform.url}/api/functions/hono", {"x-api-key": running_platform.api_key}
    user = httpx.get(f"{url}/users/5?q=x", headers=headers, timeout=60)
    host = running_platform.url.partition("//")[2]
    assert user.json() == {"id": "5", "url": f"http://{host}/users/5?q=x"}
    assert [line.partition(";")[0] for line in user.headers.get_list("set-cookie")] == ["a=1", "b=2"]
    echo = httpx.post(f"{url}/echo", headers=headers, content=b"\x00\xff" * 100_000, timeout=60)
    assert echo.content == b"\x00\xff" * 100_000
    running_platform.request("DELETE", "/functions/hono")
