"""docs/guides/reverse-proxy.md: nginx with the page's configuration in front of a running platform."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.databases import Database
from tests.docs.guides import Guide
from tests.platform import SERVICES, Parts, Platform, eventually
from tests.postgres_with_cron import free_port

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light"),
    pytest.mark.timeout(240),
]
GUIDE = Guide("reverse-proxy")
PLATFORM_HOST, PROJECT_HOST = "functions.example.com", "acme.example.net"
MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/zmesh.conf;
}}
"""
STREAM = """
import time
def handler(payload, zmesh):
    yield "first\\n"
    while not zmesh.db.query("select open from gate"):
        time.sleep(0.05)
    yield "second\\n"
"""
LOGS = """
import time
def handler(payload, zmesh):
    print("first")
    while not zmesh.db.query("select open from gate"):
        time.sleep(0.05)
    print("second")
"""
ECHO = """
def handler(payload, zmesh):
    request = zmesh.request
    return zmesh.response(
        {"path": request.raw_path, "query": request.raw_query, "bytes": len(request.body), "headers": request.headers},
        headers={"Set-Cookie": "seen=1; Path=/"},
    )
"""


@dataclass
class Proxied:
    """A platform, and how its clients reach nginx in front of it."""

    platform: Platform
    folder: Path
    port: int
    plain_port: int

    def client(self, address: str = "127.0.0.1") -> httpx.Client:
        """A client at this address that trusts the certificate."""
        trusted = ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))
        transport = httpx.HTTPTransport(verify=trusted, local_address=address)
        return httpx.Client(transport=transport, timeout=60)

    def request(self, method: str, path: str, host: str = PLATFORM_HOST, **options: object) -> httpx.Request:
        headers = {"host": host, "x-api-key": self.platform.api_key, **dict(options.pop("headers", {}))}  # type: ignore[call-overload]
        url = f"https://127.0.0.1:{self.port}{path}"
        return httpx.Request(method, url, headers=headers, extensions={"sni_hostname": host}, **options)  # type: ignore[arg-type]

    def send(self, method: str, path: str, host: str = PLATFORM_HOST, **options: object) -> httpx.Response:
        with self.client() as client:
            return client.send(self.request(method, path, host, **options))


@pytest.fixture(scope="module")
def proxied(server: str, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    from tests.conftest import API_PASSWORD, LISTENER_PASSWORD

    with (
        tempfile.TemporaryDirectory(prefix="zmesh-nginx-") as name,
        Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD, template=migrated) as database,
        Parts(database, tmp_path_factory.mktemp("parts"), forks=SERVICES) as parts,
    ):
        folder = Path(name)
        folder.chmod(0o711)  # as root, nginx reads bodies and keeps them as another user
        project_id = parts.platform.project_id
        parts.api.stop()
        settings = dict(line.split("=", 1) for line in GUIDE.text("api.env").split())
        settings["ZMESH_PROJECT_HOSTS"] = f"{settings['ZMESH_PROJECT_HOSTS'].split('=')[0]}={project_id}"
        api = parts.start("api", DATABASE_URL=database.api_url, ZMESH_PORT="0", **settings)
        url = api.line("listening http://").split()[1]
        parts.start_listener()
        platform = dataclasses.replace(parts.platform, url=url)
        platform.sql("create table gate (open boolean)")
        platform.deploy("echo", ECHO)
        platform.deploy("stream", STREAM, timeout_ms=60_000)
        platform.deploy("logs", LOGS, timeout_ms=60_000)
        proxied = Proxied(platform, folder, free_port(), free_port())
        with nginx(proxied):
            yield proxied


