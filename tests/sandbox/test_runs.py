"""What any function may count on, in every kind of sandbox."""

from __future__ import annotations

from tests.sandbox.hosts import Host


def test_returns_what_the_function_returns(host: Host, language: str) -> None:
    body = {"python": "return {'sum': payload['a'] + 1}", "javascript": "return {sum: payload.a + 1};"}[language]

    assert host.value(language, body, '{"a": 41}') == {"sum": 42}
