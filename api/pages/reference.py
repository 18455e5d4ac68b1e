"""The page at /schema that shows the OpenAPI document. Its files come from the package, never from a CDN."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from litestar import Request, Response, Router, get
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.params import FromPath

from api.http.problems import Problem
from api.pages.html import ASSET_HEADERS, page

HERE = Path(__file__).parent
SWAGGER_UI = HERE / "node_modules" / "swagger-ui-dist"
ASSETS: Mapping[str, tuple[Path, str]] = {
    "pages.css": (HERE / "pages.css", "text/css"),
    "reference.js": (HERE / "reference.js", "text/javascript"),
    "swagger-ui.css": (SWAGGER_UI / "swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": (SWAGGER_UI / "swagger-ui-bundle.js", "text/javascript"),
}
BODY = """
<div id="reference"><noscript>
  <p>This page needs JavaScript. The document itself is at <a href="/schema/openapi.json">/schema/openapi.json</a>.</p>
</noscript></div>
<script src="/schema/assets/swagger-ui-bundle.js"></script>
<script src="/schema/assets/reference.js"></script>
"""


class ReferencePage(OpenAPIRenderPlugin):
    """Shows the document by Swagger UI."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The page; it loads the document itself."""
        title = f"{openapi_schema['info']['title']}: HTTP API"
        return page(title, BODY, styles=("/schema/assets/swagger-ui.css",)).encode()

    def receive_router(self, router: Router) -> None:
        """Serve the files of the page beside it."""
        router.register(_asset)


@get("/assets/{name:str}", include_in_schema=False, sync_to_thread=True)
def _asset(name: FromPath[str]) -> Response[bytes]:
    if name not in ASSETS:
        raise Problem(404, "not_found", "There is no such file.")
    path, media_type = ASSETS[name]
    return Response(_bytes_of(path), media_type=media_type, headers=ASSET_HEADERS)


@cache
def _bytes_of(path: Path) -> bytes:
    """Shared by all responses, of which slow clients would each keep a megabyte in memory."""
    return path.read_bytes()
