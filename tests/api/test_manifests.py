"""Manifests over HTTP: what takes long to read is read elsewhere, and not for long."""

from __future__ import annotations

from typing import Any

import pytest

from api.management import packages
from tests.api.client import Api, refused

HOURS = "a." * 100_000 + "a = 1"  # of a reader whose time grows with the square of a key's parts


def request(api: Api, **files: str) -> Any:
    named = {name.replace("_", ".", 1): text for name, text in files.items()}
    return api.call("POST", "/builds", json={"language": "python", "files": named})


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "files", [{"pyproject_toml": HOURS}, {"pyproject_toml": "", "uv_lock": HOURS}], ids=["project", "lock"]
)
def test_a_manifest_that_takes_hours_to_read_is_refused(api: Api, files: dict[str, str]) -> None:
    if "uv_lock" in files:
        files = {**files, "pyproject_toml": '[project]\nname = "x"\ndependencies = ["six"]'}
    problem = refused(request(api, **files), 422, "invalid_input", "files")
    assert "takes too long to read" in problem["detail"]


def test_what_is_read_elsewhere_is_what_would_be_read_here(api: Api) -> None:
    project = '[project]\nname = "x"\ndependencies = ["six>=1"]'
    first = request(api, pyproject_toml=project).json()["id"]
    assert request(api, pyproject_toml=project).json()["id"] == first
    assert request(api, requirements_txt="six>=1\n").json()["id"] == first
    problem = refused(request(api, pyproject_toml="[project"), 422, "invalid_input", "files")
    assert problem["detail"].startswith("files: pyproject.toml is not valid TOML")
    packed: Any = {"base64": "AA=="}
    assert "is not a text file" in refused(request(api, pyproject_toml=packed), 422, "invalid_input", "files")["detail"]


def test_a_deployment_that_asks_twice_has_the_manifest_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(packages, "output_of", lambda *asked: read.append(asked) or b'{"manifest": null}')
    for _ in range(2):
        for number in range(10):
            assert packages._manifest("python", f"# /// script\n# {number}", {}, None) is None
    assert len(read) == 10
    assert len(packages._known) <= packages._REMEMBERED


def test_a_list_of_builds_only_counts_what_may_be_large(api: Api) -> None:
    build = request(api, requirements_txt="six\n").json()
    assert (build["packages"], build["lock"], build["package_count"]) == ([], None, 0)
    [listed] = api.call("GET", "/builds").json()["items"]
    assert {**listed, "packages": [], "lock": None} == build
