"""The private PostgreSQL of `zmesh dev`: who can log in, and how it handles leftovers of an earlier run."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cli.platform.doctor import _port, _server_port
from cli.platform.postgres import EmbeddedPostgres, PostgresError
from cli.platform.processes import ephemeral_ports, is_alive
from tests.platform import REPOSITORY, eventually

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@contextmanager
def running(folder: Path) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(folder)
    postgres.start()
    try:
        yield postgres
    finally:
        postgres.stop()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server that was started and stopped."""
    folder = tmp_path_factory.mktemp("made") / "postgres"
    with running(folder):
        pass
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    subprocess.run(["cp", "-a", made, tmp_path / "postgres"], check=True)
    return tmp_path / "postgres"


def setting(url: str, name: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("select current_setting(%s)", (name,)).fetchone()
        assert row is not None
        return str(row[0])


def start_and_die(folder: Path) -> int:
    """A server whose parent was killed at once; returns its process."""
    program = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from cli.platform import postgres
        postgres.dying_with_parent = lambda number: lambda: None
        server = postgres.EmbeddedPostgres(Path(sys.argv[1]))
        server.start()
        print(server.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    return int(done.stdout)


@pytest.mark.parametrize("host", ["127.0.0.1", "socket"])
def test_a_password_is_asked_for_on_every_way_in(folder: Path, host: str) -> None:
    with running(folder) as postgres:
        where = str(folder / "data") if host == "socket" else host
        with psycopg.connect(make_conninfo(postgres.admin_url, host=where)) as connection:
            assert connection.info.user == "postgres"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(make_conninfo(postgres.admin_url, host=where, password="guess"))
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(make_conninfo(postgres.admin_url, host=where, password=""))


def test_only_its_owner_reaches_the_socket_and_the_password(folder: Path) -> None:
    with running(folder):
        [socket] = (folder / "data").glob(".s.PGSQL.*[0-9]")
        for path, mode in ((socket, 0o700), (socket.parent, 0o700), (folder / "password", 0o600)):
            assert stat.S_IMODE(path.stat().st_mode) == mode


def test_it_listens_on_loopback_only_and_is_as_durable_as_any(folder: Path) -> None:
    with running(folder) as postgres:
        assert setting(postgres.admin_url, "listen_addresses") == "127.0.0.1"
        assert setting(postgres.admin_url, "fsync") == "on"
        assert setting(postgres.admin_url, "synchronous_commit") == "on"


def test_its_port_is_outside_the_range_that_functions_may_listen_on(folder: Path) -> None:
    """Else one could take the server's place while that restarts."""
    (folder / "port").unlink()
    low, high = ephemeral_ports()

    with running(folder) as postgres:
        port = int(setting(postgres.admin_url, "port"))

    assert not low <= port <= high


@pytest.mark.parametrize(
    ("url", "state"),
    [
        ("postgresql://u@127.0.0.1:{low}/z", "warning"),
        ("host=localhost port={high}", "warning"),
        ("host=localhost", "ok"),
        ("postgresql://u@db.example.com:{low}/z", "ok"),
    ],
)
def test_doctor_warns_of_a_port_that_a_function_may_listen_on(
    url: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    low, high = ephemeral_ports()
    monkeypatch.setenv("DATABASE_URL", url.format(low=low, high=high))

    assert _server_port().state == state


@pytest.mark.parametrize("variable", ["ZMESH_PORT", "ZMESH_ADMIN_PORT"])
def test_doctor_warns_of_a_port_of_ours_that_a_function_may_listen_on(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    low, _ = ephemeral_ports()
    monkeypatch.setenv(variable, str(low))

    found = _port()

    assert (found.state, f"{variable} {low} is among" in found.detail) == ("warning", True)


def test_a_second_start_finds_the_data_at_the_same_address(folder: Path) -> None:
    with running(folder) as postgres:
        url = postgres.admin_url
        with psycopg.connect(url) as connection:
            connection.execute("create table kept (n integer)")
    with running(folder) as postgres, psycopg.connect(url) as connection:
        assert postgres.admin_url == url
        assert connection.execute("select count(*) from kept").fetchone() == (0,)


def test_a_server_that_an_earlier_run_left_over_is_stopped(folder: Path) -> None:
    left_over = start_and_die(folder)
    assert is_alive(left_over)
    with running(folder) as postgres:
        assert postgres.pid != left_over
        assert not is_alive(left_over)


def test_it_ends_when_its_parent_is_killed(folder: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from cli.platform.postgres import EmbeddedPostgres;"
        "server = EmbeddedPostgres(Path(sys.argv[1])); server.start(); print(server.pid, flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    eventually(lambda: not is_alive(int(done.stdout)), "the end of the server")


@pytest.mark.parametrize("lock", ["postmaster.pid", ".s.PGSQL.{port}.lock"])
def test_another_process_with_the_number_of_a_dead_server_is_left_alone(folder: Path, lock: str) -> None:
    """As after a power cut, where the number is that of another `zmesh dev`'s server by now."""
    data, port = folder / "data", (folder / "port").read_text().strip()
    identity = {"user": data.stat().st_uid, "group": data.stat().st_gid} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "60"], **identity) as stranger:  # type: ignore[call-overload]
        left = data / lock.format(port=port)
        left.write_text(f"{stranger.pid}\n{folder}\n0\n{port}\n.\n*\n0 0\nready\n")
        os.chown(left, data.stat().st_uid, data.stat().st_gid)
        with running(folder) as postgres:
            assert setting(postgres.admin_url, "cluster_name") == "zmesh"
        assert stranger.poll() is None
        stranger.kill()


def test_a_start_that_was_interrupted_leaves_nothing_half_made(tmp_path: Path) -> None:
    (tmp_path / "data.unfinished" / "base").mkdir(parents=True)
    with running(tmp_path) as postgres:
        assert setting(postgres.admin_url, "cluster_name") == "zmesh"
    assert not (tmp_path / "data.unfinished").exists()


def test_a_lost_password_is_named(folder: Path) -> None:
    (folder / "password").unlink()
    with pytest.raises(PostgresError, match=r"password is missing"):
        EmbeddedPostgres(folder).start()


def test_a_server_that_cannot_start_tells_what_its_log_says(folder: Path) -> None:
    (folder / "data" / "global" / "pg_control").unlink()
    with pytest.raises(PostgresError, match="pg_control"):
        EmbeddedPostgres(folder).start()


@as_root
def test_as_root_it_runs_under_another_user_even_in_a_private_folder(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with running(private / "postgres") as postgres:
        assert Path(f"/proc/{postgres.pid}").stat().st_uid not in (0, private.stat().st_uid)


@as_root
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", tmp_path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        with pytest.raises(PostgresError, match=r"No space left on device|disk .* is full"):
            EmbeddedPostgres(tmp_path / "postgres").start()
        assert not (tmp_path / "postgres" / "data").exists()
    finally:
        subprocess.run(["umount", tmp_path], check=True)
