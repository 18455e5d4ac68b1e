"""Builds that are cancelled, lose their listener, or install what is hostile, from a registry of the test."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import socket
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pytest

from sandbox.confinement import kernel
from sandbox.confinement.landlock import PORTS_SINCE
from tests.end_to_end.registry import Registry, serving, source, wheel
from tests.platform import Parts, Platform, Process, eventually
from tests.processes import ancestors

TOKEN = "tk-5d1e0f7a9c"


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving() as registry:
        yield registry


def start_listener(parts: Parts, registry: Registry) -> Process:
    return parts.start_listener(
        ZMESH_PYTHON_INDEX_URL=registry.url(f"ada:{TOKEN}@"), ZMESH_LAYERS_DIR=str(parts.folder / "layers")
    )


def request(platform: Platform, package: str) -> dict[str, Any]:
    body = {"language": "python", "files": {"requirements.txt": package}}
    build: dict[str, Any] = platform.request("POST", "/builds", json=body).json()
    return build


def state(platform: Platform, build: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = platform.request("GET", f"/builds/{build['id']}").json()
    return found


def ended(platform: Platform, build: dict[str, Any]) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        return found if (found := state(platform, build))["finished_at"] else None

    return eventually(look, "the end of a build")


def processes_of(registry: Registry) -> list[str]:
    """Processes that know the registry, the listener itself excepted."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"PIP_INDEX_URL={registry.url(f'ada:{TOKEN}@')}".encode() in (place / "environ").read_bytes():
                found.append(place.name)
        except OSError:
            continue
    return found


def test_a_build_that_is_cancelled_leaves_no_process(parts: Parts, registry: Registry) -> None:
    start_listener(parts, registry)
    build = request(parts.platform, "held")
    eventually(lambda: registry.asked, "a request to the registry")
    assert processes_of(registry)
    assert parts.platform.request("POST", f"/builds/{build['id']}/cancel").json()["status"] == "running"
    cancelled = ended(parts.platform, build)
    assert (cancelled["status"], cancelled["error"]) == ("cancelled", None)
    assert build["id"] in parts.platform.zmesh("builds", "show", build["id"][:8])
    assert processes_of(registry) == []
    staging = list((parts.folder / "layers" / "0").glob("staging-*"))
    eventually(lambda: not any(place.exists() for place in staging), "the removal of what the build had written")


def test_a_build_whose_listener_is_killed_is_started_again_by_another(parts: Parts, registry: Registry) -> None:
    registry.add("held", {"held.py": b""})
    listener = start_listener(parts, registry)
    build = request(parts.platform, "held")
    eventually(lambda: registry.asked, "a request to the registry")
    listener.kill()
    eventually(lambda: not processes_of(registry), "the end of the installer")
    registry.open.set()
    start_listener(parts, registry)
    again = ended(parts.platform, build)
    assert (again["status"], again["attempts"]) == ("succeeded", 2)
    layers = parts.folder / "layers" / "0"
    eventually(lambda: not list(layers.glob("staging-*")), "the removal of what both had begun")


def installers_of(registry: Registry) -> list[int]:
    """Waits until one of them has asked for the package."""
    return eventually(lambda: registry.asked and list(map(int, processes_of(registry))), "an installer")  # type: ignore[no-any-return]


def log_of(platform: Platform, build: dict[str, Any]) -> list[str]:
    return [line["message"] for line in platform.request("GET", f"/builds/{build['id']}/logs").json()]


@pytest.mark.parametrize(
    "victim", ["installer", "its run", "the supervisor of the run", "the process it is forked from"]
)
def test_a_build_that_is_killed_from_outside_is_queued_again(parts: Parts, registry: Registry, victim: str) -> None:
    registry.add("held", {"held.py": b""})
    listener = start_listener(parts, registry)
    build = request(parts.platform, "held")
    [installer, *_] = installers_of(registry)
    above = ancestors(installer)
    between = above[: above.index(listener.pid)]
    place = {"installer": installer, "its run": between[0], "the supervisor of the run": between[1]}
    os.kill(place.get(victim, between[-1]), signal.SIGKILL)
    registry.open.set()
    again = ended(parts.platform, build)
    assert (again["status"], again["attempts"], again["error"]) == ("succeeded", 2, None)
    log = log_of(parts.platform, build)
    [interrupted] = [line for line in log if line.startswith("Attempt 1 of 3 was interrupted: ")]
    assert interrupted.endswith(" The build is queued again.")
    assert any("held" in line for line in log[log.index(interrupted) + 1 :])  # what the second attempt printed


