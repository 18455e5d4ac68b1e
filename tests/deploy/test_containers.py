"""The images, as docker-compose.yml runs them in a real engine: what works there, and that nothing leads out."""

from __future__ import annotations

import json
import os
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import hatch_build
from tests import engine
from tests.attacks.catalogue import EVERY_ESCAPE, SECRETS, Attack
from tests.deploy.seccomp import newest_profile
from tests.deploy.test_compose import made_env
from tests.platform import REPOSITORY, Platform, eventually
from tests.postgres_with_cron import free_port
from tests.sandbox import attacks

pytestmark = pytest.mark.timeout(600)  # whichever test comes first has the images built

PROFILES = ("the engine's own", "the newest")
IMAGES = {"postgres": engine.POSTGRES_IMAGE, **dict.fromkeys(("migrate", "api", "listener"), engine.FUNCTIONS_IMAGE)}
FULL = "sandbox: full (root), Node.js is forked"
# These look for servers on the loopback address of the listener, where a container has none.
NOT_IN_CONTAINERS = ("services", "abstract sockets", "passwords")

BUILT_OR_SECRET = (
    *(f"{hatch_build.NATIVE}/{name}" for name in hatch_build.SOURCES),
    "listener/old.so", "api/old.node", f"{hatch_build.CONSOLE}/dist/index.html", "dist/zmesh.whl",
    f"{hatch_build.SDK}/node_modules/pg/index.js", "sandbox/__pycache__/old.pyc", ".mypy_cache/old.json",
    ".env", "examples/.env", ".zmesh/secrets.json", "examples/.zmesh/secrets.json", ".venv/bin/python",
)  # fmt: skip

TOO_MUCH = """
def handler(payload, zmesh):
    held = []
    while True:
        held.append(b"x" * (8 << 20))
"""


@dataclass(frozen=True)
class Stack:
    """All services, and the administrator of the project in them."""

    command: Sequence[str]
    folder: Path
    secrets: Sequence[str]
    platform: Platform

    def compose(self, *arguments: str, profile: str = PROFILES[0]) -> str:
        files = [self.folder / "newest.yml"] if profile == "the newest" else []
        command = [*self.command, *(word for file in files for word in ("-f", str(file))), *arguments]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    def listener(self) -> str:
        return self.compose("ps", "--quiet", "listener").strip()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    why_not = engine.missing()
    if why_not is not None:
        warnings.warn(f"the images are NOT tested: {why_not}", stacklevel=1)
        pytest.skip(f"the images are NOT tested: {why_not}")
    from testcontainers.compose import DockerCompose

    folder = tmp_path_factory.mktemp("stack")
    values, port = made_env(folder), free_port()
    with (folder / ".env").open("a") as file:
        file.write(f"COMPOSE_PROJECT_NAME=zmesh-tests-{port}\nZMESH_API_PORTS={port}\nZMESH_SLOTS=8\n")
    (folder / "images.yml").write_text(yaml.safe_dump({"services": {name: {"image": i} for name, i in IMAGES.items()}}))
    (folder / "newest.json").write_text(newest_profile())
    newest = {"services": {"listener": {"security_opt": [f"seccomp:{folder / 'newest.json'}"]}}}
    (folder / "newest.yml").write_text(yaml.safe_dump(newest))
    files = [str(REPOSITORY / "docker-compose.yml"), str(folder / "images.yml")]
    compose = DockerCompose(REPOSITORY, compose_file_name=files, env_file=str(folder / ".env"), build=True)
    with compose:
        url = f"http://127.0.0.1:{port}"
        credentials = {"email": values["ZMESH_ADMIN_EMAIL"], "password": values["ZMESH_ADMIN_PASSWORD"]}
        login = httpx.post(f"{url}/auth/login", json=credentials).json()
        platform = Platform(url, login["project_id"], values["ZMESH_API_KEY"], login["token"], "", folder)
        secrets = [value for name, value in values.items() if name.endswith(("KEY", "PASSWORD"))]
        yield Stack(compose.docker_compose_command(), folder, secrets, platform)


@pytest.fixture(scope="module", params=PROFILES)
def under(request: pytest.FixtureRequest, stack: Stack) -> Stack:
    """The stack with its listener under a seccomp profile."""
    profile: str = request.param
    stack.compose("up", "--detach", "--no-build", "--no-deps", "--force-recreate", "listener", profile=profile)
    eventually(lambda: "sandbox: " in stack.compose("logs", "listener"), "the listener's report of its sandbox")
    eventually(lambda: "registered as" in stack.compose("logs", "listener"), "the listener's registration")
    return stack


def test_the_sandbox_is_full_and_forks_under_a_profile_of_the_engine(under: Stack) -> None:
    said = under.compose("logs", "listener")

    assert FULL in said
    assert "Traceback" not in said


def test_functions_of_both_languages_answer(under: Stack) -> None:
    under.platform.deploy("hello", "exports.handler = (payload) => `Hello ${payload.name}`;", "javascript")
    under.platform.deploy("count", "def handler(p, zmesh):\n    return zmesh.db.query_one('select 6 * 7 as n')['n']")

    assert under.platform.result("hello", {"name": "Ada"}) == "Hello Ada"
    assert under.platform.result("count") == 42


@pytest.mark.parametrize(
    "attack", [a for a in [*SECRETS, *EVERY_ESCAPE] if a.name not in NOT_IN_CONTAINERS], ids=lambda a: a.slug
)
def test_an_attack_gets_nothing_in_a_container(under: Stack, attack: Attack) -> None:
    payload = knowledge(under)
    under.platform.deploy(attack.slug, attack.code, attack.language, **attack.settings)

    answer = under.platform.invoke(attack.slug, {**payload, "script": attack.script})

    assert attack.check(answer.json()), json.dumps(answer.json())[:3000]
    assert not [secret for secret in under.secrets if secret in answer.text]


