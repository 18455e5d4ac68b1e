"""Packages by the lock of another build: what was resolved once is installed again, whatever is newest by now."""

from __future__ import annotations

from typing import Any

import pytest

from tests.platform import Parts, Platform, eventually

CODE = "import six\n\n\ndef handler(payload, zmesh):\n    return six.__version__\n"


@pytest.fixture
def platform(parts: Parts) -> Platform:
    """With a listener that builds."""
    parts.start_listener(20, ZMESH_LAYERS_DIR=str(parts.folder / "layers"))
    return parts.platform


def built(platform: Platform, requirement: str, **options: Any) -> dict[str, Any]:
    wanted = {"language": "python", "code": CODE, "files": {"requirements.txt": f"{requirement}\n"}, **options}
    answer = platform.request("POST", "/builds", json=wanted)
    assert answer.status_code in (200, 202), answer.text

    def look() -> dict[str, Any] | None:
        build: dict[str, Any] = platform.request("GET", f"/builds/{answer.json()['id']}").json()
        return None if build["status"] in ("queued", "running") else build

    found = eventually(look, "the end of the build", 240)
    assert found["status"] == "succeeded", found
    return found


@pytest.mark.timeout(300)
def test_a_lock_of_another_build_decides_what_a_manifest_gets(platform: Platform) -> None:
    older = built(platform, "six==1.16.0")
    locked = built(platform, "six>=1.15", lock=older["lock"])
    assert [(one["name"], one["version"]) for one in locked["packages"]] == [("six", "1.16.0")]
    assert built(platform, "six>=1.15", lock=older["lock"])["id"] == locked["id"]
    files = {"main.py": CODE, "requirements.txt": "six>=1.15\n"}
    wanted = {"name": "six", "language": "python", "files": files, "entry_file": "main.py"}
    assert platform.request("POST", "/functions", json=wanted).status_code == 201
    assert platform.result("six") == "1.16.0"
    for lock in ("six==1.14.0 --hash=sha256:00", "no lock", ""):
        body = {"language": "python", "files": {"requirements.txt": "six>=1.15\n"}, "lock": lock}
        assert platform.request("POST", "/builds", json=body).json()["code"] == "invalid_input"
