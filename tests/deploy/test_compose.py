"""docker-compose.yml: valid, and each part works with exactly the command, variables and rights it is given there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import compose_spec
import httpx
import pytest
import yaml

import api.settings
import listener.settings
from tests.platform import REPOSITORY, ZMESH, Platform, Process, clean_environment, eventually
from tests.postgres_with_cron import missing, postgres_with_cron

VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
PARTS = ("migrate", "api", "listener")
MIGRATE_VARIABLES = {
    "DATABASE_URL",
    "ZMESH_API_PASSWORD",
    "ZMESH_LISTENER_PASSWORD",
    "ZMESH_SECRET_KEY",
    "ZMESH_PROJECT",
    "ZMESH_ADMIN_EMAIL",
    "ZMESH_ADMIN_PASSWORD",
    "ZMESH_API_KEY",
}


def text() -> str:
    return (REPOSITORY / "docker-compose.yml").read_text()


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text())["services"]
    return found


def made_env(folder: Path) -> dict[str, str]:
    """What deploy/make-env.sh writes, made in a copy so that no .env of a developer is in the way."""
    (folder / "deploy").mkdir()
    script = folder / "deploy" / "make-env.sh"
    script.write_text((REPOSITORY / "deploy" / "make-env.sh").read_text())
    subprocess.run(["sh", str(script), "ada@example.com"], check=True, capture_output=True)
    file = folder / ".env"
    assert file.stat().st_mode & 0o777 == 0o600
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def environment_of(part: str, values: dict[str, str]) -> dict[str, str]:
    """The part's variables with the values of .env put in, as Compose does it."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if kind == "?":
            assert values.get(name), rest
        return values.get(name) or (rest if kind == "-" else "")

    return {name: VARIABLE.sub(value, str(given)) for name, given in services()[part]["environment"].items()}


def test_the_file_follows_the_compose_specification() -> None:
    # By way of JSON: the parser knows no merged YAML keys (<<), which Compose itself does.
    interpolated = VARIABLE.sub(lambda match: "x" if match[2] != "-" else match[3], text())
    compose = compose_spec.PyCompose.from_json(json.dumps(yaml.safe_load(interpolated)))
    compose.validate()
    assert set(compose.service_names()) == {"postgres", *PARTS}


def test_the_images_pass_the_linter() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    files = [REPOSITORY / "Dockerfile", REPOSITORY / "deploy" / "postgres" / "Dockerfile"]
    done = subprocess.run([str(linter), *map(str, files)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_variable_is_one_that_the_part_reads() -> None:
    read = {
        "migrate": MIGRATE_VARIABLES,
        "api": set(api.settings.Settings.variables()),
        "listener": set(listener.settings.Settings.variables()),
    }
    for part in PARTS:
        assert set(services()[part]["environment"]) <= read[part], part


def test_the_example_and_the_script_name_the_variables_that_compose_wants(tmp_path: Path) -> None:
    wanted = {name for name, kind, _ in VARIABLE.findall(text()) if kind != "-"} | {"ZMESH_PROJECT"}
    example = re.findall(r"^(\w+)=", (REPOSITORY / ".env.example").read_text(), re.MULTILINE)
    assert set(example) == wanted
    assert set(made_env(tmp_path)) == wanted


def test_no_part_gets_a_secret_of_another() -> None:
    given = {part: str(services()[part]["environment"]) for part in PARTS}
    assert "JWT_SECRET_KEY" not in given["migrate"] + given["listener"]
    assert "POSTGRES_PASSWORD" not in given["api"] + given["listener"]
    assert "ZMESH_API_PASSWORD" not in given["listener"]
    assert "ZMESH_LISTENER_PASSWORD" not in given["api"]


@pytest.mark.parametrize("part", PARTS)
def test_every_command_exists(part: str) -> None:
    command = services()[part]["command"]
    done = subprocess.run(
        [*ZMESH, *command, "--help"], capture_output=True, text=True, env=clean_environment(), timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_api_keeps_its_port_through_every_restart() -> None:
    [port] = services()["api"]["ports"]
    assert VARIABLE.sub(lambda match: match[3] or "", port["published"]) == "8700"


def test_only_the_listener_is_root_and_has_few_capabilities() -> None:
    for part in PARTS:
        service = services()[part]
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert "no-new-privileges:true" in service["security_opt"]
        assert ("cap_add" in service, "user" in service) == ((part == "listener"),) * 2
    assert re.findall(r"^USER (\S+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE) == ["10001"]


@pytest.fixture
def cron_server() -> Iterator[str]:
    """PostgreSQL with pg_cron in the database `zmesh`, as the compose file has it."""
    why_not = missing()
    if why_not is not None:
        pytest.skip(why_not)
    # The folder must be passable for the server's own user, which pytest's temporary folders are not.
    with (
        tempfile.TemporaryDirectory(prefix="zmesh-compose-") as folder,
        postgres_with_cron(Path(folder), "zmesh") as url,
    ):
        yield url


def with_capabilities(part: str) -> list[str]:
    """A prefix that leaves a command with the rights of its container, where we may take any away."""
    if os.geteuid() != 0:
        return []
    service = services()[part]
    kept = [f"+{name.lower()}" for name in service.get("cap_add", [])]
    return ["setpriv", "--no-new-privs", "--bounding-set", ",".join(["-all", *kept]), "--inh-caps", "-all"]


@pytest.mark.timeout(180)
def test_the_parts_work_together_with_what_compose_gives_them(cron_server: str, tmp_path: Path) -> None:
    values = made_env(tmp_path)

    def environment(part: str) -> dict[str, str]:
        """As in the container, with the test's server in place of the host `postgres`."""
        given = environment_of(part, values)
        host = cron_server.split("@")[1]
        url = given["DATABASE_URL"].replace("@postgres:5432/zmesh", f"@{host}")
        ports = {"ZMESH_PORT": "0", "ZMESH_ADMIN_PORT": "0"}  # the parts share a network here
        return {**given, "DATABASE_URL": cron_server if part == "migrate" else url, **ports}

    def start(part: str) -> Process:
        command: list[str] = services()[part]["command"]
        return Process(command, tmp_path / f"{part}.log", environment(part), tmp_path, with_capabilities(part))

    for _ in range(2):  # `docker compose up` runs it each time
        migration = start("migrate")
        assert migration.wait() == 0, migration.log.read_text()
    running = [start("api"), start("listener")]
    try:
        url = running[0].line("listening http://").split()[1]
        credentials = {"email": values["ZMESH_ADMIN_EMAIL"], "password": values["ZMESH_ADMIN_PASSWORD"]}
        login = httpx.post(f"{url}/auth/login", json=credentials).json()
        platform = Platform(url, login["project_id"], values["ZMESH_API_KEY"], login["token"], "", tmp_path)
        platform.deploy("hello", "exports.handler = (payload) => `Hello ${payload.name}`;", "javascript")
        assert platform.result("hello", {"name": "Ada"}) == "Hello Ada"
        said = eventually(lambda: re.search(r"sandbox: (\w+)", running[1].output()), "the sandbox's report")
        assert said[1] == "full" or os.geteuid() != 0, running[1].output()
        health = subprocess.run(
            [sys.executable, str(REPOSITORY / "deploy" / "listener_health.py")],
            env={**clean_environment(), **environment("listener")},
        )
        assert health.returncode == 0
    finally:
        for process in reversed(running):
            process.stop()
