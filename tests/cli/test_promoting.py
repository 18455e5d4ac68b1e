"""`zmesh promote` moves exact versions between environments, and `zmesh diff` tells whether two are the same."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cli.client import Client, Response
from cli.errors import CliError
from cli.project.promoting import Chosen, Promotion, _build_packages
from tests.platform import COMMANDS, Platform, clean_environment

CODE = "def handler(payload, zmesh):\n    return [{!r}, dict(zmesh.env)]\n"


@dataclass
class Environments:
    """Two projects of a platform, each with a profile of its name."""

    staging: Platform
    production: Platform
    folder: Path

    def zmesh(self, *arguments: str, status: int = 0, stdin: str = "") -> str:
        """A command of somebody who has nothing but the profiles."""
        environment = {**clean_environment(), "XDG_CONFIG_HOME": str(self.folder / "config")}
        done = COMMANDS.run(arguments, cwd=self.folder, env=environment, stdin=stdin)
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def promote(self, *arguments: str, status: int = 0) -> str:
        return self.zmesh("promote", "staging", "production", *arguments, "--output", "table", status=status)


@pytest.fixture
def environments(running_platform: Platform, tmp_path: Path) -> Iterator[Environments]:
    made: list[Platform] = []
    for _ in range(2):
        name = f"p{secrets.token_hex(4)}"
        assert running_platform.request("POST", "/projects", json={"name": name}).status_code == 201
        made.append(replace(running_platform.in_project(name), folder=tmp_path))
    found = Environments(made[0], made[1], tmp_path)
    for profile, platform in (("staging", found.staging), ("production", found.production)):
        key = platform.request("POST", "/keys", json={"name": "ci", "scope": "deploy"}).json()["key"]
        found.zmesh("login", "--with-key", "--url", platform.url, "--profile", profile, stdin=key + "\n")
    yield found
    for platform in made:
        running_platform.request("DELETE", f"/projects/{platform.project_id}")


def test_what_runs_in_one_environment_runs_in_the_other(environments: Environments) -> None:
    staging, production = environments.staging, environments.production
    staging.deploy("price", CODE.format("old"), timeout_ms=4000, env_vars={"A": "1"}, tags=["shop"], methods=["POST"])
    files = {
        "index.js": "exports.handler = async () => require('./data.json');\n",
        "data.json": "[1]",
        "b": {"base64": "AAE="},
    }
    answer = staging.request(
        "POST",
        "/functions",
        json={"name": "Two Files", "language": "javascript", "files": files, "entry_file": "index.js"},
    )
    assert answer.status_code == 201, answer.text

    said = environments.promote("--dry-run", "--exit-code", status=3)
    assert "+ function price (version 1)" in said
    assert "Plan: 2 created." in said
    assert production.request("GET", "/functions").json()["items"] == []
    assert "pass --yes" in environments.promote(status=2)

    assert "Deployed: 2 created." in environments.promote("--yes")
    assert production.result("price") == ["old", {"A": "1"}]
    assert production.result("two-files") == [1]
    for slug in ("price", "two-files"):
        before, after = (one.request("GET", f"/functions/{slug}").json() for one in (staging, production))
        own = {"id", "project_id", "created_at", "updated_at", "revision"}
        assert {key: after[key] for key in after.keys() - own} == {key: before[key] for key in before.keys() - own}
    assert "No changes" in environments.promote("--exit-code")


def test_only_what_is_named_is_promoted_and_in_the_version_that_is_live(environments: Environments) -> None:
    staging, production = environments.staging, environments.production
    for text in ("one", "two", "three"):
        staging.deploy("price", CODE.format(text))
    staging.deploy("other", CODE.format("other"))
    assert staging.request("PUT", "/functions/price/aliases/live", json={"versions": {"2": 100}}).status_code == 200
    environments.promote("price", "--yes")
    assert production.result("price")[0] == "two"
    assert [item["name"] for item in production.request("GET", "/functions").json()["items"]] == ["price"]

    said = environments.promote("price@3", "--yes")
    assert "-    return ['two', dict(zmesh.env)]" in said
    assert production.result("price")[0] == "three"
    messages = [one["message"] for one in production.request("GET", "/functions/price/versions").json()["items"]]
    assert messages == ["promoted from staging, version 3", "promoted from staging, version 2"]

    staging.request("PUT", "/functions/price/aliases/live", json={"versions": {"2": 50, "1": 50}})
    assert "Versions 1 and 2 of price share its calls" in environments.promote("price", "--yes", status=1)
    assert "Did you mean price?" in environments.promote("prise", "--yes", status=1)


def test_a_target_without_the_secrets_is_refused_and_stays_as_it_was(environments: Environments) -> None:
    staging, production = environments.staging, environments.production
    staging.deploy("price", CODE.format("new"))
    staging.request("PUT", "/secrets/SHOP_KEY", json={"value": "sesame"})
    staging.request("PUT", "/functions/price/secrets/OWN_KEY", json={"value": "sesame"})
    said = environments.promote("--yes", status=1)
    assert "! secret OWN_KEY is not set (needed by price)" in said
    assert "production lacks secrets that staging has: " in said
    assert "zmesh secrets set" in said
    assert production.request("GET", "/functions").json()["items"] == []
    production.request("PUT", "/secrets/SHOP_KEY", json={"value": "other"})
    environments.promote("--yes", "--without-secret", "OWN_KEY")
    assert production.result("price") == ["new", {"SHOP_KEY": "other"}]


def test_what_was_changed_in_the_target_is_overwritten_only_on_request(environments: Environments) -> None:
    staging, production = environments.staging, environments.production
    staging.deploy("price", CODE.format("new"), env_vars={"ADDRESS": "staging"})
    production.deploy("price", CODE.format("fixed at night"), env_vars={"ADDRESS": "production"})
    assert "In production, something else has changed" in environments.promote("--yes", status=1)
    assert production.result("price") == ["fixed at night", {"ADDRESS": "production"}]
    said = environments.promote("--yes", "--overwrite", "--keep-env")
    assert "variables" not in said
    assert production.result("price") == ["new", {"ADDRESS": "production"}]
    assert "variables set: ADDRESS" in environments.promote("--yes")
    assert production.result("price") == ["new", {"ADDRESS": "staging"}]


def test_triggers_are_named_and_on_request_promoted(environments: Environments) -> None:
    staging, production = environments.staging, environments.production
    for name in ("price", "other"):
        staging.deploy(name, CODE.format(name))
        night = {"name": f"{name}-nightly", "function_id": name, "cron": "0 3 * * *", "payload": {"n": 1}}
        assert staging.request("POST", "/schedules", json=night).status_code == 201
    hook = {"name": "pushes", "function_id": "price", "preset": "github"}
    assert staging.request("POST", "/webhooks", json=hook).status_code == 201
    staging.sql("create table orders (id bigint)")
    change = {"table": "orders", "function_id": "price", "events": ["INSERT"]}
    assert staging.request("POST", "/changes", json=change).status_code == 201

    said = environments.promote("price", "--yes")
    names = "schedule price-nightly, webhook pushes, table change orders → price"
    assert f"Not promoted: {names}. To promote these too, pass --triggers." in said
    assert "zmesh deploy FOLDER --profile production" in said
    assert production.request("GET", "/schedules").json()["items"] == []

    said = environments.promote("price", "--triggers", "--yes", status=1)
    assert 'In production: table "orders" does not exist' in said
    assert "zmesh migrations apply --profile production" in said
    production.sql("create table orders (id bigint)")
    said = environments.promote("price", "--triggers", "--yes")
    assert "zmesh webhooks rotate pushes --profile production" in said
    assert "Deployed: 3 created." in said
    assert f"webhook pushes: {production.url}/" in said
    [schedule] = production.request("GET", "/schedules").json()["items"]
    assert (schedule["name"], schedule["cron"], schedule["payload"]) == ("price-nightly", "0 3 * * *", {"n": 1})
    [passed_on] = production.request("GET", "/changes").json()["items"]
    assert (passed_on["table"], passed_on["events"]) == ("orders", ["INSERT"])
    assert "Not promoted" not in environments.promote("price")
    described = json.loads(environments.zmesh("promote", "staging", "production", "--dry-run", "--output", "json"))
    assert described["not_promoted"] == [{"kind": "schedule", "name": "other-nightly"}]


def test_aliases_of_the_promoted_version_are_named_with_the_command_that_sets_them(environments: Environments) -> None:
    staging, production = environments.staging, environments.production
    for text in ("one", "two", "three"):
        staging.deploy("price", CODE.format(text))
    production.deploy("price", CODE.format("zero"))
    for name, versions in {
        "live": {"3": 100},
        "stable": {"3": 100},
        "old": {"1": 100},
        "split": {"1": 9, "3": 91},
    }.items():
        answer = staging.request("PUT", f"/functions/price/aliases/{name}", json={"versions": versions})
        assert answer.status_code == 200, answer.text
    production.request("PUT", "/functions/price/aliases/live", json={"versions": {"1": 100}})

    said = environments.promote("--yes", "--overwrite")
    assert "zmesh functions alias set price live 2 --profile production" in said
    assert "In staging, the alias stable of price names this version. To set it in production:" in said
    assert not any(f"alias {name} of price" in said for name in ("old", "split", "live"))
    [command] = [line.strip() for line in said.splitlines() if "alias set price stable" in line]
    assert command == "zmesh functions alias set price stable 2 --profile production"


def test_other_packages_than_those_of_the_source_are_refused() -> None:
    def build(version: str) -> dict[str, Any]:
        return {
            "id": "b",
            "status": "succeeded",
            "lock": "six==1.16.0",
            "packages": [{"name": "six", "version": version}],
        }

    class Target(Client):
        """A platform where somebody has built the same manifest to something else."""

        def __init__(self) -> None:
            self.locks: list[str | None] = []

        def call(self, method: str, path: str, body: Any = None, **_: Any) -> Response:
            assert (method, path) == ("POST", "/builds")
            self.locks.append(body["lock"])
            return Response(200, build("1.17.0"), None)

    code = '# /// script\n# dependencies = ["six"]\n# ///\ndef handler(payload, zmesh): ...\n'
    function = {"name": "price", "language": "python", "code": code, "entry_file": None, "files": {}}
    target = Target()
    with pytest.raises(CliError, match="price would get other packages") as raised:
        _build_packages(target, Promotion([Chosen(function, "price", 1, [], build("1.16.0"))], []))
    assert raised.value.code == "packages_differ"
    assert target.locks == ["six==1.16.0"] * 2


def test_a_project_is_not_promoted_to_itself(environments: Environments) -> None:
    environments.staging.deploy("price", CODE.format("new"))
    said = environments.zmesh("promote", "staging", "staging", status=1)
    assert "staging and staging are the same project" in said
    assert 'There is no profile "stagin"' in environments.zmesh("promote", "stagin", "production", status=1)


def test_the_profile_whose_key_is_no_longer_valid_is_named(environments: Environments) -> None:
    production = environments.production
    [key] = [one for one in production.request("GET", "/keys").json()["items"] if one["name"] == "ci"]
    assert production.request("DELETE", f"/keys/{key['id']}").status_code in (200, 204)
    said = environments.promote("--dry-run", status=1)
    assert f"zmesh login --with-key --profile production --url {production.url}" in said


def test_a_shell_completes_profiles_and_the_functions_of_the_source(environments: Environments) -> None:
    environments.staging.deploy("only-in-staging", CODE.format("new"))
    offered = {"staging ": "production", "staging production ": "only-in-staging"}
    for typed, name in offered.items():
        words = f"zmesh promote {typed}"
        completing = {"_ZMESH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        environment = {**clean_environment(), "XDG_CONFIG_HOME": str(environments.folder / "config"), **completing}
        assert f"plain,{name}\n" in COMMANDS.run([], cwd=environments.folder, env=environment).stdout


def test_a_key_that_is_stored_under_a_profile_is_a_known_one(environments: Environments) -> None:
    url = environments.staging.url
    arguments = ("login", "--with-key", "--url", url, "--profile", "other")
    assert "Unknown API key" in environments.zmesh(*arguments, stdin="zb_wrong\n", status=1)
    assert "cannot be combined" in environments.zmesh(*arguments, "--email", "a@b.example", stdin="x", status=2)
    assert "There is no profile" in environments.zmesh("functions", "list", "--profile", "other", status=1)
    assert "No functions" in environments.zmesh("functions", "list", "--profile", "staging", "--output", "table")
    environments.zmesh("logout", "--profile", "staging")
    assert "There is no profile" in environments.zmesh("functions", "list", "--profile", "staging", status=1)


def test_a_diff_tells_by_its_status_whether_folder_and_project_are_the_same(environments: Environments) -> None:
    folder = environments.folder / "shop"
    environments.zmesh("init", str(folder), "--language", "python")

    def diff(*options: str, status: int = 0) -> Any:
        return json.loads(environments.zmesh("diff", str(folder), "--profile", "staging", *options, status=status))

    assert diff()["differences"] == 1
    assert diff("--exit-code", status=3)["differences"] == 1
    environments.zmesh("deploy", str(folder), "--profile", "staging")
    assert diff("--exit-code")["differences"] == 0
    environments.staging.deploy("made-elsewhere", CODE.format(1))
    assert diff("--exit-code", status=3)["differences"] == 1
    environments.zmesh("plan", str(folder), "--profile", "staging", "--exit-code")
    environments.zmesh("diff", "--exitcode", status=2)
