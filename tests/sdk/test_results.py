"""What a handler returns, as the caller gets it."""

from __future__ import annotations

import json

import pytest

from tests.sdk.conftest import wrapped
from tests.sdk.runtimes import run


@pytest.mark.parametrize(
    ("language", "value", "result"),
    [
        ("javascript", "undefined", None),
        ("javascript", "null", None),
        ("javascript", "{ a: undefined, b: () => {}, d: new Date(0), e: [undefined] }",
         {"d": "1970-01-01T00:00:00.000Z", "e": [None]}),
        ("javascript", "'\\u2028 ü \\ud83d\\ude00'", "\u2028 ü 😀"),
        ("javascript", "'\\ud800'", "\ud800"),
        ("javascript", "{ toJSON: () => 'mine' }", "mine"),
        ("python", "None", None),
        ("python", "(1, [2.5, {'a': True}])", [1, [2.5, {"a": True}]]),
        ("python", "{1: 'a', None: 'b', True: 'c'}", {"1": "c", "null": "b"}),
        ("python", "{4}", [4]),
        ("python", "__import__('datetime').datetime(2024, 2, 29, 12, 30)", "2024-02-29T12:30:00"),
        ("python", "__import__('datetime').date(2024, 2, 29)", "2024-02-29"),
        ("python", "__import__('datetime').time(1, 2)", "01:02:00"),
        ("python", "__import__('datetime').timedelta(days=-1, seconds=5, microseconds=500)", "-P0DT86394.9995S"),
        ("python", "__import__('datetime').timedelta(hours=30)", "P1DT21600S"),
        ("python", "__import__('decimal').Decimal('1.10')", "1.10"),
        ("python", "__import__('uuid').UUID(int=5)", "00000000-0000-0000-0000-000000000005"),
        ("python", "__import__('ipaddress').ip_address('10.0.0.1')", "10.0.0.1"),
        ("python", "__import__('types').MappingProxyType({'a': 1})", {"a": 1}),
        ("python", "'\\ud800'", "\ud800"),
        ("python", "'\\u2028 ü 😀'", "\u2028 ü 😀"),
        ("python", "2**200", 2**200),
    ],
)  # fmt: skip
def test_values_have_a_json_form(language: str, value: str, result: object) -> None:
    assert run(language, wrapped(language, f"return {value}")).result == result


@pytest.mark.parametrize(
    ("language", "body", "why"),
    [
        ("javascript", "const a = {}; a.a = a; return a", "it contains itself"),
        ("javascript", "return { n: 12n }", "a BigInt is not JSON"),
        ("javascript", "return 12n", "a BigInt is not JSON"),
        ("javascript", "return () => 5", "a function is not JSON"),
        ("javascript", "return Symbol('x')", "a symbol is not JSON"),
        ("javascript", "return { get x() { throw new Error('trap') } }", "trap"),
        ("javascript", "return { toJSON() { throw null } }", "null"),
        ("javascript", "let a = []; for (let i = 0; i < 1e6; i++) a = [a]; return a", "nested too deeply"),
        ("python", "a = []\na.append(a)\nreturn a", "it contains itself"),
        ("python", "return float('nan')", "NaN and Infinity"),
        ("python", "return {'x': [float('inf')]}", "NaN and Infinity"),
        ("python", "return b'x'", "base64"),
        ("python", "return {'x': object()}", "an object of type object is not JSON"),
        ("python", "return lambda: 5", "an object of type function is not JSON"),
        ("python", "return {(1, 2): 3}", "keys must be"),
        ("python", "return 10**5000", "4300 digits"),
        ("python", "a = []\nfor _ in range(100000): a = [a]\nreturn a", "nested too deeply"),
    ],
)
def test_a_result_that_is_not_json_is_told_why(language: str, body: str, why: str) -> None:
    error = run(language, wrapped(language, body)).error
    assert error["type"] == "invalid_result"
    assert why in error["message"]


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_a_result_over_its_limit_is_refused_with_both_sizes(language: str) -> None:
    long = {"javascript": "'ü'.repeat(600)", "python": "'ü' * 600"}[language]
    for value in (long, f"zmesh.response({long})"):
        error = run(language, wrapped(language, f"return {value}"), result_bytes=1000).error
        assert error["type"] == "result_too_large"
        assert "1000" in error["message"]
        assert "120" in error["message"]


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_large_payloads_and_results_pass_whole(language: str) -> None:
    payload = ["ü" * 1000] * 2500
    code = {"javascript": "exports.handler = (p) => p", "python": "def handler(p): return p"}[language]
    assert run(language, code, payload).result == payload
    assert len(json.dumps(payload)) > 8_000_000


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_nothing_left_running_is_waited_for(language: str) -> None:
    body = {
        "javascript": "setInterval(() => {}, 1000); setTimeout(() => console.log('late'), 60000); return 1",
        "python": "import threading, time\nthreading.Thread(target=time.sleep, args=[60]).start()\nreturn 1",
    }[language]
    assert run(language, wrapped(language, body), timeout=20).result == 1
