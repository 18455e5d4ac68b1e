"""What a client sends and what it gets, through the API, the queue and the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.platform import Platform

PYTHON = """
def handler(payload, zmesh):
    r = zmesh.request
    return zmesh.response([r.path, r.raw_path, r.raw_query], headers={'Set-Cookie': ['a=1', 'b=2'], 'X-Sendfile': '/'})
"""
JAVASCRIPT = """
exports.handler = (payload, zmesh) => {
  const { path, rawPath, rawQuery } = zmesh.request;
  return new Response(JSON.stringify([path, rawPath, rawQuery]), {
    headers: [['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2'], ['X-Sendfile', '/']],
  });
};
"""
STREAM = """
def handler(payload, zmesh):
    return zmesh.response(iter(['x']), headers={'Set-Cookie': ['a=1', 'b=2']})
"""


@pytest.fixture(scope="module")
def platform(running_platform: Platform) -> Iterator[Platform]:
    running_platform.deploy("http-python", PYTHON)
    running_platform.deploy("http-javascript", JAVASCRIPT, "javascript")
    running_platform.deploy("http-stream", STREAM)
    yield running_platform
    for name in ("http-python", "http-javascript", "http-stream"):
        running_platform.request("DELETE", f"/functions/{name}")


def get(platform: Platform, target: str) -> httpx.Response:
    url = httpx.URL(platform.url, raw_path=f"/api/functions/{target}".encode())
    return httpx.get(url, headers={"x-api-key": platform.api_key}, timeout=60)


def cookies(answer: httpx.Response) -> list[str]:
    return [cookie.partition(";")[0] for cookie in answer.headers.get_list("set-cookie")]


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_path_query_and_repeated_headers_arrive_whole(platform: Platform, language: str) -> None:
    answer = get(platform, f"http-{language}/a%2Fb//c/?d=%20e")
    assert answer.json() == ["/a/b/c", "/a%2Fb//c/", "d=%20e"]
    assert cookies(answer) == ["a=1", "b=2"]
    assert "x-sendfile" not in answer.headers
    shown: dict[str, Any] = platform.request("GET", f"/invocations/{answer.headers['x-zmesh-invocation-id']}").json()
    [line] = shown["logs"]
    assert line["message"].startswith(
        "The response header X-Sendfile" if language == "python" else "The response header x-sendfile"
    )


def test_a_stream_sends_repeated_headers_too(platform: Platform) -> None:
    answer = get(platform, "http-stream")
    assert (answer.text, cookies(answer)) == ("x", ["a=1", "b=2"])
