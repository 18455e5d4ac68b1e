"""`zmesh dev` as a person starts, stops, breaks and starts it again."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import psycopg
import pytest

from cli.errors import CliError
from cli.platform import dev as dev_module
from cli.platform.dev import Dev, in_subprocess
from cli.platform.postgres import EmbeddedPostgres
from cli.platform.processes import ephemeral_ports
from cli.platform.services import Service
from tests.platform import REPOSITORY, ZMESH, Platform, Process, clean_environment, eventually, zmesh_dev

NO_OP = "def handler(payload, zmesh):\n    return payload\n"


def processes_below(folder: Path) -> list[str]:
    """Command lines of living processes that mention the folder or work in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            place = os.readlink(entry / "cwd")
        except OSError:
            continue
        if command and (str(folder) in command or place.startswith(str(folder))):
            found.append(command)
    return found


def refused(*arguments: str, cwd: Path) -> str:
    """What `zmesh` says when it ends with status 1."""
    done = subprocess.run([*ZMESH, *arguments], capture_output=True, text=True, cwd=cwd, env=clean_environment())
    assert done.returncode == 1, done.stderr
    return done.stderr


@pytest.mark.timeout(300)
def test_it_keeps_everything_over_a_stop_and_leaves_no_process_and_starts_again_after_being_killed(
    tmp_path: Path,
) -> None:
    with zmesh_dev(tmp_path, "--no-examples") as platform:
        platform.deploy("echo", NO_OP)
        assert platform.result("echo", {"n": 1}) == {"n": 1}
        key = platform.api_key
    assert processes_below(tmp_path) == []
    process = Process(
        ["dev", "--home", str(tmp_path / ".zmesh"), "--port", "0", "--no-examples"], tmp_path / "log", {}, tmp_path
    )
    process.line("ready http://")
    process.kill()
    with zmesh_dev(tmp_path, "--no-examples") as platform:
        assert platform.api_key == key
        assert [item["status"] for item in platform.history("echo")] == ["success"]
        assert platform.result("echo", {"n": 2}) == {"n": 2}
    assert processes_below(tmp_path) == []