def knowledge(stack: Stack) -> dict[str, Any]:
    """What somebody who knows these images may know."""
    return {
        "python": "python3",  # runs see the interpreter, not the virtual environment
        "pids": list(range(1000, 1040)),  # numbers of the container mean nothing in the namespace of a run
        "paths": ["/.dockerenv", "/etc/shadow", "/proc/1/environ", "/proc/kcore", "/dev/mem", "/run/zmesh-sandbox",
                  "/run/secrets", "/opt/zmesh/lib/python3.13/site-packages/listener/settings.py"],
        "patterns": [f"{secret[:-1]}[{secret[-1]}]" for secret in stack.secrets if "=" not in secret],
        "sockets": ["/var/run/postgresql/.s.PGSQL.5432", "/var/run/docker.sock"],
        "statements": ["set role zmesh_owner", "set role postgres", "select * from zmesh.queue",
                       "select * from zmesh.project_databases", "copy (select 1) to program 'id'"],
    }  # fmt: skip


def test_nothing_leads_to_the_root_of_the_container(under: Stack) -> None:
    """It stays beneath the root of runs, since the engine refuses pivot_root(2)."""
    under.platform.deploy("old-root", attacks.python(attacks.OLD_ROOT))

    seen = under.platform.result("old-root", {"only_outside": [".dockerenv", "boot", "home", "media", "sys"]})

    assert {name: place for name, place in seen["places"].items() if place.startswith("reached")} == {}
    assert seen["places"]["in the end"] == "own"
    assert set(seen["calls"].values()) == {"EPERM"}, seen["calls"]
    assert "/run/zmesh-sandbox" not in seen["mounts"]
    assert "overlay / " not in seen["mounts"]


def test_out_of_memory_a_run_ends_and_the_listener_lives(under: Stack) -> None:
    listener = under.listener()
    under.platform.deploy("count", "def handler(payload, zmesh):\n    return 42")
    under.platform.deploy("too-much", TOO_MUCH, memory_mb=8192, timeout_ms=60_000)
    subprocess.run(
        ["docker", "update", "--memory", "700m", "--memory-swap", "700m", listener], check=True, capture_output=True
    )

    ended = under.platform.invoke("too-much").json()

    assert ended["error"]["type"] == "memory_limit", ended
    assert "The kernel killed the function's process" in ended["error"]["message"]
    assert under.platform.result("count") == 42
    assert state_of(listener) == {"running": True, "restarts": 0, "same": True}


def state_of(listener: str) -> dict[str, Any]:
    done = subprocess.run(["docker", "inspect", listener], check=True, capture_output=True, text=True)
    [found] = json.loads(done.stdout)
    return {
        "running": found["State"]["Running"],
        "restarts": found["RestartCount"],
        "same": found["Id"].startswith(listener),
    }


def test_what_a_developers_machine_has_built_or_keeps_secret_goes_into_no_image(tmp_path: Path) -> None:
    if engine.missing() is not None:
        pytest.skip(f"no image is built: {engine.missing()}")
    kept = {".dockerignore", "sandbox/native/node_template.js", "console/index.html"}
    for name in [*kept, *BUILT_OR_SECRET]:
        file = tmp_path / "context" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("planted")
    (tmp_path / "context" / ".dockerignore").write_text((REPOSITORY / ".dockerignore").read_text())

    subprocess.run(
        ["docker", "build", "--quiet", "--output", str(tmp_path / "sent"), "--file", "-", str(tmp_path / "context")],
        input="FROM scratch\nCOPY . /\n", env={**os.environ, "DOCKER_BUILDKIT": "1"}, check=True, text=True,
    )  # fmt: skip

    sent = tmp_path / "sent"
    assert {str(path.relative_to(sent)) for path in sent.rglob("*") if path.is_file()} == kept


def test_a_user_other_than_root_reaches_the_full_level_where_the_engine_allows_namespaces(stack: Stack) -> None:
    """As docs/concepts/sandbox.md says; what else it takes is the host's (user.max_user_namespaces)."""
    program = (
        "import asyncio; from sandbox import Sandbox; sandbox = Sandbox(1); asyncio.run(sandbox.start());"
        "report = sandbox.report(); print(report.level, report.mode, report.node, *report.gaps)"
    )
    done = subprocess.run(
        ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--user", "10001:10001", "--cap-drop", "ALL",
         "--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined",
         "--security-opt", "systempaths=unconfined", "--entrypoint", "/opt/zmesh/bin/python",
         engine.FUNCTIONS_IMAGE, "-c", program],
        capture_output=True, text=True,
    )  # fmt: skip

    assert done.stdout.startswith("full user_namespace forked"), done.stdout + done.stderr


def test_a_root_that_cannot_be_written_without_the_volume_of_user_ids_is_named(stack: Stack) -> None:
    service = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]["listener"]
    added = [word for name in service["cap_add"] for word in ("--cap-add", name)]
    program = "import asyncio; from sandbox import Sandbox; asyncio.run(Sandbox(1).start())"
    done = subprocess.run(
        ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--user", "0:0", "--cap-drop", "ALL", *added,
         "--entrypoint", "/opt/zmesh/bin/python", engine.FUNCTIONS_IMAGE, "-c", program],
        capture_output=True, text=True,
    )  # fmt: skip

    assert "users of runs in /run/zmesh-sandbox: Read-only file system" in done.stderr
    assert "mount a volume or tmpfs there" in done.stderr
