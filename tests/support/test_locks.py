"""Locks of Python folders: what uv and builds of the platform wrote, honoured exactly or refused."""

from __future__ import annotations

import pytest

from support.locks import ManifestError, requirements_lock
from support.manifests import Manifest, manifest_of

PROJECT = """[project]
name = "report"
version = "0.1.0"
dependencies = ["httpx[http2]>=0.27,<1", "Click>=8", "colorama ; sys_platform == 'win32'"]
"""
# As uv 0.9 writes it, with fewer hashes.
UV_LOCK = """version = 1
revision = 5
requires-python = ">=3.11"

[[package]]
name = "click"
version = "8.3.1"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "colorama", marker = "os_name == 'nt'" }]
sdist = { url = "https://files.example/click.tar.gz", hash = "sha256:00" }
wheels = [{ url = "https://files.example/click.whl", hash = "sha256:c1", size = 1 }]

[[package]]
name = "colorama"
version = "0.4.6"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files.example/colorama.whl", hash = "sha256:c0" }]

[[package]]
name = "h2"
version = "4.3.0"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "httpx" }]
wheels = [{ url = "https://files.example/h2.whl", hash = "sha256:b2" }]

[[package]]
name = "httpx"
version = "0.28.1"
source = { registry = "https://pypi.org/simple" }
wheels = [
    { url = "https://files.example/httpx-1.whl", hash = "sha256:a2" },
    { url = "https://files.example/httpx-2.whl", hash = "sha256:a1" },
]

[package.optional-dependencies]
http2 = [{ name = "h2" }]

[[package]]
name = "pytest"
version = "9.0.0"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files.example/pytest.whl", hash = "sha256:d1" }]

[[package]]
name = "report"
version = "0.1.0"
source = { virtual = "." }
dependencies = [
    { name = "click" },
    { name = "colorama", marker = "sys_platform == 'win32'" },
    { name = "httpx", extra = ["http2"] },
]

[package.dev-dependencies]
dev = [{ name = "pytest" }]

[package.metadata]
requires-dist = [
    { name = "click", specifier = ">=8" },
    { name = "colorama", marker = "sys_platform == 'win32'" },
    { name = "httpx", extras = ["http2"], specifier = ">=0.27,<1" },
]
"""
OWN_LOCK = "six==1.17.0 --hash=sha256:aa\nmarkupsafe==3.0.2 --hash=sha256:bb\n"


def locked(lock: str, project: str = PROJECT) -> Manifest:
    found = manifest_of("python", "", {"pyproject.toml": project, "uv.lock": lock})
    assert found is not None
    return found


def test_uv_lock_pins_what_the_project_needs_with_extras_and_markers_and_nothing_for_development() -> None:
    found = locked(UV_LOCK)
    assert found.files == {
        "requirements.txt": "click==8.3.1 --hash=sha256:c1\n"
        "colorama==0.4.6 ; (os_name == 'nt') or (sys_platform == 'win32') --hash=sha256:c0\n"
        "h2==4.3.0 --hash=sha256:b2\n"
        "httpx==0.28.1 --hash=sha256:a1 --hash=sha256:a2\n"
    }
    assert found.lock == "uv.lock"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("Click>=8", "Click>=9"), "does not fit pyproject.toml: they differ in click"),
        ((', "Click>=8"', ""), "they differ in click"),
        (('"Click>=8"', '"Click>=8", "six"'), "they differ in six.*uv lock"),
        (("httpx[http2]", "httpx"), "they differ in httpx"),
    ],
)
def test_a_uv_lock_that_does_not_fit_its_project_is_refused_by_package(change: tuple[str, str], reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        locked(UV_LOCK, PROJECT.replace(*change))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('wheels = [{ url = "https://files.example/h2.whl", hash = "sha256:b2" }]', ""), "h2 4.3.0 has no wheel"),
        (
            ('"4.3.0"\nsource = { registry = "https://pypi.org/simple" }', '"4.3.0"\nsource = { git = "x" }'),
            "h2 does not",
        ),
        (
            ('"4.3.0"\nsource = { registry = "https://pypi.org/simple" }', '"4.3.0"\nsource = { registry = "../w" }'),
            "h2 is from a local",
        ),
        (("[[package]]", "[[package"), "not valid TOML"),
        (("source = { virtual", "source = { registry"), "no project of this folder"),
        (('name = "h2"\nversion = "4.3.0"', 'name = "h3"\nversion = "4.3.0"'), "which h2"),
        (("[[package]]", "[[x]]"), "malformed"),
        (('name = "click"', "name = 1"), "malformed"),
    ],
)
def test_a_uv_lock_that_cannot_be_honoured_is_refused(change: tuple[str, str], reason: str) -> None:
    with pytest.raises(ManifestError, match=rf"^uv\.lock.*{reason}"):
        locked(UV_LOCK.replace(*change))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "h2 @ https://evil.example/h2.tar.gz"),
        ("version", "4.3.0\\n--index-url https://evil.example"),
        ("version", "4.3.0\\n-r /etc/passwd"),
        ("version", "${PIP_INDEX_URL}"),
        ("hash", "sha256:b2 --index-url https://evil.example"),
        ("hash", "sha256:b2\\nh3 @ https://evil.example/h3.tar.gz"),
    ],
)
def test_no_part_of_a_uv_lock_can_be_an_option_or_an_address(field: str, value: str) -> None:
    lock = UV_LOCK.replace('{ name = "h2" }', f'{{ name = "{value if field == "name" else "h2"}" }}')
    old = {"name": 'name = "h2"\nversion', "version": 'version = "4.3.0"', "hash": 'hash = "sha256:b2"'}[field]
    new = f'name = "{value}"\nversion' if field == "name" else f'{field} = "{value}"'

    with pytest.raises(ManifestError, match=r"^uv\.lock: "):
        manifest_of("python", "", {"pyproject.toml": PROJECT, "uv.lock": lock.replace(old, new)})


