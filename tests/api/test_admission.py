"""One client, or many that say nothing, leave room for the others."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from api.http.admission import RESERVED_FILES, SHARE, Admission, Bounds
from tests.api.client import Api, ApiProcess, eventually

MIB = 1024 * 1024
FILES = RESERVED_FILES + 80
OF_ADDRESS = 80 // SHARE


@contextmanager
def started(api: Api, folder: Path, *prefix: str, **environment: str) -> Iterator[str]:
    process = ApiProcess(api.database, folder / "log", prefix, **environment)
    try:
        yield process.url
    finally:
        process.stop()


def connected(url: str, source: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=20, source_address=(source, 0))


def answer_on(connection: socket.socket) -> tuple[int, dict[str, object], str]:
    """Status and problem of the answer, and its head."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body), head.decode().lower()


def health(url: str, source: str) -> int:
    with connected(url, source) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        return answer_on(connection)[0]


def test_silent_connections_beyond_the_limit_on_open_files_leave_the_api_reachable(api: Api, tmp_path: Path) -> None:
    with started(api, tmp_path, "prlimit", f"--nofile={FILES}:{FILES}") as url, ExitStack() as open:
        for _ in range(OF_ADDRESS):
            open.enter_context(connected(url, "127.0.0.1"))
        with connected(url, "127.0.0.1") as one_too_many:
            status, problem, head = answer_on(one_too_many)
        assert (status, problem["code"]) == (429, "too_many_connections")
        assert "retry-after: 5" in head
        assert health(url, "127.0.0.2") == 200
        for n in range(4 * FILES):  # many more than files, from many addresses
            open.enter_context(connected(url, f"127.0.1.{n % 200 + 1}"))
        assert health(url, "127.0.0.2") == 200


def upload(url: str, source: str, function: str, size: int) -> socket.socket:
    """A request whose body of 8 MiB has come as far as this."""
    connection = connected(url, source)
    head = f"POST /api/functions/{function} HTTP/1.1\r\nhost: h\r\ncontent-length: {8 * MIB}\r\n\r\n"
    connection.sendall(head.encode() + b" " * size)
    return connection


def received_upload(url: str, source: str, function: str, size: int) -> socket.socket:
    """An upload of which the API has read all that was sent: none is left in the kernel's buffers."""
    connection = upload(url, source, function, size)
    ends = {f":{connection.getpeername()[1]:04X}", f":{connection.getsockname()[1]:04X}"}

    def is_read() -> bool:
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        queues = [fields[4] for fields in sockets if {fields[1][8:], fields[2][8:]} == ends]
        return queues == ["00000000:00000000"] * 2

    eventually(is_read, "the upload to be read")
    return connection


def test_unfinished_uploads_of_one_address_take_no_more_memory_than_its_share(api: Api, tmp_path: Path) -> None:
    function = str(api.deploy(auth="none")["id"])
    bounds = {"ZMESH_MAX_UPLOAD_MB": "16", "ZMESH_MAX_UPLOAD_MB_PER_ADDRESS": "8"}
    with started(api, tmp_path, **bounds) as url, ExitStack() as open:
        first = open.enter_context(received_upload(url, "127.0.0.1", function, 7 * MIB))
        with upload(url, "127.0.0.1", function, 2 * MIB) as second:
            assert answer_on(second)[:2][1]["code"] == "too_many_uploads"
        open.enter_context(received_upload(url, "127.0.0.2", function, 7 * MIB))
        with upload(url, "127.0.0.3", function, 3 * MIB) as third:
            status, problem, head = answer_on(third)
        assert (status, problem["code"]) == (503, "busy")
        assert "retry-after: 5" in head
        assert health(url, "127.0.0.3") == 200
        first.close()

        def has_room() -> bool:
            with upload(url, "127.0.0.3", function, 3 * MIB) as again:
                again.settimeout(0.2)
                try:
                    answer_on(again)
                except TimeoutError:
                    return True
                return False

        eventually(has_room, "room for another upload")


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("10.1.2.3", ""),
        ("", ""),
    ],
)
def test_a_client_is_an_address_a_network_or_nobody_in_particular(address: str, client: str) -> None:
    assert Admission(Bounds(), ["10.0.0.0/8"]).client_of(address) == client


