"""A registry of Python and npm packages that a test makes, and holds up where it wants to."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


def wheel(
    name: str, files: Mapping[str, bytes], version: str = "1.0", requires: str | None = None
) -> tuple[str, bytes]:
    """File name and content of a wheel with these files."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    texts = {
        **files,
        f"{info}/METADATA": (metadata + (f"Requires-Dist: {requires}\n" if requires else "")).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, content in texts.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}\n")
    texts[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in texts.items():
            archive.writestr(path, content)
    return f"{stem}-py3-none-any.whl", buffer.getvalue()


def tarball(package: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """A package of npm."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, content in {"package.json": json.dumps(package).encode(), **files}.items():
            member = tarfile.TarInfo(f"package/{path}")
            member.size = len(content)
            member.mode = 0o755 if content.startswith(b"#!") else 0o644
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def source(name: str, backend: str) -> tuple[str, bytes]:
    """File name and content of a source archive that is built by this code of its own."""
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in {"pyproject.toml": project, "backend.py": backend, "PKG-INFO": about}.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"{name}-1.0.tar.gz", buffer.getvalue()


@dataclass
class Registry:
    """What it serves, and what it was asked; requests wait until `open` is set. With an `authorization`, it refuses
    requests without that header."""

    port: int
    authorization: str | None = None
    answers: dict[str, Any] = field(default_factory=dict)  # JSON at other paths
    tarballs: dict[str, tuple[dict[str, Any], bytes]] = field(default_factory=dict)
    wheels: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    files_on: str = (
        "127.0.0.1"  # the host that Python's pages name for files, and to which npm's tarballs are redirected
    )
    asked: list[str] = field(default_factory=list)
    credentials: set[str | None] = field(default_factory=set)
    open: threading.Event = field(default_factory=threading.Event)

    def add(self, name: str, files: Mapping[str, bytes], version: str = "1.0", requires: str | None = None) -> None:
        self.wheels[name] = wheel(name, files, version, requires)

    def address(self, name: str) -> str:
        """Where the file of a package is."""
        return f"{self.url()}/{name}/{self.wheels[name][0]}"

    def add_npm(self, name: str, files: Mapping[str, bytes], version: str = "1.0.0", **more: Any) -> None:
        package = {"name": name, "version": version, **more}
        content = tarball(package, files)
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
        address = f"http://127.0.0.1:{self.port}/{name}/-/{version}.tgz"
        package |= {"dist": {"tarball": address, "integrity": integrity}}
        if "install" in more.get("scripts", {}):
            package["hasInstallScript"] = True
        self.tarballs[name] = (package, content)

    def integrity(self, name: str) -> str:
        return str(self.tarballs[name][0]["dist"]["integrity"])

    def npm_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Type and content of a page, wheel, document or tarball; None where there is none."""
        path = unquote(path)
        if path in self.answers:
            return "application/json", json.dumps(self.answers[path]).encode()
        if not path.startswith("/simple/"):
            package, content = self.tarballs.get(path[1:].partition("/-/")[0], ({}, b""))
            if path.endswith(".tgz"):
                return "application/octet-stream", content
            version = package.get("version", "")
            document = {"name": path[1:], "dist-tags": {"latest": version}, "versions": {version: package}}
            return ("application/json", json.dumps(document).encode()) if package else None
        name = path.strip("/").split("/")[1]
        if name not in self.wheels:
            return None
        filename, content = self.wheels[name]
        base = f"http://{self.files_on}:{self.port}/simple/{name}"
        page = f'<a href="{base}/{filename}#sha256={hashlib.sha256(content).hexdigest()}">{filename}</a>'
        return ("application/octet-stream", content) if path.endswith(filename) else ("text/html", page.encode())

    def url(self, credentials: str = "") -> str:
        return f"http://{credentials}127.0.0.1:{self.port}/simple"


@contextmanager
def serving() -> Iterator[Registry]:
    """A registry on a free port, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked.append(self.path)
            registry.credentials.add(self.headers["Authorization"])
            registry.open.wait(60)
            if registry.authorization not in (None, self.headers["Authorization"]):
                self.send_error(401)
                return
            if self.path.endswith(".tgz") and registry.files_on not in self.headers["Host"]:
                self.send_response(302)
                self.send_header("Location", f"http://{registry.files_on}:{registry.port}{self.path}")
                self.end_headers()
                return
            found = registry.answer(self.path)
            if found is None:
                self.send_error(404)
                return
            self._send(*found)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def _send(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    registry = Registry(server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield registry
    finally:
        registry.open.set()
        server.shutdown()
        server.server_close()
