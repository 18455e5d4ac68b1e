"""The page at /schema shows the HTTP API to people, and takes nothing from elsewhere."""

from __future__ import annotations

import re

from api.pages.reference import ASSETS
from tests.api.client import Api

ADDRESSES = re.compile(r"""(?:src|href)="([^"]*)"|url:\s*"([^"]*)"|url\(([^)]*)\)""")


def test_the_reference_is_a_page_with_all_its_files_on_this_server(api: Api) -> None:
    answer = api.client.get(f"{api.url}/schema")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.text
    named = {next(filter(None, match)) for match in ADDRESSES.findall(answer.text)} - {"data:,"}
    assert {f"/schema/assets/{name}" for name in ASSETS} <= named
    for path in named:
        assert path.startswith("/"), path
        found = api.client.get(f"{api.url}{path}")
        assert found.status_code == 200, path
        assert found.content, path


def test_the_page_reads_the_document_of_this_server(api: Api) -> None:
    script = api.client.get(f"{api.url}/schema/assets/reference.js").text
    assert ADDRESSES.findall(script)[0][1] == "/schema/openapi.json"
    assert api.client.get(f"{api.url}/schema/openapi.json").json()["openapi"].startswith("3.")


def test_no_other_file_of_the_server_is_served_beside_them(api: Api) -> None:
    for name in ("package.json", "..%2freference.py", "reference.py"):
        assert api.client.get(f"{api.url}/schema/assets/{name}").status_code == 404, name
