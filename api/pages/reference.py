"""The OpenAPI document and the page at /schema that shows it. All files come from the package, never from a CDN."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from litestar import Response, Router, get
from litestar.enums import MediaType, OpenAPIMediaType
from litestar.params import FromPath

from api.http.problems import Problem
from api.pages.html import ASSET_HEADERS, page

HERE = Path(__file__).parent
TITLE = "zMesh Edge Functions"
DOCUMENT = HERE / "openapi.json"
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


@get("/", include_in_schema=False, sync_to_thread=False, media_type=MediaType.HTML)
def _page() -> str:
    """The page with Swagger UI, which loads the document."""
    return page(f"{TITLE}: HTTP API", BODY, styles=("/schema/assets/swagger-ui.css",))


@get("/openapi.json", include_in_schema=False, sync_to_thread=True, media_type=OpenAPIMediaType.OPENAPI_JSON)
def _document() -> bytes:
    return _bytes_of(DOCUMENT)


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


router = Router("/schema", route_handlers=[_page, _document, _asset])
