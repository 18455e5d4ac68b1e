"""Handlers of AWS Lambda run with events of payload format 2.0, in both languages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sdk.exchanges import Answer, answer_of, request, run_here
from tests.sdk.runtimes import Ending, run

RETURN = {
    "javascript": "exports.handler = async (event, context) => (%s);",
    "python": "def handler(event, context):\n    return %s",
}


def invoke(language: str, code: str, payload: Any = None, **options: Any) -> Ending:
    if language == "python":
        return run_here(code, payload, style="lambda", **options)
    return run(language, code, payload, style="lambda", **options)


def call(language: str, code: str, method: str = "GET", target: str = "/", **options: Any) -> Answer:
    return answer_of(invoke(language, code, context={"request": request(method, target, **options)}))


def test_an_http_request_is_an_event_of_format_2(language: str) -> None:
    headers = {
        "cookie": "a=1; b=2",
        "content-type": "text/plain",
        "user-agent": "test",
        "x-forwarded-for": "9.9.9.9, 1.2.3.4",
    }
    answer = call(
        language, RETURN[language] % "event", "POST", "/a%2Fb?x=1&x=2&y=", body="grüße".encode(), headers=headers
    )
    event = answer.json
    context = event.pop("requestContext")
    assert event == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/a%2Fb",
        "rawQueryString": "x=1&x=2&y=",
        "cookies": ["a=1", "b=2"],
        "headers": {"host": "shop.example:8700", **{k: v for k, v in headers.items() if k != "cookie"}},
        "queryStringParameters": {"x": "1,2", "y": ""},
        "body": "grüße",
        "isBase64Encoded": False,
    }
    assert context["http"] == {
        "method": "POST",
        "path": "/a%2Fb",
        "protocol": "HTTP/1.1",
        "sourceIp": "1.2.3.4",
        "userAgent": "test",
    }
    assert (context["domainName"], context["stage"], context["time"][-6:]) == (
        "shop.example:8700",
        "$default",
        " +0000",
    )


def test_a_binary_body_is_base64(language: str) -> None:
    event = call(
        language, RETURN[language] % "event", "POST", body=b"\x00\xff", headers={"content-type": "image/png"}
    ).json
    assert (event["body"], event["isBase64Encoded"]) == ("AP8=", True)


def test_any_other_invocation_has_its_payload_as_the_event(language: str) -> None:
    ending = invoke(language, RETURN[language] % "{'got': event}", {"n": 1})
    assert ending.result == {"got": {"n": 1}}


def test_the_context_tells_of_the_invocation(language: str) -> None:
    code = {
        "javascript": "[context.functionName, context.functionVersion, context.memoryLimitInMB, context.awsRequestId,"
        " context.getRemainingTimeInMillis() > 0, context.zmesh.projectId.slice(0, 4)]",
        "python": "[context.function_name, context.function_version, str(context.memory_limit_in_mb),"
        " context.aws_request_id, context.get_remaining_time_in_millis() > 0, context.zmesh.project_id[:4]]",
    }
    ending = invoke(language, RETURN[language] % code[language], context={"invocation_id": "id"})
    assert ending.result == ["send-welcome", "3", "256", "id", True, "0190"]


@pytest.mark.parametrize(
    ("returned", "status", "headers", "body"),
    [
        ("{'message': 'hi'}", 200, {"content-type": "application/json"}, b'{"message":"hi"}'),
        ("'hi'", 200, {"content-type": "application/json"}, b"hi"),
        ("{'statusCode': 201, 'body': 'hi', 'headers': {'X-A': 'b'}, 'cookies': ['a=1', 'b=2']}", 201,
         {"X-A": "b", "set-cookie": ["a=1", "b=2"], "content-type": "text/plain; charset=utf-8"}, b"hi"),
        ("{'statusCode': '404'}", 404, {}, b""),
        ("{'statusCode': 304, 'headers': {'etag': 'x'}, 'body': ''}", 304, {"etag": "x"}, b""),
        ("{'statusCode': 200, 'body': 'AP8=', 'isBase64Encoded': %true, 'headers': {'content-type': 'image/png'}}", 200,
         {"content-type": "image/png"}, b"\x00\xff"),
    ],
)  # fmt: skip
def test_results_are_responses_as_api_gateway_makes_them(
    language: str, returned: str, status: int, headers: dict[str, Any], body: bytes
) -> None:
    answer = call(
        language, RETURN[language] % returned.replace("%true", "true" if language == "javascript" else "True")
    )
    assert (answer.status, answer.headers, answer.body) == (status, headers, body)


def test_a_body_that_is_not_text_and_a_status_that_is_none_are_clear_errors(language: str) -> None:
    def error(returned: str) -> str:
        context = {"request": {"method": "GET", "path": "/", "headers": {}, "query": {}}}
        return str(invoke(language, RETURN[language] % returned, context=context).error["message"])

    assert "body must be text (got " in error("{'statusCode': 200, 'body': {'a': 1}}")
    assert "status must be a whole number from 200 to 599" in error("{'statusCode': 99}")
    assert "header" in error("{'statusCode': 200, 'headers': {'a': 'b\\r\\nc'}}")


@pytest.mark.parametrize(
    ("body", "ends"),
    [
        ("callback(null, { ok: true });", {"ok": True}),
        ("setTimeout(callback, 5, null, { ok: true });", {"ok": True}),
        ("callback(new RangeError('no'));", "RangeError"),
        ("", "no_result"),
    ],
)
def test_a_callback_ends_the_run_too(body: str, ends: Any) -> None:
    ending = invoke("javascript", f"exports.handler = (event, context, callback) => {{ {body} }};")
    assert (ending.error["type"] if ending.finals[0][0] == "E" else ending.result) == ends
