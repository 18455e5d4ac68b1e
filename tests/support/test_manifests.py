"""Which packages a function asks for, as its files or its code say."""

from __future__ import annotations

import contextlib
import json

import pytest

from support.locks import ManifestError
from support.manifests import Manifest, manifest_of

SCRIPT = """# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "six==1.17.0",
#   "MarkupSafe",
# ]
# ///
import six
"""


def requirements(language: str, code: str = "", **files: str) -> list[str]:
    found = manifest_of(language, code, {name.replace("__", "."): text for name, text in files.items()})
    return [] if found is None else found.files["requirements.txt"].splitlines()


def packages(code: str = "", **files: object) -> dict[str, str]:
    texts = {name: json.dumps(value) for name, value in files.items()}
    found = manifest_of("javascript", code, {name.replace("_", "-") + ".json": text for name, text in texts.items()})
    return {} if found is None else json.loads(found.files["package.json"])["dependencies"]


def test_an_import_map_of_deno_names_packages() -> None:
    config = """{
      // "zod": "npm:zod@1",
      "imports": {
        "zod": "npm:zod@4", /* a comment, "with" text */
        "hono/": "npm:/hono@^4.6/",
        "supabase": "npm:@supabase/supabase-js@2",
        "dayjs": "npm:dayjs",
        "@supabase/functions-js": "jsr:@supabase/functions-js@^2",
        "slashes": "https://esm.sh/x//y",
        "@/": "./src/",
      },
    }"""
    for file in ("deno.json", "deno.jsonc"):
        found = manifest_of("typescript", "import { z } from 'npm:zod@4';", {file: config})
        assert found is not None
        assert found.source == "deno.json"
        assert json.loads(found.files["package.json"])["dependencies"] == {
            "dayjs": "*",
            "hono": "^4.6",
            "supabase": "npm:@supabase/supabase-js@2",
            "zod": "4",
        }


def test_code_without_a_manifest_needs_no_packages() -> None:
    assert manifest_of("python", "import json", {"helpers.py": "x = 1"}) is None
    assert manifest_of("typescript", "import fs from 'node:fs'", {"data.json": "{}"}) is None
    assert (
        manifest_of("javascript", "", {"package.json": '{"type": "module", "devDependencies": {"tap": "1"}}'}) is None
    )
    assert manifest_of("python", "", {"requirements.txt": "# nothing yet\n\n"}) is None


def test_requirements_are_read_without_comments_and_with_their_hashes() -> None:
    text = (
        "six==1.17.0 \\\n    --hash=sha256:aa11  # pinned\n\n# a comment\nrequests[socks]>=2 ; python_version > '3'\r\n"
    )
    assert requirements("python", requirements__txt=text) == [
        "six==1.17.0 --hash=sha256:aa11",
        "requests[socks]>=2 ; python_version > '3'",
    ]


def test_a_project_file_and_script_metadata_say_the_same_as_requirements() -> None:
    project = '[project]\nname = "x"\nversion = "1"\ndependencies = ["six==1.17.0", "MarkupSafe"]\n'
    assert requirements("python", pyproject__toml=project) == ["six==1.17.0", "MarkupSafe"]
    assert requirements("python", SCRIPT) == ["six==1.17.0", "MarkupSafe"]


def test_requirements_are_the_lock_where_a_project_file_stands_beside_them() -> None:
    project = '[project]\ndependencies = ["six"]\n'
    assert requirements("python", pyproject__toml=project, requirements__txt="six==1.17.0") == ["six==1.17.0"]


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://packages.example/simple",
        "--extra-index-url=https://packages.example/simple",
        "-r other.txt",
        "-e .",
        "--no-binary :all:",
        "git+https://example.com/x.git",
        "x @ https://example.com/x.whl",
        "./x.whl",
        "file:///etc/passwd",
        "six --global-option=x",
        "six --config-settings=x=y",
    ],
)
def test_requirements_that_name_another_source_or_an_option_are_refused(line: str) -> None:
    with pytest.raises(ManifestError, match=r"^requirements\.txt: "):
        requirements("python", requirements__txt=f"six\n{line}\n")