def test_its_secrets_are_for_its_owner_only(running_platform: Platform) -> None:
    home = running_platform.folder / ".zmesh"
    for name in ("dev.json", "secrets.json"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    facts = json.loads((home / "dev.json").read_text())
    assert set(facts) == {
        *("url", "project_id", "api_key", "token"),
        *("admin_email", "admin_password", "database_url"),
        *("api_metrics_url", "listener_metrics_url"),
    }


def test_its_ports_are_outside_the_range_that_functions_may_listen_on(running_platform: Platform) -> None:
    """Else one could take the place of the API while that restarts."""
    facts = json.loads((running_platform.folder / ".zmesh" / "dev.json").read_text())
    low, high = ephemeral_ports()
    for name in ("url", "api_metrics_url", "listener_metrics_url"):
        assert not low <= (httpx.URL(facts[name]).port or 0) <= high


@pytest.mark.parametrize("part", ["api", "listener"])
def test_dev_json_names_where_metrics_are(running_platform: Platform, part: str) -> None:
    facts = json.loads((running_platform.folder / ".zmesh" / "dev.json").read_text())
    url = facts[f"{part}_metrics_url"]
    assert f'zmesh_info{{process="{part}"' in httpx.get(url).text
    assert httpx.get(url.partition("?")[0]).status_code == 401  # runs can connect there as well


def test_nobody_gets_into_its_database_without_a_password(running_platform: Platform) -> None:
    own = psycopg.conninfo.conninfo_to_dict(running_platform.database_url)
    for user in ("postgres", "zmesh_owner", "zmesh_api", str(own["user"])):
        for password in ("", "postgres"):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(host="127.0.0.1", port=own["port"], user=user, password=password, dbname=own["dbname"])


@pytest.mark.parametrize("part", ["listener", "api"])
def test_a_part_that_dies_is_started_again(running_platform: Platform, part: str) -> None:
    running_platform.deploy("echo", NO_OP)
    pid = pid_of(part, running_platform.folder)
    os.kill(pid, signal.SIGKILL)

    def answers() -> bool:
        try:
            return running_platform.invoke("echo").status_code == 200
        except httpx.TransportError:
            return False

    eventually(answers, "an answer after the restart")
    assert pid_of(part, running_platform.folder) != pid
    running_platform.request("DELETE", "/functions/echo").raise_for_status()


def pid_of(part: str, folder: Path) -> int:
    """The process of a part, a child of the `zmesh dev` of this folder."""
    home = str(folder / ".zmesh").encode()
    parents, children = set(), {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if home in command and b"dev" in command:
                parents.add(int(entry.name))
            if part.encode() in command:
                children[int(entry.name)] = parent
    [pid] = [pid for pid, parent in children.items() if parent in parents]
    return pid


def test_a_port_in_use_is_named_with_a_hint(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused("dev", "--home", str(tmp_path / "home"), "--port", port, cwd=tmp_path)
    assert f"Port {port} cannot be used" in said
    assert "--port" in said


def test_a_second_one_in_the_same_folder_is_refused(running_platform: Platform) -> None:
    home = str(running_platform.folder / ".zmesh")
    said = refused("dev", "--home", home, "--port", "0", cwd=running_platform.folder)
    assert "already" in said
    assert running_platform.url in said


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    said = refused("dev", "--home", str(tmp_path / "file" / "home"), "--port", "0", cwd=tmp_path)
    assert "cannot be used" in said


def test_a_port_out_of_range_is_misuse(tmp_path: Path) -> None:
    done = subprocess.run(
        [*ZMESH, "dev", "--port", "70000"], capture_output=True, text=True, cwd=tmp_path, env=clean_environment()
    )
    assert done.returncode == 2
    assert "70000" in done.stderr


def test_an_example_that_a_person_changed_or_deleted_stays_so(tmp_path: Path) -> None:
    with zmesh_dev(tmp_path) as platform:
        examples = platform.in_project("examples")
        examples.deploy("send-welcome", NO_OP)
        examples.request("DELETE", "/functions/sign-url").raise_for_status()
        examples.sql("drop table movies")
    with zmesh_dev(tmp_path) as platform:
        examples = platform.in_project("examples")
        assert examples.result("send-welcome", {"mine": True}) == {"mine": True}
        assert examples.request("GET", "/functions/sign-url").status_code == 404
        assert examples.sql("select to_regclass('movies') as it") == [{"it": None}]


def test_what_it_says_in_the_end_can_be_typed(tmp_path: Path) -> None:
    """The commands that it prints for the other terminal, as they are."""
    environment = {**clean_environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with zmesh_dev(tmp_path):
        [log] = tmp_path.glob("dev-*.log")
        said = eventually(lambda: text if "Ctrl+C" in (text := log.read_text()) else None, "the closing lines")
        commands = re.findall(r"^  (zmesh .*)$", said, re.MULTILINE)
        assert len(commands) == 4
        for command in commands:
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_the_four_commands_of_the_first_minute_work_with_nothing_to_configure(tmp_path: Path) -> None:
    code = (REPOSITORY / "examples" / "send-welcome.js").read_text("utf-8")
    (tmp_path / "send-welcome.js").write_text(code)
    with zmesh_dev(tmp_path):
        said = [
            subprocess.run(
                [*ZMESH, "functions", *command], cwd=tmp_path, env=clean_environment(), capture_output=True, check=True
            ).stdout.decode()
            for command in (
                ["deploy", "./send-welcome.js"],
                ["list"],
                ["invoke", "send-welcome", "--data", '{"user_id": "abc123"}'],
                ["logs", "send-welcome"],
            )
        ]
    assert [function["name"] for function in json.loads(said[1])] == ["send-welcome"]
    assert json.loads(said[2])["result"]["text"].startswith("Hello abc123,\n\nyour account at zMesh is ready.")
    assert [line["message"] for line in json.loads(said[3])[0]["logs"]] == ["welcome mail for abc123 is ready"]


def test_two_run_side_by_side_one_of_them_on_a_server_of_its_owner(running_platform: Platform, tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "server")
    server.start()
    try:
        second = Process(
            ["dev", "--port", "0", "--no-examples"], tmp_path / "log", {"DATABASE_URL": server.admin_url}, tmp_path
        )
        url = second.line("ready http://").split()[1]
        facts = json.loads((tmp_path / ".zmesh" / "dev.json").read_text())
        assert facts["url"] == url != running_platform.url
        assert not (tmp_path / ".zmesh" / "postgres").exists()
        with psycopg.connect(server.admin_url) as connection:
            assert connection.execute("select count(*) from zmesh.projects").fetchone() == (1,)
        second.stop()
        running_platform.deploy("echo", NO_OP)
        assert running_platform.result("echo", {"n": 1}) == {"n": 1}
        running_platform.request("DELETE", "/functions/echo").raise_for_status()
    finally:
        server.stop()


def test_a_server_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    url = "postgresql://postgres:x@127.0.0.1:1/postgres"
    done = subprocess.run(
        [*ZMESH, "dev", "--port", "0"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**clean_environment(), "DATABASE_URL": url},
    )
    assert done.returncode == 1
    assert "[database_failed]" in done.stderr
    assert "127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


def test_its_parts_get_only_the_secrets_they_need(running_platform: Platform) -> None:
    shared = {"ZMESH_ADMIN_PORT", "ZMESH_METRICS_TOKEN"}
    for part, kept in (
        ("api", {"DATABASE_URL", "JWT_SECRET_KEY", "ZMESH_SECRET_KEY", "ZMESH_HOST", "ZMESH_PORT"}),
        ("listener", {"DATABASE_URL", "ZMESH_SECRET_KEY", "ZMESH_RUN_DIR", "ZMESH_LAYERS_DIR", "ZMESH_DRAIN_SECONDS"}),
    ):
        environment = Path(f"/proc/{pid_of(part, running_platform.folder)}/environ").read_bytes().decode().split("\0")
        given = dict(line.partition("=")[::2] for line in environment if line)
        assert {name for name in given if name.startswith(("ZMESH_", "JWT_", "DATABASE_"))} == kept | shared
        assert f"//zmesh_{part}:" in given["DATABASE_URL"]


def test_a_damaged_file_of_secrets_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / ".zmesh" / "secrets.json"
    file.parent.mkdir()
    file.write_text("{}")
    assert "[secrets_damaged]" in refused("dev", "--port", "0", cwd=tmp_path)
    assert file.read_text() == "{}"


def test_its_token_can_be_renewed(running_platform: Platform) -> None:
    claims = json.loads(base64.urlsafe_b64decode(running_platform.token.split(".")[1] + "=="))
    whom = {"user_id": claims["sub"], "project_id": running_platform.project_id}
    made = in_subprocess("issue_token", home=str(running_platform.folder / ".zmesh"), seconds=60, **whom)
    answer = httpx.get(f"{running_platform.url}/functions", headers={"authorization": f"Bearer {made['token']}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("announcements", "said"),
    [(("", ""), "The API is running, but did not answer"), (("listening x", ""), "The listener is running")],
)
def test_what_is_slow_to_start_is_named(
    announcements: tuple[str, str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Slow(Service):
        pid = 1

        def last_output(self) -> str:
            return "busy"

    started = Dev(tmp_path, 0, examples=False, database_url=None, verbose=False)
    for name, announcement in zip(("api", "listener"), announcements, strict=True):
        service = Slow(name, {}, tmp_path / name, verbose=False)
        service.announcement = announcement
        started._services.append(service)
    monkeypatch.setattr(dev_module, "SLOWEST_START_SECONDS", 0.1)
    with pytest.raises(CliError, match=said) as raised:
        started._wait_for_health(None)  # type: ignore[arg-type]
    assert "If this machine is busy" in raised.value.hint
