"""zmesh.request, zmesh.response, zmesh.env and what else is on the zmesh object; no database is needed."""

from __future__ import annotations

import base64
import gzip
import zlib
from typing import Any

import pytest

from tests.sdk.conftest import wrapped
from tests.sdk.runtimes import PROJECT_ID, Ending, run

REQUEST = {
    "method": "POST",
    "path": "/api/functions/send-welcome",
    "headers": {"X-Signature": "abc", "content-type": "application/json"},
    "query": {"tag": ["a", "b"], "page": ["2"]},
    "body_base64": base64.b64encode('{"ü": 1}'.encode()).decode(),
}


def both(language: str, javascript: str, python: str, **options: Any) -> Ending:
    return run(language, wrapped(language, {"javascript": javascript, "python": python}[language]), **options)


def test_the_request_has_method_path_headers_query_and_raw_body(language: str) -> None:
    ending = both(
        language,
        javascript="""
            const r = zmesh.request;
            return [r.method, r.path, r.headers['x-signature'], r.query.page, r.query.tag, r.queryAll.tag,
                Buffer.isBuffer(r.body), r.body.length, r.text(), r.json()]
        """,
        python="""
            r = zmesh.request
            return [r.method, r.path, r.headers['x-signature'], r.query['page'], r.query['tag'], r.query_all['tag'],
                isinstance(r.body, bytes), len(r.body), r.text(), r.json()]
        """,
        context={"request": REQUEST},
    )
    assert ending.result == [
        "POST",
        "/api/functions/send-welcome",
        "abc",
        "2",
        "a",
        ["a", "b"],
        True,
        9,
        '{"ü": 1}',
        {"ü": 1},
    ]


def test_path_and_query_are_there_as_they_were_sent_too(language: str) -> None:
    request = REQUEST | {"path": "/a/b", "raw_path": "/a%2Fb/", "raw_query": "x=%20", "unparsed_reason": "why"}
    ending = both(
        language,
        "const r = zmesh.request; return [r.path, r.rawPath, r.raw_path, r.rawQuery, r.unparsedReason]",
        "r = zmesh.request; return [r.path, r.raw_path, r.rawPath, r.raw_query, r.unparsed_reason]",
        context={"request": request},
    )
    assert ending.result == ["/a/b", "/a%2Fb/", "/a%2Fb/", "x=%20", "why"]
    reason = both(
        language,
        "return zmesh.request.unparsedReason",
        "return zmesh.request.unparsedReason",
        context={"request": REQUEST},
    )
    assert reason.result is None


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("Deflate", zlib.compress), ("", bytes)])
def test_a_compressed_body_reads_as_what_it_was_and_stays_as_it_came(language: str, coding: str, pack: Any) -> None:
    packed = pack(b"\xef\xbb\xbf" + '{"ü": 1}'.encode())
    request = REQUEST | {
        "headers": {"content-encoding": coding} if coding else {},
        "body_base64": base64.b64encode(packed).decode(),
    }
    ending = both(
        language,
        "const r = zmesh.request; return [r.json(), r.text().includes('ü'), r.body.length]",
        "r = zmesh.request; return [r.json(), 'ü' in r.text(), len(r.body)]",
        context={"request": request},
    )
    assert ending.result == [{"ü": 1}, True, len(packed)]


def test_without_http_there_is_no_request(language: str) -> None:
    assert both(language, "return zmesh.request === null", "return zmesh.request is None").result is True


@pytest.mark.parametrize(
    ("javascript", "python", "body", "content_type"),
    [
        ("'<b>ü</b>'", "'<b>ü</b>'", "<b>ü</b>".encode(), "text/plain; charset=utf-8"),
        ("Buffer.from([0, 255])", "bytes([0, 255])", b"\x00\xff", "application/octet-stream"),
        ("{ a: [1] }", "{'a': [1]}", b'{"a":[1]}', "application/json"),
        ("null", "None", b"", None),
    ],
)
def test_a_response_is_sent_as_it_stands(
    language: str, javascript: str, python: str, body: bytes, content_type: str | None
) -> None:
    ending = both(
        language,
        f"return zmesh.response({javascript}, {{ status: 201, headers: {{ 'X-A': 'b' }} }})",
        f"return zmesh.response({python}, status=201, headers={{'X-A': 'b'}})",
    )
    status, headers, sent = ending.response
    assert (status, headers.pop("X-A"), sent) == (201, "b", body)
    assert headers == ({} if content_type is None else {"content-type": content_type})


