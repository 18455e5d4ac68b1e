"""The console: pages and files that were built into console/dist, and the landing page where they were not."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from api.http.problems import Problem
from api.pages.landing import landing

DIST = Path(__file__).parents[2] / "console" / "dist"
INDEX = "index.html"
PAGES = ["/", "/signin", "/accept", "/parts", "/p", "/p/{rest:path}"]
# No inline script or style, and nothing from elsewhere: text that became HTML by mistake would still do nothing.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
PAGE_HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
ASSET_HEADERS: Mapping[str, str] = {
    "cache-control": "public, max-age=31536000, immutable",  # their names change with their content
    "cross-origin-resource-policy": "same-origin",
}
FILE_HEADERS: Mapping[str, str] = {**ASSET_HEADERS, "cache-control": "public, max-age=3600"}
ENCODINGS = {"br": ".br", "gzip": ".gz"}  # the best one first
JAVASCRIPT = {".js": "text/javascript", ".mjs": "text/javascript"}  # whatever the machine's own table says

AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class _File:
    """A file with its compressed forms, in memory: the whole console is smaller than many a request."""

    media_type: str
    forms: Mapping[str, bytes]  # by encoding, "" as it is
    etag: str

    @classmethod
    def read(cls, path: Path) -> _File:
        plain = path.read_bytes()
        variants = {encoding: path.with_name(path.name + ending) for encoding, ending in ENCODINGS.items()}
        forms = {encoding: variant.read_bytes() for encoding, variant in variants.items() if variant.is_file()}
        kind = JAVASCRIPT.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return cls(kind, {**forms, "": plain}, f'"{hashlib.sha256(plain).hexdigest()[:32]}"')

    def answer(self, request: AnyRequest, headers: Mapping[str, str]) -> Response[bytes]:
        """The best form that the browser takes."""
        sent = {**headers, "etag": self.etag, "vary": "accept-encoding"}
        if request.headers.get("if-none-match") == self.etag:
            return Response(b"", status_code=304, headers=sent)
        accepted = _accepted(request.headers.get("accept-encoding", ""))
        encoding = next((name for name in ENCODINGS if name in self.forms and name in accepted), "")
        if encoding:
            sent["content-encoding"] = encoding
        return Response(self.forms[encoding], media_type=self.media_type, headers=sent)


def console(dist: Path = DIST) -> Sequence[ControllerRouterHandler]:
    """The console's routes; where it was not built, the landing page."""
    if not (dist / INDEX).is_file():
        return [landing]
    index, assets, files = _File.read(dist / INDEX), _files(dist / "assets"), _files(dist)

    @get(PAGES, include_in_schema=False, sync_to_thread=False)
    def page(request: AnyRequest) -> Response[bytes]:
        return index.answer(request, PAGE_HEADERS)

    @get("/assets/{name:str}", include_in_schema=False, sync_to_thread=False)
    def asset(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
        if name not in assets:
            raise Problem(404, "not_found", "There is no such file.", "Reload the page: the console was updated.")
        return assets[name].answer(request, ASSET_HEADERS)

    @get([f"/{name}" for name in files], include_in_schema=False, sync_to_thread=False)
    def file(request: AnyRequest) -> Response[bytes]:
        return files[request.url.path.removeprefix("/")].answer(request, FILE_HEADERS)

    return [page, asset, file] if files else [page, asset]


def _files(folder: Path) -> dict[str, _File]:
    """The files of a folder by name, such as the icon beside the page."""
    paths = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return {p.name: _File.read(p) for p in paths if p.name != INDEX and p.suffix not in ENCODINGS.values()}


def _accepted(header: str) -> set[str]:
    parts = (part.partition(";") for part in header.lower().split(","))
    return {name.strip() for name, _, weight in parts if not re.fullmatch(r"q=0(\.0*)?", weight.strip())}
