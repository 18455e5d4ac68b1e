"""Headers and bodies that cost more than they look, or that a parser chokes on."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.api.client import Api, refused, standing_in

PARSED_HEADERS = [
    *("accept", "access-control-request-headers", "authorization", "content-type", "content-encoding", "cookie"),
    *("expect", "host", "idempotency-key", "if-match", "last-event-id", "origin", "prefer", "traceparent"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id", "x-api-key"),
    *("x-zmesh-version", "x-zmesh-priority", "x-zmesh-run-at", "x-zmesh-delay", "x-zmesh-expires-at"),
    *("x-zmesh-max-attempts", "x-zmesh-concurrency-key", "x-zmesh-callback-url"),
    *("x-signature", "stripe-signature", "x-slack-signature", "webhook-timestamp", "webhook-signature"),
]
NASTY = [
    *(b"http://[", b"http://\xff:99999999999", b"\xb2\xb3", b"9" * 5000, b"1e999", b"0-0"),
    *(b'text/plain; charset="', b"text/plain; charset*=utf-8'x", b"multipart/form-data", b';=;=,W/"1,t=\xb2,v1=\xff'),
    *(b"9999-12-31T23:59:59-23:59", b"Bearer eyJhbGciOiJub25lIn0.e30.", b"sha256=\xff"),
]
NOT_READ = ("punycode", "idna", "unicode_escape", "utf-7", "base64", "cp037", "no-such", "x" * 999)


@pytest.mark.parametrize("header", PARSED_HEADERS)
def test_no_value_of_a_header_is_an_error_of_the_server(api: Api, header: str) -> None:
    api.deploy()
    narrow = api.deploy("narrow", cors_origins=["https://good.example"], auth="none")["id"]
    [queued] = api.database.enqueue(api.project)
    targets = [("POST", f"/api/functions/{narrow}"), ("PATCH", "/functions/greet"), ("POST", "/mcp")]
    if header in ("authorization", "content-type", "x-api-key", "x-forwarded-for"):
        targets += [("POST", "/auth/login"), ("POST", "/api/functions/greet"), ("GET", f"/invocations/{queued}")]
    if header.startswith("access-control"):
        targets += [("OPTIONS", "/api/functions/greet")]
    if "signature" in header or header.startswith(("webhook", "x-slack", "content")):
        targets += [("POST", f"/hooks/{token}") for token in tokens_of_hooks(api, narrow)]
    if header == "last-event-id":
        targets = [("GET", f"/invocations/{queued}/logs")]
    own = {"prefer": "respond-async", "content-type": "application/json", "authorization": f"Bearer {api.token}"}
    own |= {"access-control-request-method": "PUT", "accept": "application/json"}
    with standing_in(api):
        for value in NASTY:
            headers = {**{name.encode(): text.encode() for name, text in own.items()}, header.encode(): value}
            if header == "last-event-id":
                headers[b"accept"] = b"text/event-stream"
            for method, path in targets:
                with api.client.stream(method, api.url + path, headers=headers, content=b"{}") as answer:
                    assert answer.status_code < 500, (method, path, value)


def tokens_of_hooks(api: Api, function_id: str) -> list[str]:
    presets = ("standard", "stripe", "slack", "hmac", "github", "shared_secret", "none")
    wanted = [{"name": preset, "function_id": function_id, "preset": preset} for preset in presets]
    made = [api.call("POST", "/webhooks", json=one) for one in wanted]
    assert {answer.status_code for answer in made} == {201}, made[0].text
    return [answer.json()["path"].rpartition("/")[2] for answer in made]


def test_a_page_of_a_malformed_origin_may_not_call(api: Api) -> None:
    api.deploy(cors_origins=["https://good.example"])
    refused(api.invoke(json={}, headers={"origin": "http://["}), 403, "origin_not_allowed")


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "unicode_escape", "utf-7", "base64", "cp037", "no-such", "x" * 999]
)
@pytest.mark.parametrize("mime", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_charset_that_is_not_read_is_refused_before_it_is_decoded(api: Api, mime: str, charset: str) -> None:
    api.deploy()
    sent = {"content": b"a=b" * 1000, "headers": {"content-type": f"{mime}; charset={charset}"}}
    refused(api.invoke(**sent), 415, "unsupported_charset")


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        *(("utf-8", "utf-8"), ("UTF8", "utf-8"), ("us-ascii", "ascii"), ("ISO-8859-1", "latin-1")),
        *(("latin1", "latin-1"), ("windows-1252", "cp1252"), ("utf-16", "utf-16"), ("Shift_JIS", "shift_jis")),
        ('"GBK"', "gbk"),
    ],
)
def test_text_in_a_charset_of_the_list_arrives(api: Api, charset: str, codec: str) -> None:
    text = "日本" if codec in ("shift_jis", "gbk") else "plain" if codec == "ascii" else "Grüße"
    api.deploy()
    with standing_in(api):
        answer = api.invoke(content=text.encode(codec), headers={"content-type": f"text/plain; charset={charset}"})
        assert answer.json()["result"] == text
        if codec != "utf-16":
            form = f"name={quote(text, encoding=codec)}&b".encode()
            kind = f"application/x-www-form-urlencoded; charset={charset}"
            assert api.invoke(content=form, headers={"content-type": kind}).json()["result"] == {"name": text, "b": ""}


def test_text_that_is_not_in_its_charset_is_refused(api: Api) -> None:
    api.deploy()
    refused(api.invoke(content=b"Gr\xfc\xdfe", headers={"content-type": "text/plain"}), 400, "malformed_text")
    form = {"content-type": "application/x-www-form-urlencoded"}
    refused(api.invoke(content=b"a=%ff", headers=form), 400, "malformed_text")
    refused(api.invoke(content=b"&" * 10_000, headers=form), 422, "invalid_input")
