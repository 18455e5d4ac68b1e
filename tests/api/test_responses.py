"""How far a function's response reaches: its headers, its cookies, and the host it is served on."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.invoking.response_headers import BEYOND_THE_FUNCTION, OF_THE_CONNECTION, Site, sent_headers
from api.settings import Settings
from support.settings import SettingsError, read_settings
from tests.api.client import Api, ApiProcess, refused, response, standing_in

SHARED = Site("/api/functions/pay")
HOST = "acme.example.com"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("a=1", "a=1; Path=/api/functions/pay"),
        ("a=1; Path=/", "a=1; Path=/api/functions/pay"),
        ("a=1; PATH = /api/functions", "a=1; Path=/api/functions/pay"),
        ("a=1; Path=/api/functions/payroll", "a=1; Path=/api/functions/pay"),
        ("a=1; Path=/api/functions/pay; path=/", "a=1; Path=/api/functions/pay"),
        ("a=1; Path=/api/functions/pay/cart; Secure", "a=1; Secure; Path=/api/functions/pay/cart"),
        ("a=1; Domain=example.com; HttpOnly;", "a=1; HttpOnly; Path=/api/functions/pay"),
        ("__Secure-a=1; Secure", "__Secure-a=1; Secure; Path=/api/functions/pay"),
        ("__Host-a=1; Path=/; Secure", None),
        (" __HOST-a=1; Path=/; Secure", None),
    ],
)
def test_a_cookie_stays_with_the_function_that_set_it(given: str, sent: str | None) -> None:
    cookies = [value for name, value in sent_headers({"Set-Cookie": [given]}, SHARED) if name == "set-cookie"]
    assert cookies == ([] if sent is None else [sent])


def test_on_a_host_of_its_own_a_project_sets_cookies_for_that_host_only() -> None:
    headers = {"Set-Cookie": ["__Host-a=1; Path=/; Secure", "b=2; Path=/; Domain=example.com"], "X-Sendfile": "/x"}
    sent = sent_headers(headers, replace(SHARED, own=True))
    assert sent == [("set-cookie", "__Host-a=1; Secure; Path=/"), ("set-cookie", "b=2; Path=/")]


@pytest.mark.parametrize("name", sorted(BEYOND_THE_FUNCTION | OF_THE_CONNECTION))
def test_a_header_of_the_host_or_the_connection_is_left_out(name: str) -> None:
    assert [header for header, _ in sent_headers({name.title(): "x"}, SHARED)] == ["content-security-policy"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Use-As-Dictionary", 'match="/*", id="x"'),
        ("Secure-Session-Registration", '(ES256);path="/api/functions/pay/register"'),
        ("Shared-Storage-Write", "clear"),
        ("X-Sendfile-Temporary", "/etc/passwd"),
        ("X-Envoy-Immediate-Health-Check-Fail", "true"),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_a_function_neither_changes_requests_to_others_nor_fails_the_health_checks_of_a_proxy(
    name: str, value: str, own: bool
) -> None:
    sent = sent_headers({name: value}, replace(SHARED, own=own))
    assert name.lower() not in dict(sent)


@pytest.fixture
def own_host(api: Api, tmp_path: Path) -> Iterator[Api]:
    """The same project behind an API that has a host name for it."""
    process = ApiProcess(api.database, tmp_path / "log", ZMESH_PROJECT_HOSTS=f"{HOST.upper()}={api.project.id}")
    yield replace(api, url=process.url)
    process.stop()


def get(api: Api, path: str, host: str = HOST, **headers: str) -> httpx.Response:
    return api.client.get(f"{api.url}{path}", headers={"host": host, **headers})


def test_a_project_has_its_own_host_to_itself(own_host: Api, stranger: Api) -> None:
    function, theirs = own_host.deploy(auth="none"), stranger.deploy(auth="none")
    page = {"Content-Type": "text/html", "Set-Cookie": "a=1; Path=/"}
    with standing_in(own_host, lambda job: response(200, page, base64.b64encode(b"<p>").decode())):
        own = get(own_host, f"/api/functions/{function['id']}", f"{HOST}:8700")
        shared = get(own_host, f"/api/functions/{function['id']}", "zmesh.example.com")
    assert own.headers["set-cookie"] == "a=1; Path=/"
    assert "content-security-policy" not in own.headers
    assert shared.headers["set-cookie"] == f"a=1; Path=/api/functions/{function['id']}"
    assert shared.headers["content-security-policy"].startswith("sandbox")
    refused(get(own_host, f"/api/functions/{theirs['id']}"), 404, "function_not_found")
    for path in ("/", "/console/", "/auth/login", "/functions", "/schema"):
        refused(get(own_host, path), 404, "not_found")
    assert get(own_host, "/health", "zmesh.example.com").status_code == 200
    for spelled in (f"{HOST.upper()}:443", f"{HOST}.", f"{HOST}.:8700"):
        refused(get(own_host, "/auth/login", spelled), 404, "not_found")


@pytest.mark.parametrize("given", ["acme.example.com", "acme=nobody", "a b=00000000-0000-4000-8000-000000000000"])
def test_an_invalid_list_of_hosts_is_refused_at_startup(given: str) -> None:
    values = {"DATABASE_URL": "x", "JWT_SECRET_KEY": "x", "ZMESH_SECRET_KEY": "x", "ZMESH_PROJECT_HOSTS": given}
    with pytest.raises(SettingsError, match=r"ZMESH_PROJECT_HOSTS is invalid: .*HOST=PROJECT_ID"):
        read_settings(Settings, values)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("", ("/", "", "")),
        ("/", ("/", "/", "")),
        ("/a%2Fb", ("/a/b", "/a%2Fb", "")),
        ("/a%3Fb?c=%20d&c", ("/a?b", "/a%3Fb", "c=%20d&c")),
        ("/a/b/", ("/a/b", "/a/b/", "")),
        ("//a", ("/a", "//a", "")),
        ("?a=%2F+b&&=", ("/", "", "a=%2F+b&&=")),
    ],
)
def test_path_and_query_reach_the_function_as_they_were_sent(
    api: Api, target: str, expected: tuple[str, str, str]
) -> None:
    function = api.deploy(auth="none")
    with standing_in(api) as jobs:
        for name in (function["id"], "%67reet"):
            url = httpx.URL(api.url, raw_path=f"/api/functions/{name}{target}".encode())
            assert api.client.get(url, headers={"x-api-key": api.key}).status_code == 200
    for job in jobs:
        request: dict[str, Any] = json.loads(job["request"])
        assert (request["path"], request["raw_path"], request["raw_query"]) == expected
