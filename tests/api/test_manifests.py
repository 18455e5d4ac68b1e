"""Manifests over HTTP: what takes long to read is read elsewhere, and not for long."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any
from uuid import uuid4

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


async def test_a_deployment_that_asks_twice_has_the_manifest_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(packages, "output_of", lambda *asked: read.append(asked) or b'{"manifest": null}')
    project = uuid4()
    for _ in range(2):
        for number in range(10):
            assert await packages.find_manifest(project, "python", f"# /// script\n# {number}", {}) is None
    assert len(read) == 10
    assert len(packages._known) <= packages._REMEMBERED


def slow(number: int) -> str:
    """A manifest that takes a while to read, and asks for nothing."""
    return f"{'a.' * 3000}a = {number}\n"


def test_a_project_whose_manifests_take_long_to_read_holds_up_no_other_project(api: Api, stranger: Api) -> None:
    most = packages.MOST_OF_A_PROJECT
    with ThreadPoolExecutor(most + 5) as threads:
        many = [threads.submit(request, api, pyproject_toml=slow(number)) for number in range(most + 5)]
        for refusal in (one.result() for one in as_completed(many)):
            if refusal.status_code == 429:  # so the others are under way
                break
        for number in range(2):
            project = f'[project]\nname = "x"\ndependencies = ["six>={number}"]'
            assert request(stranger, pyproject_toml=project).status_code == 202
            assert request(stranger, requirements_txt=f"six<={number}\n").status_code == 202
        assert not all(one.done() for one in many)
    problem = refused(refusal, 429, "too_many_manifests")
    assert problem["detail"] == f"{most} manifests of this project are in progress."
    assert refusal.headers["retry-after"]
    answers = [one.result() for one in many]
    assert {answer.status_code for answer in answers} == {422, 429}  # 422: asks for no packages
    assert sum(answer.status_code == 422 for answer in answers) >= most
    assert request(api, pyproject_toml=slow(0)).status_code == 422


def test_a_list_of_builds_only_counts_what_may_be_large(api: Api) -> None:
    build = request(api, requirements_txt="six\n").json()
    assert (build["packages"], build["lock"], build["package_count"]) == ([], None, 0)
    [listed] = api.call("GET", "/builds").json()["items"]
    assert {**listed, "packages": [], "lock": None} == build