def test_a_build_that_is_killed_each_time_fails_and_says_what_to_do(parts: Parts, registry: Registry) -> None:
    start_listener(parts, registry)
    build = request(parts.platform, "held")
    for _ in range(3):
        for pid in installers_of(registry):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: not processes_of(registry), "the end of the installer")
        registry.asked.clear()
    failed = ended(parts.platform, build)
    assert (failed["status"], failed["attempts"], failed["error"]["type"]) == ("failed", 3, "sandbox_failed")
    assert "The installer was killed by signal 9." in failed["error"]["message"]
    assert "The packages are not the cause" in failed["error"]["message"]


def test_a_build_whose_end_the_database_did_not_take_is_queued_again(own_parts: Parts, registry: Registry) -> None:
    """Its listener lives on, so that nobody else would."""
    registry.add("held", {"held.py": b""})
    listener = start_listener(own_parts, registry)
    build = request(own_parts.platform, "held")
    eventually(lambda: registry.asked, "a request to the registry")
    ends = "zmesh.finish_build(uuid, uuid, text, text, jsonb, text, jsonb), zmesh.requeue_build(uuid, uuid, text, text)"
    own_parts.database.rows(f"revoke execute on function {ends} from zmesh_listener")
    registry.open.set()
    eventually(lambda: "was interrupted in attempt 1" in listener.output(), "the end of the first attempt")
    own_parts.database.rows(f"grant execute on function {ends} to zmesh_listener")
    again = ended(own_parts.platform, build)
    assert (again["status"], again["attempts"]) == ("succeeded", 2)


def test_packages_move_to_newer_versions_when_fresh_ones_are_asked_for(parts: Parts, registry: Registry) -> None:
    registry.open.set()
    start_listener(parts, registry)
    code = "# /// script\n# dependencies = ['good']\n# ///\ndef handler(payload, zmesh):\n    return 1\n"
    (parts.folder / "hello.py").write_text(code)

    def deploy(*options: str) -> tuple[str, int, str]:
        said = parts.platform.zmesh("functions", "deploy", "hello.py", "--output", "json", *options)
        [deployed] = json.loads(said)
        return deployed["action"], deployed["version"], deployed["packages"][0]["version"]

    registry.add("good", {"good.py": b""}, "1.0")
    assert deploy() == ("created", 1, "1.0")
    registry.add("good", {"good.py": b""}, "2.0")
    assert deploy() == ("unchanged", 1, "1.0")
    assert deploy("--fresh-packages") == ("updated", 2, "2.0")


def test_hostile_wheels_are_refused_and_nothing_tells_of_the_registry(parts: Parts, registry: Registry) -> None:
    registry.open.set()
    registry.add("good", {"good/__init__.py": b"x = 1\n"})
    registry.add("shadow", {"shadow.py": b"", "zmesh_runtime/__init__.py": b"raise SystemExit\n"})
    registry.add("climber", {"climber.py": b"", "../../../../../../../tmp/climbed.py": b""})
    backend = f"import urllib.request; urllib.request.urlopen({registry.url()!r} + '/built/')"
    registry.wheels["sly"] = source("sly", backend)
    registry.add("builder", {"builder.py": b""}, requires=f"sly @ {registry.address('sly')}")
    start_listener(parts, registry)
    reasons = {
        "shadow": "zmesh_runtime",
        "climber": "outside",
        "missing": "missing",
        "builder": "only wheels are installed",
    }
    for name, reason in reasons.items():
        build = ended(parts.platform, request(parts.platform, name))
        assert build["status"] == "failed"
        assert reason in build["error"]["message"], build["error"]
    assert "/simple/built/" not in registry.asked  # code of a package would have asked for it
    build = ended(parts.platform, request(parts.platform, "good"))
    assert [(package["name"], package["version"]) for package in build["packages"]] == [("good", "1.0")]

    assert registry.credentials == {"Basic " + base64.b64encode(f"ada:{TOKEN}".encode()).decode()}
    builds = parts.platform.request("GET", "/builds").text
    logs = [row["message"] for row in parts.database.rows("select message from zmesh.build_logs")]
    layers = [zlib.decompress(row["data"]) for row in parts.database.rows("select data from zmesh.layer_chunks")]
    assert any(b"x = 1" in layer for layer in layers)
    for secret in (TOKEN, f"127.0.0.1:{registry.port}"):
        assert secret not in builds + "".join(logs)
        assert not any(secret.encode() in layer for layer in layers)
        assert secret not in parts.processes[-1].log.read_text()