def asked(url: str, source: str, path: str) -> socket.socket:
    """A connection whose client requests something and reads as little of it as it can."""
    address = urlsplit(url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.bind((source, 0))
    connection.settimeout(20)
    connection.connect((address.hostname, address.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: h\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def is_whole(connection: socket.socket) -> bool:
    """Whether the whole response arrives once its client reads it."""
    received = b""
    try:
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) - len(body)
        while left and (data := connection.recv(1 << 20)):
            left -= len(data)
    except ConnectionResetError:
        return False
    return not left


BUNDLE = "/schema/assets/swagger-ui-bundle.js"  # 1.7 MB, for anyone


def test_responses_that_clients_do_not_read_are_limited_like_uploads(api: Api, tmp_path: Path) -> None:
    """200 connections with an unread response of 6 MB each made the API grow by 650 MB, and there was no limit."""
    bounds = {"ZMESH_MAX_UPLOAD_MB": "16", "ZMESH_MAX_UPLOAD_MB_PER_ADDRESS": "8"}
    with started(api, tmp_path, **bounds) as url, ExitStack() as open:
        first = open.enter_context(asked(url, "127.0.0.2", BUNDLE))
        greedy = [open.enter_context(asked(url, "127.0.0.1", BUNDLE)) for _ in range(12)]
        assert is_whole(first), "of another address"
        whole = [is_whole(one) for one in greedy]
        assert not any(whole[:6])  # 8 MiB are less than six
        assert all(whole[-4:])
        many = [open.enter_context(asked(url, f"127.0.1.{n + 1}", BUNDLE)) for n in range(20)]
        assert health(url, "127.0.0.3") == 200
        whole = [is_whole(one) for one in many]
        assert not any(whole[:8])
        assert all(whole[-8:])


def test_a_connection_begins_no_request_until_the_response_to_the_one_before_is_read(api: Api, tmp_path: Path) -> None:
    """The next response would be in memory, too."""
    with started(api, tmp_path) as url, asked(url, "127.0.0.1", BUNDLE) as connection:
        connection.sendall(b"GET /nowhere HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        assert health(url, "127.0.0.1") == 200
        assert "/nowhere" not in (tmp_path / "log").read_text()
        received = b""
        while data := connection.recv(1 << 20):
            received += data
        assert b"HTTP/1.1 404" in received
        assert "/nowhere" in (tmp_path / "log").read_text()


def test_responses_that_nobody_reads_leave_the_api_reachable(api: Api, tmp_path: Path) -> None:
    """A connection that was closed to make room stayed open until its client had read: then no file was left."""
    bounds = {"ZMESH_MAX_UPLOAD_MB": "1024"}
    with started(api, tmp_path, "prlimit", f"--nofile={FILES}:{FILES}", **bounds) as url, ExitStack() as open:
        for n in range(2 * FILES):
            open.enter_context(asked(url, f"127.0.1.{n % 200 + 1}", BUNDLE))
        assert health(url, "127.0.0.2") == 200


def test_clients_that_hang_up_before_they_are_answered_fill_no_log(api: Api, tmp_path: Path) -> None:
    """Each of them left a stack of 60 lines."""
    with started(api, tmp_path) as url:
        opened = [connected(url, "127.0.0.1") for _ in range(1500)]
        for connection in opened:
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n")
        for connection in opened:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        assert health(url, "127.0.0.2") == 200
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("path", ["/auth/login", "/api/functions/00000000-0000-4000-8000-000000000000"])
def test_a_client_that_hangs_up_within_a_body_is_no_error_of_the_api(api: Api, tmp_path: Path, path: str) -> None:
    """Anyone could fill logs and metrics with responses of status 500."""
    log = tmp_path / "log"
    with started(api, tmp_path) as url:
        with connected(url, "127.0.0.1") as connection:
            head = f"POST {path} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n"
            connection.sendall(f"{head}content-length: 9\r\n\r\n".encode())
            assert connection.recv(12) == b"HTTP/1.1 100", "it waits for the body"
        eventually(lambda: f"POST {path}" in log.read_text(), "the line in the log")
    assert f"POST {path} 0 " in log.read_text()