def test_the_registries_that_a_uv_lock_names_are_kept_without_credentials() -> None:
    other = UV_LOCK.replace("https://pypi.org/simple", "https://ada:pw@Packages.Example/simple", 1)
    assert locked(other).files["registries"] == "packages.example"


@pytest.mark.timeout(20)
def test_the_time_to_read_a_hostile_uv_lock_is_bounded() -> None:
    chain = "".join(
        f'[[package]]\nname = "p{n}"\nversion = "1"\nsource = {{ registry = "https://pypi.org/simple" }}\n'
        f"dependencies = [{{ name = 'p{n + 1}', marker = 'a{n}' }}, {{ name = 'p{n + 1}', marker = 'b{n}' }}]\n"
        for n in range(500)
    )
    chain += '[[package]]\nname = "p500"\nversion = "1"\nsource = { registry = "https://pypi.org/simple" }\n'
    root = '[[package]]\nname = "r"\nversion = "1"\nsource = { virtual = "." }\ndependencies = [{ name = "p0" }]\n'
    root += '[package.metadata]\nrequires-dist = [{ name = "p0" }]\n'
    with pytest.raises(ManifestError, match="too complex"):
        locked(chain + root, '[project]\ndependencies = ["p0"]\n')


def test_sources_of_uv_without_a_lock_are_refused_rather_than_looked_up_elsewhere() -> None:
    project = PROJECT + '[tool.uv.sources]\nclick = { index = "acme" }\n'
    with pytest.raises(ManifestError, match=r"of click counts only with a uv\.lock"):
        manifest_of("python", "", {"pyproject.toml": project})


def test_the_lock_of_a_build_replaces_the_manifest_until_that_changes() -> None:
    requirements = ["six", "markupsafe>=3"]
    lock = requirements_lock(OWN_LOCK, requirements)
    files = {"requirements.txt": "six\nmarkupsafe>=3\n", "requirements.lock": lock}
    found = manifest_of("python", "", files)
    assert found is not None
    assert (found.files["requirements.txt"], found.lock) == (OWN_LOCK, "requirements.lock")
    assert found.requirements == tuple(requirements)
    for changed in ("six\n", "six\nmarkupsafe>=3\nclick\n", "six\nmarkupsafe>=3.0\n"):
        with pytest.raises(
            ManifestError, match=r"does not fit requirements\.txt: it was written for other.*--write-lock"
        ):
            manifest_of("python", "", {**files, "requirements.txt": changed})


@pytest.mark.parametrize(
    ("requirements", "lock", "reason"),
    [
        ("six<1", OWN_LOCK, "six 1.17.0 is not <1"),
        ("click", OWN_LOCK, "it has no click"),
        ("six", "six==1.17.0\n", "is not a pinned version with a --hash"),
        ("six", "six>=1 --hash=sha256:aa\n", "is not a pinned version"),
        ("six", "--index-url https://evil.example\n", "the option"),
        ("six", "six==" + "1" * 9999 + " --hash=sha256:aa\n", "six 1{100} is not a version"),
    ],
)
def test_a_lock_of_another_tool_must_fit_by_its_versions(requirements: str, lock: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=rf"^requirements\.lock.*{reason}"):
        manifest_of("python", "", {"requirements.txt": requirements, "requirements.lock": lock})


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("six ; " + "(" * 5000 + "os_name == ''" + ")" * 5000, "is not a requirement"),
        ("six==" + "1" * 9999, "six 1.17.0 is not ==1"),
    ],
    ids=["parentheses", "digits"],
)
def test_a_requirement_that_python_cannot_read_is_refused(requirement: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        manifest_of("python", "", {"requirements.txt": requirement, "requirements.lock": OWN_LOCK})


def test_two_locks_of_one_project_are_refused() -> None:
    files = {"pyproject.toml": PROJECT, "uv.lock": UV_LOCK, "requirements.lock": OWN_LOCK}
    with pytest.raises(ManifestError, match="are both there"):
        manifest_of("python", "", files)
