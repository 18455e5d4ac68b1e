"""Registries of a project beside the public one: which packages each is asked for, and where tokens do not get."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.registry import Registry, serving
from tests.end_to_end.test_builds import ended
from tests.platform import Parts, Platform

TOKEN = "tk-93c1/7+a0e2d"
OTHER_TOKEN = "npm_41f7b2e9c6"
SCRIPT = b"""
const fs = require("fs");
const seen = [JSON.stringify(process.env)];
const files = [process.env.npm_config_userconfig, "../../../npmrc", "../../../../npmrc"];
for (const id of fs.readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name)))
  files.push(`/proc/${id}/environ`, `/proc/${id}/cmdline`);
for (const file of files) try { seen.push(fs.readFileSync(file, "latin1")) } catch {}
fs.writeFileSync("made.txt", seen.join("\\n"));
"""


@pytest.fixture
def public() -> Iterator[Registry]:
    with serving() as registry:
        registry.open.set()
        yield registry


@pytest.fixture
def private() -> Iterator[Registry]:
    with serving() as registry:
        registry.open.set()
        yield registry


def build(platform: Platform, language: str, **files: str) -> dict[str, Any]:
    named = {name.replace("__", ".").replace("_", "-"): text for name, text in files.items()}
    answer = platform.request("POST", "/builds", json={"language": language, "files": named})
    assert answer.is_success, answer.text
    return ended(platform, answer.json())


def layers(parts: Parts) -> bytes:
    query = "select data from zmesh.layer_chunks where project_id = %s order by hash, number"
    rows = parts.database.rows(query, parts.platform.project_id)
    return b"".join(zlib.decompress(row["data"]) for row in rows)


def everything(parts: Parts) -> str:
    """Every row of every table of the platform, and every log."""
    tables = parts.database.rows(
        "select oid::regclass::text as name from pg_class where relnamespace = 'zmesh'::regnamespace and relkind = 'r'"
    )
    rows = [str(parts.database.rows(f"select t::text as row from {table['name']} t")) for table in tables]
    return "".join([*rows, *(process.log.read_text() for process in parts.processes)])


@pytest.mark.timeout(300)
def test_each_package_comes_from_one_registry_and_no_token_from_anywhere(
    parts: Parts, public: Registry, private: Registry
) -> None:
    platform = parts.platform
    for name in ("good", "acme-core", "acme-extra"):
        public.add(name, {f"{name.replace('-', '_')}.py": b"public = 1\n"}, "9.9")
    private.add("acme-core", {"acme_core.py": b"private = 1\n"}, "1.0")
    noisy = {"scripts": {"install": "node s.js"}}
    public.add_npm("@acme/core", {"index.js": b"module.exports = 'public'"}, "9.9.9")
    public.add_npm("noisy", {"index.js": b"", "s.js": b"require('fs').writeFileSync('noise.txt', 'noise')"}, **noisy)
    private.add_npm("@acme/core", {"index.js": b"module.exports = 'private'", "s.js": SCRIPT}, **noisy)
    parts.start_listener(
        ZMESH_PYTHON_INDEX_URL=public.url(),
        ZMESH_NPM_REGISTRY=public.npm_url(),
        ZMESH_LAYERS_DIR=str(parts.folder / "layers"),
    )
    url = f"http://ada@127.0.0.1:{private.port}/simple"
    said = platform.zmesh("registries", "set", "python", url, "--packages", "Acme-*", stdin=TOKEN)
    assert (json.loads(said)["packages"], json.loads(said)["has_token"]) == ("acme-*", True)
    platform.zmesh("registries", "set", "node", private.npm_url(), "--packages", "@acme", stdin=OTHER_TOKEN)
    slug = platform.request("GET", f"/projects/{platform.project_id}").json()["slug"]
    platform.zmesh("projects", "scripts", slug, "@acme/core")

    private.authorization = "Basic " + base64.b64encode(f"ada:{TOKEN}".encode()).decode()
    found = build(platform, "python", requirements__txt="acme-core\ngood\n")
    assert {one["name"]: one["version"] for one in found["packages"]} == {"acme-core": "1.0", "good": "9.9"}
    missing = build(platform, "python", requirements__txt="acme_extra\n")
    assert "acme_extra does not exist in its registry" in missing["error"]["message"]
    private.authorization = f"Bearer {OTHER_TOKEN}"
    package = json.dumps({"dependencies": {"@acme/core": "*", "noisy": "*"}})
    found = build(platform, "javascript", package__json=package)
    assert {one["name"]: one["version"] for one in found["packages"]} == {"@acme/core": "1.0.0", "noisy": "1.0.0"}
    assert [path for path in public.asked if "acme" in path] == []
    assert [path for path in private.asked if "good" in path or "noisy" in path] == []

    # The script that is allowed has run, and saw no token; the other one has not.
    assert "The install script of noisy is not run" in platform.request("GET", f"/builds/{found['id']}/logs").text
    assert b"npm_lifecycle_event" in layers(parts)
    assert b"noise.txt" not in layers(parts).replace(b"'noise.txt'", b"")

    locked = {"version": "9.9.9", "integrity": "sha512-x", "resolved": "https://evil.example/x.tgz"}
    lock = json.dumps({"packages": {"": json.loads(package), "node_modules/noisy": locked}})
    refused = build(platform, "javascript", package__json=package, package_lock__json=lock)
    assert refused["error"]["type"] == "other_registry"
    assert "evil.example" in refused["error"]["message"]

    seen = everything(parts) + platform.request("GET", "/builds").text + platform.zmesh("registries", "list")
    for secret in (TOKEN, OTHER_TOKEN, private.authorization, base64.b64encode(f"ada:{TOKEN}".encode()).decode()):
        assert secret not in seen
        assert secret.encode() not in layers(parts)
    assert "has_token" in seen