class nginx:
    """nginx, until the block ends: the page's file, with this test's ports and folder in place of the page's."""

    def __init__(self, proxied: Proxied) -> None:
        folder = proxied.folder
        GUIDE.run("certificate", folder, {})
        changes = {
            "listen 443 ": f"listen 127.0.0.1:{proxied.port} ",
            "listen 80;": f"listen 127.0.0.1:{proxied.plain_port};",
            "127.0.0.1:8700": proxied.platform.url.removeprefix("http://"),
            "/etc/nginx/tls": str(folder),
        }
        written = GUIDE.text("zmesh.conf")
        for old, new in changes.items():
            assert written.count(old) in (1, 2), old
            written = written.replace(old, new)
        (folder / "zmesh.conf").write_text(written)
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
        self._command = [
            str(NGINX),
            "-p",
            str(folder),
            "-c",
            str(folder / "nginx.conf"),
            "-e",
            str(folder / "nginx.log"),
        ]
        self._proxied = proxied

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        eventually(self._answers, f"nginx, see {self._proxied.folder / 'nginx.log'}")

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._proxied.folder / "nginx.log").read_text()
        try:
            return self._proxied.send("GET", "/health").status_code == 200
        except httpx.TransportError:
            return False

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def test_a_call_by_tls_is_answered_and_plain_http_is_sent_on(proxied: Proxied) -> None:
    answer = proxied.send("POST", "/api/functions/echo/a%2Fb?c=%20d", json={"n": 1})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["path"], answer.json()["query"]) == ("/a%2Fb", "c=%20d")
    plain = httpx.get(f"http://127.0.0.1:{proxied.plain_port}/health?a=1", headers={"host": PLATFORM_HOST})
    assert (plain.status_code, plain.headers["location"]) == (308, f"https://{PLATFORM_HOST}/health?a=1")


def test_the_page_s_own_check_answers(proxied: Proxied) -> None:
    folder = proxied.folder / "check"
    folder.mkdir()
    shutil.copy(proxied.folder / "fullchain.pem", folder)
    (folder / ".curlrc").write_text(f'connect-to = "{PLATFORM_HOST}:443:127.0.0.1:{proxied.port}"\n')
    assert json.loads(GUIDE.run("check", folder, {"CURL_HOME": str(folder)}))["listeners"] == 1


def test_a_stream_arrives_piece_by_piece(proxied: Proxied) -> None:
    proxied.platform.sql("truncate gate")
    with proxied.client() as client:
        answer = client.send(proxied.request("POST", "/api/functions/stream", json={}), stream=True)
        lines = answer.iter_lines()
        assert next(lines) == "first"  # before the function may go on
        proxied.platform.sql("insert into gate values (true)")
        assert list(lines) == ["second"]


def test_server_sent_events_of_a_log_arrive_while_the_function_runs(proxied: Proxied) -> None:
    proxied.platform.sql("truncate gate")
    id = proxied.platform.enqueue("logs")
    headers = {"accept": "text/event-stream", "authorization": f"Bearer {proxied.platform.token}"}
    with proxied.client() as client:
        answer = client.send(proxied.request("GET", f"/invocations/{id}/logs", headers=headers), stream=True)
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))
        assert next(lines)["message"] == "first"
        proxied.platform.sql("insert into gate values (true)")
        assert [line.get("message", line.get("status")) for line in lines] == ["second", "success"]


def test_a_large_body_passes_and_a_larger_one_gets_the_platform_s_own_error(proxied: Proxied) -> None:
    largest = 8 * 1024 * 1024
    headers = {"content-type": "application/octet-stream"}
    assert (
        proxied.send("POST", "/api/functions/echo", content=b"x" * largest, headers=headers).json()["bytes"] == largest
    )
    refused = proxied.send("POST", "/api/functions/echo", content=b"x" * (largest + 1), headers=headers)
    assert (refused.status_code, refused.headers["content-type"]) == (413, "application/problem+json")


def test_guesses_count_for_the_client_s_address_and_not_for_one_that_it_claims(proxied: Proxied) -> None:
    def guess(address: str, claimed: str) -> int:
        headers = {"x-api-key": "zb_wrong", "x-forwarded-for": claimed}
        with proxied.client(address) as client:
            return client.send(proxied.request("POST", "/api/functions/echo", headers=headers)).status_code

    guesses = [guess("127.0.0.5", f"203.0.113.{n}") for n in range(61)]
    assert (guesses[0], guesses[-1]) == (401, 429)
    assert guess("127.0.0.6", "127.0.0.5") == 401


def test_a_project_s_host_serves_its_functions_and_no_login(proxied: Proxied) -> None:
    own = proxied.send("POST", "/api/functions/echo", PROJECT_HOST, json={})
    assert (own.status_code, own.headers["set-cookie"]) == (200, "seen=1; Path=/")
    assert proxied.send("POST", "/auth/login", PROJECT_HOST, json={}).status_code == 404
    shared = proxied.send("POST", "/api/functions/echo", json={})
    assert re.search(r"Path=/api/functions/", shared.headers["set-cookie"])


def test_every_command_of_the_page_is_run_here() -> None:
    GUIDE.assert_all_run()