def test_npm_imports_and_package_files_add_up() -> None:
    code = """import { z } from "npm:zod@3.25.0";
    const a = require('npm:@scope/name@^1.2/sub');
    await import("npm:is-number")"""
    assert packages(code) == {"@scope/name": "^1.2", "is-number": "*", "zod": "3.25.0"}
    assert packages(code, package={"dependencies": {"zod": "3.25.0", "ms": "2"}})["ms"] == "2"
    with pytest.raises(ManifestError, match="the version of zod is given twice"):
        packages(code, package={"dependencies": {"zod": "^4"}})


@pytest.mark.parametrize(
    "version",
    [
        "file:../x",
        "link:x",
        "git+ssh://x/y",
        "https://example.com/x.tgz",
        "user/repository",
        "github:a/b",
        "workspace:*",
    ],
)
def test_versions_that_no_registry_has_are_refused(version: str) -> None:
    with pytest.raises(ManifestError, match="is not a version in a registry"):
        packages(package={"dependencies": {"x": version}})


def test_a_lock_loses_its_addresses_and_what_is_for_development_only() -> None:
    locked = {"version": "7.0.0", "resolved": "https://user:pw@npm.example:8443/is-number.tgz", "integrity": "sha512-x"}
    found = npm_locked({"node_modules/is-number": locked, "node_modules/tap": {**locked, "dev": True}})
    assert json.loads(found.files["package-lock.json"])["packages"] == {
        "": json.loads(found.files["package.json"]),
        "node_modules/is-number": {"version": "7.0.0", "integrity": "sha512-x"},
    }
    assert found.files["registries"] == "npm.example:8443"  # builds refuse it unless it is one of theirs


def test_a_lock_of_the_public_registry_names_no_other() -> None:
    resolved = "https://registry.npmjs.org/is-number/-/is-number-7.0.0.tgz"
    locked = {"version": "7.0.0", "resolved": resolved, "integrity": "sha512-x"}
    assert "registries" not in npm_locked({"node_modules/is-number": locked}).files


def npm_locked(packages: dict[str, object], **wanted: str) -> Manifest:
    root = {"dependencies": {"is-number": "7.0.0"}}
    files = {
        "package.json": json.dumps({"dependencies": {**root["dependencies"], **wanted}}),
        "package-lock.json": json.dumps({"packages": {"": root, **packages}}),
    }
    found = manifest_of("javascript", "", files)
    assert found is not None
    return found


def test_a_package_lock_that_does_not_fit_its_manifest_is_refused_by_package() -> None:
    with pytest.raises(ManifestError, match=r"does not fit package.json: is-number \^7, locked 7\.0\.0"):
        npm_locked({}, **{"is-number": "^7"})
    with pytest.raises(ManifestError, match=r"zod 4, locked not at all.*npm install"):
        npm_locked({}, zod="4")


@pytest.mark.parametrize(
    ("place", "more"),
    [
        ("node_modules/x", {"version": "https://evil.example/x.tgz"}),
        ("node_modules/x", {"name": "https://evil.example/x.tgz"}),
        ("node_modules/x", {"dependencies": {"y": "https://evil.example/y.tgz"}}),
        ("node_modules/x", {"optionalDependencies": {"y": "git+ssh://evil.example/y"}}),
        ("node_modules/x", {"peerDependencies": {"y": "someone/y"}}),
        ("node_modules/x", {"dependencies": ["y"]}),
        ("node_modules/x", {"dependencies": {"y": 1}}),
        ("node_modules/x", {"version": 1}),
        ("node_modules/../../x", {}),
        ("node_modules/x/../y", {}),
    ],
)
def test_no_part_of_a_lock_can_be_an_address_or_a_path(place: str, more: dict[str, object]) -> None:
    lock = {"packages": {place: {"version": "1.0.0", "integrity": "sha512-x", **more}}}
    files = {"package.json": '{"dependencies": {"x": "1"}}', "package-lock.json": json.dumps(lock)}
    with pytest.raises(ManifestError, match=r"^package-lock\.json: "):
        manifest_of("javascript", "", files)


@pytest.mark.parametrize("locked", [{"link": True, "integrity": "x"}, {"version": "1.0.0"}, "no object"])
def test_a_lock_with_links_or_without_hashes_is_refused(locked: object) -> None:
    lock = {"packages": {"node_modules/x": locked}}
    files = {"package.json": '{"dependencies": {"x": "1"}}', "package-lock.json": json.dumps(lock)}
    with pytest.raises(ManifestError, match=r"^package-lock\.json: "):
        manifest_of("javascript", "", files)