def test_what_is_installed_beside_the_code_is_deployed_without_a_registry(parts: Parts, registry: Registry) -> None:
    parts.start_listener(
        ZMESH_PYTHON_INDEX_URL="http://127.0.0.1:9/simple", ZMESH_LAYERS_DIR=str(parts.folder / "layers")
    )
    folder = parts.folder / "offline"
    site = folder / ".venv" / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (folder / "requirements.txt").write_text("good\n")
    (folder / "main.py").write_text("import good\n\ndef handler(payload, zmesh):\n    return good.x\n")
    said = parts.platform.zmesh("functions", "deploy", "offline", "--bundle", status=1)
    assert "good, which the manifest needs, is not installed" in said
    for name in ("good", "unneeded"):
        _, content = wheel(name, {f"{name}.py": b"x = 7\n"})
        zipfile.ZipFile(io.BytesIO(content)).extractall(site)
    for action in ("created", "unchanged"):
        [deployed] = json.loads(parts.platform.zmesh("functions", "deploy", "offline", "--bundle"))
        assert (deployed["action"], [one["name"] for one in deployed["packages"]]) == (action, ["good"])
    assert parts.platform.result("offline") == 7

    # What is known of the packages; a registry that does not tell is not the same as nothing known.
    place = {"ZMESH_PYTHON_INDEX_URL": registry.url()}
    known = {"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "summary": "It leaks.", "fixed_in": ["1.1"], "link": "x"}
    registry.open.set()
    said = parts.platform.zmesh("functions", "audit", "offline", "--output", "table", status=1, **place)
    assert "not checked: good 1.0: 127.0.0.1 does not have it" in said
    assert "0 known vulnerabilities in 0 of 1 packages" in said
    registry.answers["/pypi/good/1.0/json"] = {"vulnerabilities": [known, {**known, "withdrawn": "2026-01-01"}]}
    said = parts.platform.zmesh("functions", "audit", "offline", "--output", "json", status=1, **place)
    [vulnerability] = json.loads(said.splitlines()[0])["vulnerabilities"]
    assert (vulnerability["id"], vulnerability["fixed_in"]) == ("CVE-2026-1", "1.1")
    registry.answers["/pypi/good/1.0/json"] = {"vulnerabilities": []}
    assert json.loads(parts.platform.zmesh("functions", "audit", "offline", "--output", "json", **place)) == {
        "checked": 1,
        "vulnerabilities": [],
        "not_checked": [],
    }


@pytest.mark.timeout(180)
def test_people_are_told_why_runs_cannot_be_forked_after_the_import(parts: Parts, registry: Registry) -> None:
    busy = b"import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    registry.add("busy", {"busy.py": busy})
    registry.add("calm", {"calm.py": b""})
    registry.open.set()
    start_listener(parts, registry)
    platform = parts.platform
    for package in ("busy", "calm"):
        code = f'# /// script\n# dependencies = ["{package}"]\n# ///\nimport {package}\ndef handler(): return 1\n'
        (platform.folder / f"uses-{package}.py").write_text(code)
        platform.zmesh("functions", "deploy", f"uses-{package}.py")

    def reason_of(package: str) -> str | None:
        assert platform.result(f"uses-{package}") == 1
        reason: str | None = platform.request("GET", f"/functions/uses-{package}").json()["not_forked_because"]
        return reason

    assert eventually(lambda: reason_of("busy"), "the reason", 60) == "packages: they started a thread"
    assert reason_of("calm") is None
    for output in ("table", "json"):
        again = platform.zmesh("functions", "deploy", "uses-busy.py", "--output", output)
        assert "packages: they started a thread" in again, output
        assert "forked" not in platform.zmesh("functions", "deploy", "uses-calm.py", "--output", output)

    invocation = platform.request("POST", "/functions/uses-busy/invoke", json={"payload": {}}).json()["invocation_id"]
    shown = platform.request("GET", f"/invocations/{invocation}").json()
    assert shown["not_forked_because"] == "packages: they started a thread"
    [problem] = parts.database.rows("select problem from zmesh.warnings() where problem ~ 'cannot be forked'")
    assert "uses-busy" in problem["problem"]

    platform.zmesh("functions", "update", "uses-busy", "--preload", "calm")  # which its packages do not have
    eventually(lambda: reason_of("busy") is None, "runs that need no process to be forked from", 60)


CONNECTS = """
const { createConnection } = require("net");
const places = JSON.parse(require("fs").readFileSync("places.json"));
const proxy = new URL(process.env.HTTP_PROXY);
const credentials = "Basic " + Buffer.from(`${proxy.username}:${proxy.password}`).toString("base64");
const tried = (start) => new Promise((done) => start(done)).catch((error) => error.code);
const connect = (place) => tried((done) => {
  const socket = createConnection(place, () => done("connected")).on("error", (error) => done(error.code));
  socket.on("connect", () => socket.destroy());
});
const ask = (url, authorization) => tried((done) => {
  const socket = createConnection({ host: proxy.hostname, port: Number(proxy.port) });
  socket.on("error", (error) => done(error.code)).on("data", (data) => done(String(data).split(" ")[1]));
  socket.write(`GET ${url} HTTP/1.1\\r\\nProxy-Authorization: ${authorization}\\r\\n\\r\\n`);
});
const datagram = () => tried((done) => {
  const socket = require("dgram").createSocket("udp4").on("error", (error) => done(error.code));
  socket.send("x", 53, "127.0.0.1", (error) => done(error ? error.code : "sent"));
});
(async () => {
  const seen = {
    registry: (await fetch(places.registry)).status,
    other: await ask(places.other, credentials),
    stranger: await ask(places.registry, `Basic ${places.token}`),
    datagram: await datagram(),
  };
  const proxyElsewhere = { host: "127.0.0.2", port: Number(proxy.port) };
  for (const place of [...places.direct, proxyElsewhere]) seen[Object.values(place).join(":")] = await connect(place);
  console.log("REACHED " + Object.values(seen).join(" "));
})();
"""


def proxy_of(registry: Registry) -> SplitResult:
    """The proxy of the build that asks this registry, with its token."""
    environment = (Path("/proc") / processes_of(registry)[0] / "environ").read_text()
    return urlsplit(re.findall(r"\bHTTP_PROXY=([^\0]+)", environment)[0])


def allow_scripts(platform: Platform, package: str) -> None:
    slug = platform.request("GET", f"/projects/{platform.project_id}").json()["slug"]
    platform.zmesh("projects", "scripts", slug, package)


def build_node(platform: Platform, packages: str | dict[str, str], lock: str | None = None) -> dict[str, Any]:
    manifest = json.dumps({"dependencies": {packages: "*"} if isinstance(packages, str) else packages})
    files = {"package.json": manifest, **({} if lock is None else {"package-lock.json": lock})}
    body = {"language": "javascript", "files": files}
    return ended(platform, platform.request("POST", "/builds", json=body).json())


def test_an_aliased_package_keeps_its_own_name_and_its_alias_allows_it_no_script(
    parts: Parts, registry: Registry
) -> None:
    registry.open.set()
    script = {"install": "node s.js"}
    packages: list[tuple[str, str, dict[str, str]]] = [
        ("trusted", "1.0.0", {}),
        ("evil", "2.0.0", {}),
        ("parent", "1.0.0", {"trusted": "npm:evil@2"}),
    ]
    for name, version, dependencies in packages:
        files = {"s.js": f"console.log('RAN {name}')".encode(), "index.js": b""}
        registry.add_npm(name, files, version, scripts=script, dependencies=dependencies)
    parts.start_listener(ZMESH_NPM_REGISTRY=registry.npm_url(), ZMESH_LAYERS_DIR=str(parts.folder / "layers"))
    allow_scripts(parts.platform, "trusted")

    build = build_node(parts.platform, {"parent": "*", "trusted": "*", "mine": "npm:trusted@1"})

    assert build["status"] == "succeeded", build
    assert [package["name"] for package in build["packages"]] == ["trusted", "parent", "evil", "trusted"]
    said = parts.platform.request("GET", f"/builds/{build['id']}/logs").text
    assert sorted(re.findall(r"RAN \w+", said)) == ["RAN trusted"] * 2
    assert "The install script of evil is not run." in said


def test_allowed_scripts_run_with_a_lock_too_but_not_those_of_bundled_packages(
    parts: Parts, registry: Registry
) -> None:
    registry.open.set()
    registry.add_npm("good", {"index.js": b""}, scripts={"install": "echo RAN good"})
    bundled = json.dumps({"name": "good", "version": "1.0.0", "scripts": {"install": "echo RAN bundled"}}).encode()
    files = {"index.js": b"", "node_modules/good/package.json": bundled}
    registry.add_npm("bundling", files, dependencies={"good": "*"}, bundleDependencies=["good"])
    parts.start_listener(ZMESH_NPM_REGISTRY=registry.npm_url(), ZMESH_LAYERS_DIR=str(parts.folder / "layers"))
    allow_scripts(parts.platform, "good")
    locked = {"version": "1.0.0", "hasInstallScript": True, "integrity": registry.integrity("good")}
    packages = {"": {"dependencies": {"good": "*"}}, "node_modules/good": locked}

    builds = [
        build_node(parts.platform, "bundling"),
        build_node(parts.platform, "good", json.dumps({"lockfileVersion": 3, "packages": packages})),
    ]

    logs = [parts.platform.request("GET", f"/builds/{build['id']}/logs").text for build in builds]
    assert [build["status"] for build in builds] == ["succeeded", "succeeded"], logs
    assert [re.findall(r'"(RAN \w+)"', text) for text in logs] == [[], ["RAN good"]]


@pytest.mark.skipif(kernel.landlock_version() < PORTS_SINCE, reason="Landlock of this kernel cannot limit ports")
def test_an_install_script_reaches_its_registry_through_the_proxy_and_nothing_else(
    parts: Parts, registry: Registry
) -> None:
    registry.open.set()
    with socket.create_server(("127.0.0.1", 0)) as service, serving() as held:
        parts.start_listener(
            ZMESH_BUILDS="2",
            ZMESH_NPM_REGISTRY=registry.npm_url(),
            ZMESH_PYTHON_INDEX_URL=held.url(f"ada:{TOKEN}@"),
            ZMESH_LAYERS_DIR=str(parts.folder / "layers"),
        )
        request(parts.platform, "held")
        eventually(lambda: held.asked, "a request of another build")
        other = proxy_of(held)
        port = service.getsockname()[1]
        database = urlsplit(parts.database.listener_url)
        direct = [
            *({"host": "127.0.0.1", "port": one} for one in (port, 443, 53, registry.port, other.port)),
            {"host": database.hostname, "port": database.port},
            {"host": "127.0.0.1", "port": urlsplit(parts.platform.url).port},
            {"path": "/tmp/.s.PGSQL.5432"},
        ]
        places = {
            "registry": registry.npm_url() + "connects",
            "other": f"http://127.0.0.1:{port}/",
            "token": base64.b64encode(f"{other.username}:{other.password}".encode()).decode(),
            "direct": direct,
        }
        files = {"s.js": CONNECTS.encode(), "places.json": json.dumps(places).encode(), "index.js": b""}
        files["run.sh"] = b"#!/bin/sh\necho RAN\n"
        registry.add_npm("tool", {"tool.js": b"#!/usr/bin/env node\n"}, bin={"a-tool": "tool.js"})
        scripts = {"install": "a-tool && ./run.sh && node s.js"}
        registry.add_npm("connects", files, scripts=scripts, dependencies={"tool": "*"})
        allow_scripts(parts.platform, "connects")
        build = build_node(parts.platform, "connects")
        assert build["status"] == "succeeded", build
        said = parts.platform.request("GET", f"/builds/{build['id']}/logs").text
        [reached] = re.findall(r"REACHED ([^\\\"]+)", said)
        assert reached.split() == ["200", "421", "407", *["EACCES"] * (len(direct) + 2)]
        assert f"A connection to 127.0.0.1:{port} was refused: builds may connect only to their registries" in said
        assert "RAN" in said


def test_files_on_another_host_are_had_if_the_installation_allows_that_host(parts: Parts, registry: Registry) -> None:
    registry.open.set()
    registry.files_on = "localhost"
    registry.add("good", {"good.py": b""})
    registry.add_npm("fine", {"index.js": b""})
    registry.add_npm("strange", {"index.js": b""})
    registry.tarballs["strange"][0]["dist"]["tarball"] = f"http://localhost:{registry.port}/strange/-/1.0.0.tgz"
    place = {
        "ZMESH_PYTHON_INDEX_URL": registry.url(),
        "ZMESH_NPM_REGISTRY": registry.npm_url(),
        "ZMESH_LAYERS_DIR": str(parts.folder / "layers"),
    }
    refused = f"a connection to localhost:{registry.port} was refused: builds may connect only to their registries"
    listener = parts.start_listener(**place)
    builds = ended(parts.platform, request(parts.platform, "good")), build_node(parts.platform, "fine")
    for package, build in zip(("good", "fine"), builds, strict=True):
        assert build["error"]["type"] == "packages_not_installed"
        assert build["error"]["message"].startswith(refused)
        assert build["error"]["message"].endswith(f"in the listener's ZMESH_BUILD_HOSTS; a file of {package} is there")
    strange = build_node(parts.platform, "strange")  # not by a redirect
    assert "its registry names a file on another host" in strange["error"]["message"]
    listener.stop()
    parts.start_listener(**place, ZMESH_BUILD_HOSTS=f"files.example, localhost:{registry.port}")
    for build in (ended(parts.platform, request(parts.platform, "good")), build_node(parts.platform, "fine")):
        assert build["status"] == "succeeded", build
