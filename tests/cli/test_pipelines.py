"""The pipelines that `zmesh init` writes: their steps are executed as GitHub and GitLab would, with a deploy key."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.project.initialising import write_project
from tests.platform import Platform, clean_environment

INSTALLATIONS = ["pip install zmesh-functions", "pip install pytest"]  # done for the tests, from this repository
COMMIT = "0f5c9d"


@dataclass
class Step:
    """Lines of a shell, and the condition under which they are executed."""

    script: str
    condition: str = ""
    shell: tuple[str, ...] = ("bash", "-eo", "pipefail", "-c")


@dataclass
class Pipeline:
    """The steps of a pipeline of a project folder, with the variables that its service would set."""

    folder: Path
    steps: list[Step]
    variables: Mapping[str, str]
    done: list[str] = field(default_factory=list)

    def run(self, when: str) -> str:
        """What has this condition, or none and was not executed before; returns what was printed."""
        environment = {**clean_environment(), **self.variables}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        printed = ""
        for step in self.steps:
            if step.script in INSTALLATIONS or step.condition not in ("", when) or step.script in self.done:
                continue
            ran = subprocess.run(
                [*step.shell, step.script],
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            printed += ran.stdout + ran.stderr
            assert ran.returncode == 0, f"{step.script}\n{printed}"
            self.done.append(step.script)
        return printed


def github(folder: Path, variables: Mapping[str, str]) -> Pipeline:
    """As a runner of GitHub executes the only job: variables have their values before any shell sees them."""
    text = (folder / ".github" / "workflows" / "deploy.yml").read_text()
    workflow = yaml.safe_load(text)
    [job] = workflow["jobs"].values()
    values = {
        f"${{{{ {kind}.{name} }}}}": variables[name]
        for kind, name in (("vars", "ZMESH_URL"), ("secrets", "ZMESH_API_KEY"))
    }
    given = {name: values[expression] for name, expression in job["env"].items()}
    steps = [Step(step["run"], step.get("if", "")) for step in job["steps"] if "run" in step]
    assert {step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step} == {
        "actions/checkout",
        "actions/setup-python",
    }
    assert set(workflow[True]) == {"pull_request", "push"}  # YAML 1.1 takes the key "on" for a boolean
    return Pipeline(folder, steps, {**given, "GITHUB_SHA": COMMIT})


def gitlab(folder: Path, variables: Mapping[str, str]) -> Pipeline:
    """As runners of GitLab execute the jobs in the order of their stages, of which test comes before deploy."""
    pipeline: dict[str, Any] = yaml.safe_load((folder / ".gitlab-ci.yml").read_text())
    jobs = [job for job in pipeline.values() if isinstance(job, dict) and "script" in job]
    steps = [Step(line) for line in pipeline["default"]["before_script"]]
    for job in sorted(jobs, key=lambda job: ["test", "deploy"].index(job["stage"])):
        [condition] = [rule["if"] for rule in job.get("rules", [{"if": ""}])]
        steps += [Step(line, condition) for line in job["script"]]
    assert len(pipeline["workflow"]["rules"]) == 2
    return Pipeline(folder, steps, {**variables, "CI_COMMIT_SHA": COMMIT})


SERVICES = {
    "github": (github, "github.event_name == 'pull_request'", "github.event_name == 'push'"),
    "gitlab": (
        gitlab,
        '$CI_PIPELINE_SOURCE == "merge_request_event"',
        "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH",
    ),
}


@pytest.fixture
def platform(running_platform: Platform, tmp_path: Path) -> Iterator[Platform]:
    """A project of its own."""
    name = f"p{secrets.token_hex(4)}"
    assert running_platform.request("POST", "/projects", json={"name": name}).status_code == 201
    there = replace(running_platform.in_project(name), folder=tmp_path)
    yield there
    running_platform.request("DELETE", f"/projects/{there.project_id}")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("service", SERVICES)
def test_a_proposal_is_planned_and_what_is_merged_is_deployed(platform: Platform, service: str, tmp_path: Path) -> None:
    read, proposed, merged = SERVICES[service]
    write_project(tmp_path / "shop", "python", service)
    key = platform.request("POST", "/keys", json={"name": "ci", "scope": "deploy"}).json()["key"]
    pipeline = read(tmp_path / "shop", {"ZMESH_URL": platform.url, "ZMESH_API_KEY": key})
    assert [step.script for step in pipeline.steps[:2]] == INSTALLATIONS

    said = pipeline.run(proposed)
    assert pipeline.done == ["zmesh test --output table", "zmesh plan --output table"]
    assert "1 passed" in said
    assert "+ function greeter (version 1)" in said
    assert platform.request("GET", "/functions").json()["items"] == []

    said = pipeline.run(merged)
    [deployment] = pipeline.done[2:]
    assert deployment.startswith("zmesh deploy --message")
    assert "Deployed: 1 created." in said
    assert platform.result("greeter", {"name": "Ada"}) == {"message": "Welcome, Ada!"}
    [version] = platform.request("GET", "/functions/greeter/versions").json()["items"]
    assert version["message"] == COMMIT