def test_manifests_that_ask_for_the_same_have_the_same_hash() -> None:
    one = manifest_of("python", "", {"requirements.txt": "six  # a comment\n"})
    other = manifest_of("python", "# /// script\n# dependencies = ['six']\n# ///", {})
    third = manifest_of("python", "", {"requirements.txt": "six>1"})
    assert one is not None
    assert other is not None
    assert third is not None
    assert one.hash == other.hash != third.hash


@pytest.mark.parametrize("dependencies", [["x"], "x", 1])
def test_a_package_lock_without_dependencies_by_name_is_refused(dependencies: object) -> None:
    lock = json.dumps({"packages": {"": {"dependencies": dependencies}}})
    with pytest.raises(ManifestError, match="the dependencies of the project are not versions by name"):
        manifest_of("javascript", "", {"package.json": '{"dependencies": {"x": "1"}}', "package-lock.json": lock})


@pytest.mark.parametrize(
    ("language", "files"),
    [
        ("python", {"pyproject.toml": "[project"}),
        ("python", {"pyproject.toml": "[project]\ndependencies = [1]"}),
        ("python", {"requirements.txt": {"base64": "AA=="}}),
        ("python", {"requirements.txt": "x\n" * 200_000}),
        ("javascript", {"package.json": "[" * 100_000}),
        ("javascript", {"package.json": '{"dependencies": {"x": 1}}'}),
        ("javascript", {"package.json": '{"dependencies": {"../x": "1"}}'}),
    ],
)
def test_a_malformed_manifest_is_refused_by_name(language: str, files: dict[str, object]) -> None:
    with pytest.raises(ManifestError, match="|".join(files)):
        manifest_of(language, "", files)


def test_script_metadata_without_an_end_is_refused() -> None:
    with pytest.raises(ManifestError, match="has no end"):
        manifest_of("python", "# /// script\n# dependencies = ['six']\nimport six", {})


@pytest.mark.parametrize(
    "code",
    [
        *("# /// script\n" * 70_000, "# ///\n" * 170_000, "from " * 200_000, "import (" * 100_000, "#" * 1_000_000),
        *(("from" + " " * 40) * 190_000, ("from 'npm:" + "a" * 214 + "~") * 37_000, "npm:" * 2_000_000),
    ],
    ids=lambda code: code[:12],
)
@pytest.mark.timeout(20)
def test_the_time_to_read_code_grows_with_its_length_only(code: str) -> None:
    for language in ("python", "javascript"):  # the time limit ends quadratic work, which takes minutes
        with contextlib.suppress(ManifestError):
            assert manifest_of(language, code, {"requirements.txt": " " * 200_000, "x.js": code}) is None


@pytest.mark.timeout(20)
def test_lines_are_joined_in_time_that_grows_with_their_number_only() -> None:
    assert requirements("python", requirements__txt="six \\\n  >= 1 \\\n") == ["six >= 1"]
    with pytest.raises(ManifestError, match="is not a pinned version"):
        requirements("python", requirements__txt="six", requirements__lock="six\\\n" * 400_000)


POETRY = '[tool.poetry.dependencies]\npython = "^3.11"\n'


@pytest.mark.parametrize(
    ("project", "said"),
    [
        (POETRY + 'six = "*"\n', "[tool.poetry.dependencies] is not read"),
        ('[project]\ndynamic = ["dependencies"]\n', "dynamic dependencies are not read"),
    ],
)
def test_packages_that_are_listed_where_they_are_not_read_are_refused(project: str, said: str) -> None:
    with pytest.raises(ManifestError) as refused:
        manifest_of("python", "", {"pyproject.toml": project})
    assert said in str(refused.value)
    assert requirements("python", pyproject__toml=project, requirements__txt="six") == ["six"]


@pytest.mark.parametrize("project", [POETRY, "tool = 1", "[tool]\npoetry = 1", '[project]\ndynamic = ["version"]'])
def test_a_project_without_packages_has_none(project: str) -> None:
    assert manifest_of("python", "", {"pyproject.toml": project}) is None


def test_a_number_that_python_refuses_to_read_is_an_error_in_the_file() -> None:
    with pytest.raises(ManifestError, match=r"^pyproject\.toml is not valid TOML: "):
        manifest_of("python", "", {"pyproject.toml": "n = " + "1" * 5000})
