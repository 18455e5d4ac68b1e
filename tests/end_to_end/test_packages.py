"""Packages of both registries, from a deployment by the command line to runs that import them."""

from __future__ import annotations

import json
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
def test_a_python_file_with_script_metadata_is_deployed_with_its_packages(platform: Platform) -> None:
    deployed = deploy(platform, "hello.py", PYTHON)
    assert deployed["packages"] == [
        {"name": "MarkupSafe", "version": "3.0.2"},
        {"name": "six", "version": "1.17.0"},
    ]

    # A failure changes nothing, and says which package and why.
    for code, reason in (
        (MISSING, "zmesh-no-such-package-5f0c==1 has no wheel"),
        (SOURCE_ONLY, "docopt==0.6.2 has no wheel"),
    ):
        said = deploy(platform, "hello.py", code, status=1)
        assert reason in said
        assert "Nothing was deployed" in said
        answer = platform.request("PATCH", "/functions/hello", json={"code": MISSING})
    assert (answer.status_code, answer.json()["code"]) == (409, "packages_not_built")

    # Other code with the same packages needs no build; code without packages has none; a rollback brings them back.
    assert platform.request("PATCH", "/functions/hello", json={"code": PYTHON + "\n# more"}).is_success
    plain = "def handler(payload, zmesh):\n    import six\n"
    assert platform.request("PATCH", "/functions/hello", json={"code": plain}).json()["build_id"] is None
    platform.zmesh("functions", "rollback", "hello", "1")
    assert platform.request("GET", "/functions/hello").json()["build_id"] is not None

    # Nothing of the registry is in what people see.
    [build] = [one for one in platform.request("GET", "/builds").json()["items"] if one["status"] == "succeeded"]
    log = platform.request("GET", f"/builds/{build['id']}/logs").text
    assert "Installed six 1.17.0" in log
    assert "six==1.17.0 --hash=sha256:" in build["lock"]
    assert "://" not in log + build["lock"]


@pytest.mark.timeout(300)
def test_a_javascript_build_installs_and_locks_what_is_imported(platform: Platform) -> None:
    files = {"package.json": json.dumps({"dependencies": {"is-number": "^7.0.0"}})}
    body: dict[str, Any] = {"language": "javascript", "files": files}
    build = ended(platform, body)
    assert build["packages"] == [{"name": "is-number", "version": "7.0.0"}]
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
