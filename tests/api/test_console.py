"""Serving the web console, where it was built."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api import app
from api.pages import console
from api.settings import Settings
from support.sealing import Sealer

PAGE = "<!doctype html><title>console</title>"
SCRIPT = "console.log(1)"


@pytest.fixture
def parts() -> app.Parts:
    nowhere = "postgresql://127.0.0.1:1/nowhere"
    return app.Parts.of(Settings(database_url=nowhere, jwt_secret_key="x" * 32, secret_key=Sealer.new_key()))


@pytest.fixture
def client(parts: app.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient[Litestar]]:
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text(PAGE)
    (dist / "icon.svg").write_text("<svg/>")
    (dist / "assets" / "app-1a2b3c.js").write_text(SCRIPT)
    (dist / "assets" / "app-1a2b3c.js.gz").write_bytes(gzip.compress(SCRIPT.encode()))
    (tmp_path / "secret").write_text("secret")
    monkeypatch.setattr(app, "console", lambda: console.console(dist))
    with TestClient(app.create_app(parts)) as client:
        yield client


def test_every_address_of_the_console_is_its_page(client: TestClient[Litestar]) -> None:
    for path in ("/", "/signin", "/p", "/p/shop", "/p/shop/functions/send-receipt/code?file=index.ts", "/parts"):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (200, PAGE), path
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
    assert client.get("/", headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    assert client.get("/functions").status_code == 401  # the API's own
    assert client.get("/elsewhere").status_code == 404


def test_its_pages_run_nothing_inline_and_nothing_from_elsewhere(client: TestClient[Litestar]) -> None:
    headers = client.get("/p/shop").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cross-origin-opener-policy"] == "same-origin"


def test_its_files_are_kept_by_browsers_and_sent_compressed(client: TestClient[Litestar]) -> None:
    plain = client.get("/assets/app-1a2b3c.js", headers={"accept-encoding": "identity"})
    assert "immutable" in plain.headers["cache-control"]
    assert plain.headers["content-type"].startswith("text/javascript")
    assert "content-encoding" not in plain.headers
    packed = client.get("/assets/app-1a2b3c.js", headers={"accept-encoding": "br, gzip"})
    assert (packed.headers["content-encoding"], packed.text) == ("gzip", SCRIPT)
    refused = client.get("/assets/app-1a2b3c.js", headers={"accept-encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers
    assert client.get("/icon.svg").headers["cache-control"] == "public, max-age=3600"


def test_nothing_else_of_the_machine_is_served(client: TestClient[Litestar]) -> None:
    for path in (
        "/assets/../../secret",
        "/assets/%2e%2e%2f%2e%2e%2fsecret",
        "/assets/%2e%2e",
        "/assets/gone.js",
        "/secret",
    ):
        assert client.get(path).status_code == 404, path


def test_without_a_console_the_root_says_what_this_server_is(
    parts: app.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "console", lambda: console.console(tmp_path))
    with TestClient(app.create_app(parts)) as client:
        answer = client.get("/")
        assert answer.headers["content-type"].startswith("text/html")
        assert "This server runs JavaScript, TypeScript and Python functions" in answer.text
        for link in re.findall(r'href="(/schema[^"]*)"', answer.text):
            assert client.get(link).status_code == 200, link