def test_a_content_type_of_ones_own_is_kept_whatever_its_case(language: str) -> None:
    ending = both(
        language,
        "return zmesh.response('x', { headers: { 'Content-Type': 'text/csv' } })",
        "return zmesh.response('x', {'headers': {'Content-Type': 'text/csv'}})",
    )
    assert ending.response == (200, {"Content-Type": "text/csv"}, b"x")


@pytest.mark.parametrize("status", ["99", "199", "600", "'200'", "200.5"])
def test_an_impossible_status_is_refused(language: str, status: str) -> None:
    ending = both(
        language,
        f"return zmesh.response('', {{ status: {status} }})",
        f"return zmesh.response('', status={status})",
    )
    assert "status must be a whole number from 200 to 599" in ending.error["message"]


@pytest.mark.parametrize(
    "header", ["'X A': 'b'", "'': 'b'", r"'X-A': 'b\r\nSet-Cookie: c=d'", r"'X\n-A': 'b'", "'X-A': '€'", "'X-A': []"]
)
def test_a_header_that_would_break_the_answer_is_refused(language: str, header: str) -> None:
    ending = both(
        language,
        f"return zmesh.response('', {{ headers: {{ {header} }} }})",
        f"return zmesh.response('', headers={{ {header} }})",
    )
    assert "header" in ending.error["message"]


def test_a_misspelt_option_of_a_response_is_refused(language: str) -> None:
    ending = both(
        language,
        "return zmesh.response('', { statusCode: 404 })",
        "return zmesh.response('', {'statusCode': 404})",
    )
    assert "statusCode" in ending.error["message"]


def test_a_response_of_the_web_standard_works_in_javascript() -> None:
    code = "exports.handler = async () => new Response('hello', { status: 202, headers: { 'X-A': 'b' } });"
    status, headers, body = run("javascript", code).response
    assert (status, headers["x-a"], body) == (202, "b", b"hello")


def test_environment_variables_are_on_zmesh_env_and_in_the_process(language: str) -> None:
    ending = both(
        language,
        "return [zmesh.env.GREETING, zmesh.env['GREETING'], process.env.GREETING, zmesh.env['a=b']]",
        "import os; return [zmesh.env.GREETING, zmesh.env['GREETING'], os.environ['GREETING'], zmesh.env['a=b']]",
        env={"GREETING": "Hällo", "a=b": "c", "": "d", "NUL": "a\0b"},
    )
    assert ending.result == ["Hällo", "Hällo", "Hällo", "c"]


def test_a_missing_environment_variable_is_undefined_or_an_error_that_helps() -> None:
    assert run("javascript", "exports.handler = (p, zmesh) => zmesh.env.NOPE === undefined").result is True
    code = "def handler(payload, zmesh): return [zmesh.env.get('NOPE'), 'NOPE' in zmesh.env, zmesh.env.GREETNG]"
    error = run("python", code, env={"GREETING": "x"}).error
    assert error["type"] == "AttributeError"
    assert "did you mean GREETING?" in error["message"]


def test_the_object_knows_its_project_and_its_invocation(language: str) -> None:
    ending = both(
        language,
        """
            const { id, attempt, version } = zmesh.invocation;
            return [zmesh.projectId, id, attempt, zmesh.invocation.function, version]
        """,
        """
            i = zmesh.invocation
            return [zmesh.project_id, i.id, i.attempt, i.function, i.version]
        """,
        context={"invocation_id": "42", "attempt": 2},
    )
    assert ending.result == [PROJECT_ID, "42", 2, "send-welcome", 3]
