"""A registry of Python packages that a test makes, and holds up where it wants to."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def wheel(name: str, files: Mapping[str, bytes], version: str = "1.0") -> tuple[str, bytes]:
    """File name and content of a wheel with these files."""
    info = f"{name}-{version}.dist-info"
    texts = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
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
    return f"{name}-{version}-py3-none-any.whl", buffer.getvalue()


@dataclass
class Registry:
    """What it serves, and what it was asked; requests wait until `open` is set."""

    port: int
    wheels: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    credentials: set[str | None] = field(default_factory=set)
    open: threading.Event = field(default_factory=threading.Event)

    def add(self, name: str, files: Mapping[str, bytes], version: str = "1.0") -> None:
        self.wheels[name] = wheel(name, files, version)

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
            name = self.path.strip("/").split("/")[1]
            if name not in registry.wheels:
                self.send_error(404)
                return
            filename, content = registry.wheels[name]
            page = f'<a href="/simple/{name}/{filename}#sha256={hashlib.sha256(content).hexdigest()}">{filename}</a>'
            is_page = not self.path.endswith(".whl")
            body = page.encode() if is_page else content
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if is_page else "application/octet-stream")
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
