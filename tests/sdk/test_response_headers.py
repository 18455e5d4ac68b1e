"""Headers of responses: repeated ones, stale ones, and those that are not a function's to send."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from api.invoking.response_headers import BEYOND_THE_FUNCTION
from tests.sdk.runtimes import SDK, Ending, run
from tests.sdk.test_zmesh_http import both

COOKIES = ["a=1; Path=/", "b=2"]
BODY = b'{"answer": "text that is long enough to be worth packing"}'


class Packed(BaseHTTPRequestHandler):
    """Answers with gzip, two cookies and headers of the connection."""

    def do_GET(self) -> None:
        body = gzip.compress(BODY)
        self.send_response(200)
        lines = [("Content-Type", "application/json"), ("Content-Encoding", "gzip"), ("Keep-Alive", "timeout=5")]
        for name, value in [*lines, *(("Set-Cookie", cookie) for cookie in COOKIES)]:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def packed() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Packed)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def sent(ending: Ending) -> tuple[dict[str, object], bytes]:
    """Headers and body, whether it came whole or piece by piece."""
    if [kind for kind, _ in ending.finals] == ["H"]:
        return lowered(ending), ending.response[2]
    (_, head), *pieces, (end, _) = ending.finals
    assert end == "Z"
    return json.loads(head)["headers"], b"".join(piece for _, piece in pieces)


def lowered(ending: Ending) -> dict[str, object]:
    return {name.lower(): value for name, value in ending.response[1].items()}


@pytest.mark.parametrize(
    ("javascript", "python"),
    [
        ("{ 'Set-Cookie': COOKIES }", "{'Set-Cookie': COOKIES}"),
        (
            "{ 'Set-Cookie': COOKIES[0], 'set-cookie': COOKIES[1] }",
            "{'Set-Cookie': COOKIES[0], 'set-cookie': COOKIES[1]}",
        ),
        ("COOKIES.map((one) => ['Set-Cookie', one])", "[('Set-Cookie', one) for one in COOKIES]"),
        ("new Headers(COOKIES.map((one) => ['Set-Cookie', one]))", "message()"),
    ],
)
def test_a_header_may_have_several_values(language: str, javascript: str, python: str) -> None:
    ending = both(
        language,
        f"const COOKIES = {COOKIES}; return zmesh.response('', {{ headers: {javascript} }})",
        f"""
            from email.message import Message
            COOKIES = {COOKIES}
            def message():
                made = Message()
                for one in COOKIES:
                    made['Set-Cookie'] = one
                return made
            return zmesh.response('', headers={python})
        """,
    )
    assert lowered(ending)["set-cookie"] == COOKIES


def test_an_answer_of_fetch_is_passed_on_as_it_reads(packed: str) -> None:
    for code in (f"fetch('{packed}')", f"fetch('{packed}').then((a) => new Response(a.body, a))"):
        ending = run("javascript", f"exports.handler = () => {code};")
        headers, body = sent(ending)
        assert (body, headers["content-type"]) == (BODY, "application/json")
        assert headers["set-cookie"] == COOKIES
        assert not {"content-encoding", "content-length", "keep-alive", "connection"} & headers.keys()
        assert ending.lines == []


def test_an_answer_of_an_http_client_is_passed_on_as_it_reads(language: str, packed: str) -> None:
    ending = both(
        language,
        f"const a = await fetch('{packed}'); return zmesh.response(await a.text(), {{ headers: a.headers }})",
        f"""
            import gzip, urllib.request
            with urllib.request.urlopen('{packed}') as a:
                return zmesh.response(gzip.decompress(a.read()), headers=a.headers)
        """,
    )
    assert ending.response[2] == BODY
    assert lowered(ending)["set-cookie"] == COOKIES
    assert "content-encoding" not in lowered(ending)


@pytest.mark.parametrize(
    ("encoding", "packed_body"), [("gzip", gzip.compress(BODY, mtime=0)), ("deflate", zlib.compress(BODY))]
)
def test_a_body_that_is_encoded_keeps_saying_so(language: str, encoding: str, packed_body: bytes) -> None:
    numbers = list(packed_body)
    headers = f"{{'Content-Encoding': '{encoding}'}}"
    ending = both(
        language,
        f"return zmesh.response(Buffer.from({numbers}), {{ headers: {headers} }})",
        f"return zmesh.response(bytes({numbers}), headers={headers})",
    )
    assert (lowered(ending)["content-encoding"], ending.response[2]) == (encoding, packed_body)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br"])
def test_a_body_that_was_decoded_says_no_encoding(language: str, encoding: str) -> None:
    headers = f"{{'Content-Encoding': '{encoding}'}}"
    ending = both(
        language,
        f"return zmesh.response(Buffer.from('plain text'), {{ headers: {headers} }})",
        f"return zmesh.response(b'plain text', headers={headers})",
    )
    assert "content-encoding" not in lowered(ending)


def test_a_header_that_reaches_beyond_the_function_is_named_in_the_log(language: str) -> None:
    headers = "{'X-Accel-Redirect': '/etc/passwd', 'Clear-Site-Data': '*', 'X-Zmesh-User-Id': '1', 'X-Mine': 'a'}"
    ending = both(
        language,
        f"return zmesh.response('', {{ headers: {headers} }})",
        f"return zmesh.response('', headers={headers})",
    )
    assert lowered(ending).keys() - {"content-type"} == {"x-mine"}
    assert ending.lines == [
        ("warning", f"The response header {name} is not sent: it would apply beyond this function.")
        for name in ("X-Accel-Redirect", "Clear-Site-Data", "X-Zmesh-User-Id")
    ]


def test_a_cookie_of_the_whole_host_is_named_in_the_log(language: str) -> None:
    headers = "{'Set-Cookie': ['__Host-id=1; Path=/; Secure', 'b=2']}"
    ending = both(
        language,
        f"return zmesh.response('', {{ headers: {headers} }})",
        f"return zmesh.response('', headers={headers})",
    )
    [(level, message)] = ending.lines
    assert level == "warning"
    assert "The cookie __Host-id is sent only if the project has its own host name" in message


def test_streams_follow_the_same_rules(language: str) -> None:
    ending = both(
        language,
        """
            async function* pieces() { yield 'text'; }
            const headers = { 'Content-Encoding': 'gzip', 'X-Sendfile': '/', 'X-A': ['1', '2'] };
            return zmesh.response(pieces(), { headers });
        """,
        """
            headers = {'Content-Encoding': 'gzip', 'X-Sendfile': '/', 'X-A': ['1', '2']}
            return zmesh.response(iter(['text']), headers=headers)
        """,
    )
    assert json.loads(dict(ending.finals)["S"])["headers"] == {
        "X-A": ["1", "2"],
        "content-type": "text/plain; charset=utf-8",
    }
    assert [level for level, _ in ending.lines] == ["warning"]


def test_both_languages_warn_of_what_the_api_leaves_out(language: str) -> None:
    ending = both(
        language,
        f"return [...require('{SDK}/javascript/lib/headers.js').BEYOND_THE_FUNCTION]",
        "from zmesh_runtime.headers import BEYOND_THE_FUNCTION; return sorted(BEYOND_THE_FUNCTION)",
    )
    assert set(ending.result) == BEYOND_THE_FUNCTION
