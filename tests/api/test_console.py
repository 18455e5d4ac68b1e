"""Serving the web console, where it was built into the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from litestar.testing import TestClient

from api import app
from api.settings import Settings
from support.sealing import Sealer


@pytest.fixture
def parts() -> app.Parts:
    nowhere = "postgresql://127.0.0.1:1/nowhere"
    return app.Parts.of(Settings(database_url=nowhere, jwt_secret_key="x" * 32, secret_key=Sealer.new_key()))


def test_the_root_leads_to_the_console_and_its_files_are_served(
    parts: app.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index.html").write_text("<h1>console</h1>")
    (tmp_path / "app.js").write_text("1")
    (tmp_path.parent / "secret").write_text("secret")
    monkeypatch.setattr(app, "CONSOLE", tmp_path)
    with TestClient(app.create_app(parts)) as client:
        assert client.get("/").text == "<h1>console</h1>"
        assert client.get("/console/app.js").text == "1"
        assert client.get("/console/../secret").status_code == 404
        assert client.get("/console/%2e%2e/secret").status_code == 404


def test_without_a_console_the_root_says_what_this_server_is(
    parts: app.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "CONSOLE", tmp_path / "missing")
    with TestClient(app.create_app(parts)) as client:
        answer = client.get("/")
        assert answer.headers["content-type"].startswith("text/html")
        assert "This server runs JavaScript, TypeScript and Python functions" in answer.text
        for link in re.findall(r'href="(/schema[^"]*)"', answer.text):
            assert client.get(link).status_code == 200, link
