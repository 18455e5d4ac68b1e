"""Packages of both registries, from a deployment by the command line to runs that import them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.platform import Parts, Platform, eventually

PYTHON = """# /// script
# dependencies = ["six==1.17.0", "markupsafe==3.0.2"]
# ///
import markupsafe
import six
import sys


def handler(payload, zmesh):
    loaded = sys.modules["markupsafe._speedups"].__file__
    return [six.__version__, str(markupsafe.escape("<")), loaded.endswith(".so")]
"""
LOCKS = ("python/requirements.lock", "module/package-lock.json")
MISSING = PYTHON.replace("six==1.17.0", "zmesh-no-such-package-5f0c==1")
SOURCE_ONLY = PYTHON.replace("six==1.17.0", "docopt==0.6.2")


@pytest.fixture
def platform(parts: Parts) -> Platform:
    """With one listener, which keeps its layers in a folder of the test."""
    parts.start_listener(20, ZMESH_LAYERS_DIR=str(parts.folder / "layers"))
    return parts.platform


def deploy(platform: Platform, name: str, code: str, *options: str, status: int = 0) -> Any:
    (platform.folder / name).write_text(code)
    said = platform.zmesh("functions", "deploy", name, "--output", "json", *options, status=status)
    return json.loads(said)[0] if status == 0 else said


@pytest.mark.timeout(300)
def test_a_python_file_with_script_metadata_runs_with_its_packages(platform: Platform, parts: Parts) -> None:
    deployed = deploy(platform, "hello.py", PYTHON)
    named = [(package["name"], package["version"]) for package in deployed["packages"]]
    assert named == [("MarkupSafe", "3.0.2"), ("six", "1.17.0")]
    assert platform.result("hello") == ["1.17.0", "&lt;", True]

    # A failure changes nothing, and says which package and why.
    for code, reason in (
        (MISSING, "zmesh-no-such-package-5f0c does not exist in the registry"),
        (SOURCE_ONLY, "docopt==0.6.2 has no wheel"),
    ):
        said = deploy(platform, "hello.py", code, status=1)
        assert reason in said
        assert "Nothing was deployed" in said
        assert platform.result("hello") == ["1.17.0", "&lt;", True]
    answer = platform.request("PATCH", "/functions/hello", json={"code": MISSING})
    assert (answer.status_code, answer.json()["code"]) == (409, "packages_not_built")

    # Other code with the same packages needs no build; code without packages has none; a rollback brings them back.
    assert platform.request("PATCH", "/functions/hello", json={"code": PYTHON + "\n# more"}).is_success
    plain = "def handler(payload, zmesh):\n    import six\n"
    assert platform.request("PATCH", "/functions/hello", json={"code": plain}).json()["build_id"] is None
    assert platform.invoke("hello").json()["error"]["type"] == "ModuleNotFoundError"
    platform.zmesh("functions", "rollback", "hello", "1")
    assert platform.result("hello") == ["1.17.0", "&lt;", True]

    # Nothing of the registry is in what people see.
    [build] = [one for one in platform.request("GET", "/builds").json()["items"] if one["status"] == "succeeded"]
    log = platform.request("GET", f"/builds/{build['id']}/logs").text
    assert "Installed six 1.17.0" in log
    lock = platform.request("GET", f"/builds/{build['id']}").json()["lock"]
    assert "six==1.17.0 --hash=sha256:" in lock
    assert "://" not in log + lock

    # What was changed on disk is found out by the next listener, and fetched again.
    parts.processes[-1].stop()
    [six] = (platform.folder / "layers").rglob("python/six.py")
    six.chmod(0o644)
    six.write_text("__version__ = 'changed'")
    parts.start_listener(20, ZMESH_LAYERS_DIR=str(parts.folder / "layers"), ZMESH_BUILDS="0")
    assert platform.result("hello") == ["1.17.0", "&lt;", True]

    # What was changed in the database is not run.
    parts.processes[-1].stop()
    parts.database.rows("update zmesh.layer_chunks set data = overlay(data placing '\\x00' from 100)")
    parts.start_listener(20, ZMESH_LAYERS_DIR=str(parts.folder / "others"))
    error = platform.invoke("hello").json()["error"]
    assert error["type"] == "platform_error"
    assert "The packages in the database are" in error["message"]


@pytest.mark.timeout(300)
def test_folders_of_both_languages_run_with_the_packages_of_their_manifests(platform: Platform) -> None:
    folders = {
        "python": {
            "requirements.txt": "six==1.17.0\n",
            "main.py": "import helper\n\ndef handler(payload, zmesh):\n    return helper.version()\n",
            "helper.py": "import six\n\ndef version():\n    return six.__version__\n",
        },
        "module": {
            "package.json": '{"type": "module", "dependencies": {"is-number": "7.0.0"}}',
            "index.js": 'import isNumber from "is-number";\nexport const handler = (it) => isNumber(it.value);',
        },
        "common": {
            "package.json": '{"dependencies": {"is-number": "7.0.0"}}',
            "index.js": 'const isNumber = require("is-number");\nexports.handler = (it) => isNumber(it.value);',
        },
    }
    for name, files in folders.items():
        (platform.folder / "functions" / name).mkdir(parents=True)
        for path, text in files.items():
            (platform.folder / "functions" / name / path).write_text(text)
    for name, code in {
        "imports.mjs": 'import isNumber from "npm:is-number@7";\nexport const handler = (it) => isNumber(it.value);',
        "requires.js": 'const isNumber = require("npm:is-number@7");\nexports.handler = (it) => isNumber(it.value);',
    }.items():
        (platform.folder / "functions" / name).write_text(code)
    said = platform.zmesh("functions", "deploy", "functions", "--output", "json")
    deployed = {one["name"]: len(one["packages"]) for one in json.loads(said)}
    assert deployed == {"python": 1, "module": 1, "common": 1, "imports": 1, "requires": 1}
    assert platform.result("python") == "1.17.0"
    for name in ("module", "common", "imports", "requires"):
        assert platform.result(name, {"value": "12"}) is True

    # The next version of the manifest is the next version of the function; the diff names the packages.
    (platform.folder / "functions" / "python" / "requirements.txt").write_text("six==1.16.0\nmarkupsafe==3.0.2\n")
    platform.zmesh("functions", "deploy", "functions")
    assert platform.result("python") == "1.16.0"
    diff = platform.request("GET", "/functions/python/versions/2/diff").json()
    assert diff["packages"] == {
        "MarkupSafe": {"before": None, "after": "3.0.2"},
        "six": {"before": "1.17.0", "after": "1.16.0"},
    }
    shown = platform.zmesh("functions", "show", "python", "--output", "table")
    assert re.search(r"six 1\.16\.0  sha256:[0-9a-f]{64}\n", shown)
    [six] = json.loads(platform.zmesh("functions", "show", "python", "--version", "1"))["packages"]
    assert (six["name"], six["version"]) == ("six", "1.17.0")
    assert "package six: 1.17.0 → 1.16.0" in platform.zmesh("functions", "diff", "python", "--output", "table")
    platform.zmesh("functions", "rollback", "python", "1")
    assert platform.result("python") == "1.17.0"

    # Locks are written into the folders, and the next deployment installs exactly what they say.
    said = platform.zmesh("functions", "deploy", "functions/python", "functions/module", "--write-lock")
    written = {path: (platform.folder / "functions" / path).read_text() for path in LOCKS}
    assert "six==1.16.0 --hash=sha256:" in written["python/requirements.lock"]
    assert json.loads(written["module/package-lock.json"])["packages"]["node_modules/is-number"]["version"] == "7.0.0"
    assert [one["file_sizes"].keys() & {"requirements.lock", "package-lock.json"} for one in json.loads(said)] == [
        {"requirements.lock"},
        {"package-lock.json"},
    ]
    again = platform.zmesh("functions", "deploy", "functions/python", "functions/module", "--write-lock")
    assert [one["action"] for one in json.loads(again)] == ["unchanged", "unchanged"]
    assert platform.result("python") == "1.16.0"
    (platform.folder / "functions" / "python" / "requirements.txt").write_text("six==1.16.0\n")
    said = platform.zmesh("functions", "deploy", "functions/python", status=1)
    assert "requirements.lock does not fit requirements.txt" in said
    assert "Nothing was deployed" in said
    said = platform.zmesh("functions", "deploy", "functions/imports.mjs", "--write-lock", status=1)
    assert "imports.mjs is a single file, which has no place for a lock" in said


@pytest.mark.timeout(300)
def test_a_javascript_build_installs_and_locks_what_is_imported(platform: Platform) -> None:
    files = {"package.json": json.dumps({"dependencies": {"is-number": "^7.0.0"}})}
    body: dict[str, Any] = {"language": "javascript", "files": files}
    build = ended(platform, body)
    [package] = build["packages"]
    assert (package["name"], package["version"], package["hash"][:7]) == ("is-number", "7.0.0", "sha512-")
    lock = json.loads(build["lock"])
    assert "resolved" not in build["lock"]

    # The lock installs the same; a wrong hash in it is refused.
    again = ended(platform, {**body, "files": {**files, "package-lock.json": json.dumps(lock)}})
    assert (again["packages"], again["layer_bytes"]) == (build["packages"], build["layer_bytes"])
    lock["packages"]["node_modules/is-number"]["integrity"] = "sha512-" + "A" * 86 + "=="
    wrong = ended(platform, {**body, "files": {**files, "package-lock.json": json.dumps(lock)}})
    assert wrong["status"] == "failed"
    assert "does not have the hash" in wrong["error"]["message"]

    missing = ended(platform, {"language": "javascript", "code": "import x from 'npm:zmesh-no-such-5f0c'"})
    assert "zmesh-no-such-5f0c does not exist in the registry" in missing["error"]["message"]


def ended(platform: Platform, body: dict[str, Any]) -> dict[str, Any]:
    """The build of this, once it has ended."""
    answer = platform.request("POST", "/builds", json=body)
    assert answer.is_success, answer.text

    def look() -> dict[str, Any] | None:
        build: dict[str, Any] = platform.request("GET", f"/builds/{answer.json()['id']}").json()
        return build if build["finished_at"] else None

    return eventually(look, "the end of a build", 120)
