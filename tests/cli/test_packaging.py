"""The wheel, the lock files and the scripts that install."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

import hatch_build
from tests.platform import REPOSITORY

ROOMS = ("sql", "listener", "api", "sandbox", "support", "observing", "cli", "examples")
REQUIREMENTS = REPOSITORY / "requirements"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources, so that building leaves nothing behind here."""
    folder = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(".*", "__pycache__", "tests", "bench")
    shutil.copytree(REPOSITORY, folder / "source", ignore=left_out)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist"]
    subprocess.run(command, cwd=folder / "source", check=True, capture_output=True)
    [built] = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; what it depends on is linked from the environment of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    folder.chmod(0o755)  # as root, runs have users of their own, and those must be able to read it
    venv.create(folder, with_pip=False)
    [packages] = folder.glob("lib/python*/site-packages")
    ours = Path(str(metadata.distribution("litestar").locate_file("")))
    for package in ours.iterdir():
        if "zmesh_functions" not in package.name and package.name != "__pycache__":
            linked = subprocess.run(["cp", "-al", package, packages], capture_output=True)
            if linked.returncode != 0:  # another file system
                subprocess.run(["cp", "-a", package, packages], check=True)
    python = ["--python", folder / "bin" / "python"]
    pip = [sys.executable, "-m", "pip", *python, "install"]
    if not find_spec("pip"):  # in environments that uv has made
        pip = ["uv", "pip", "install", *python]
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", wheel], check=True, capture_output=True)
    return folder


@pytest.fixture
def installed(environment: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`zmesh dev` of the wheel, started in a folder that has nothing to do with it."""
    process = subprocess.Popen(
        [environment / "bin" / "zmesh", "dev", "--port", "0"],
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "log").open("w"),
        text=True,
    )
    yield process, tmp_path
    process.terminate()
    process.wait(30)


def test_the_installed_wheel_runs_from_any_folder(
    installed: tuple[subprocess.Popen[str], Path], environment: Path
) -> None:
    process, folder = installed
    assert process.stdout is not None
    ready = process.stdout.readline()
    assert ready.startswith("ready http://"), (folder / "log").read_text()
    assert httpx.get(f"{ready.split()[1]}/health").json()["status"] == "ok"
    for name in ("send-welcome", "n-queens", "count-primes"):  # JavaScript with pg, TypeScript, Python
        done = subprocess.run(
            [
                *(environment / "bin" / "zmesh", "functions", "invoke", name),
                *("--project", "examples", "--data", '{"user_id": "a", "n": 6}'),
            ],
            cwd=folder,
            env={"PATH": os.defpath, "HOME": str(folder)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    located = subprocess.run(
        [environment / "bin" / "python", "-P", "-c", "import cli; print(cli.__file__)"], capture_output=True, text=True
    )
    assert located.stdout.startswith(str(environment))


def test_the_wheel_carries_its_licence_and_no_tests(wheel: Path) -> None:
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {*ROOMS, "console", "sdk", "zmesh"}
    assert not [name for name in names if name.endswith((".pyc", "dev.json"))]


@pytest.fixture
def without_compiler(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Build the wheel of sources that were never built, where no compiler can be found."""
    names = (".git", ".venv", ".zmesh", ".*_cache", "__pycache__", "tests", "bench", "*.so", "*.node", "supervisor")
    shutil.copytree(REPOSITORY, tmp_path / "source", ignore=shutil.ignore_patterns(*names))

    def build(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist"],
            cwd=tmp_path / "source",
            env={**os.environ, "PATH": str(tmp_path), **environment},
            capture_output=True,
            text=True,
        )

    return build


def test_a_wheel_without_native_code_is_a_choice(
    without_compiler: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    refused = without_compiler()
    made = without_compiler(ZMESH_WITHOUT_NATIVE_CODE="1")

    assert refused.returncode != 0
    assert re.search("Install a C compiler.*or set ZMESH_WITHOUT_NATIVE_CODE=1", refused.stdout + refused.stderr, re.S)
    assert made.returncode == 0, made.stderr
    assert [wheel.name.endswith("-py3-none-any.whl") for wheel in (tmp_path / "dist").glob("*.whl")] == [True]


def test_the_images_get_no_native_code_of_the_host() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()

    assert {f"sandbox/native/{name}" for name in hatch_build.SOURCES} <= set(ignored)


def test_everything_imported_is_declared() -> None:
    declared = {
        re.split(r"[\[<>=; ]", text)[0].lower()
        for text in tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    }
    distributions = metadata.packages_distributions()
    written_by_users = (REPOSITORY / "examples" / "packages", REPOSITORY / "cli" / "templates")
    for room in ROOMS:
        for file in (REPOSITORY / room).rglob("*.py"):
            if any(file.is_relative_to(folder) for folder in written_by_users):
                continue
            beside = {other.stem for other in file.parent.glob("*.py")} if room == "examples" else set()
            for name in imported(file) - sys.stdlib_module_names - {*ROOMS, "sdk", "_typeshed"} - beside:
                assert declared & {d.lower().replace("_", "-") for d in distributions[name]}, f"{file} imports {name}"


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("name", ["runtime", "build", "dev"])
def test_every_locked_package_has_one_version_and_hashes_and_no_host(name: str) -> None:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    assert "://" not in text
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[a-z0-9.-]+(\[[a-z,]+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_the_locks_agree_with_each_other_and_with_the_project() -> None:
    def pins(name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for package, version in re.findall(r"^([a-z0-9.-]+)==(\S+)", (REQUIREMENTS / f"{name}.txt").read_text(), re.M):
            found.setdefault(package, set()).add(version)
        return found

    runtime, build, dev = pins("runtime"), pins("build"), pins("dev")
    assert runtime.items() <= {**dev, **runtime}.items()
    for package in runtime.keys() | build.keys():
        assert dev[package] == runtime.get(package, build.get(package))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[\[<>=]", text)[0].lower() for text in project} <= runtime.keys()


def run_script(name: str, folder: Path, *arguments: str, **programs: str) -> subprocess.CompletedProcess[str]:
    """A script of requirements/ on a machine that has only these programs, and bash's usual ones."""
    usual = {"bash", "env", "rm", "id", "mktemp"}
    for program in usual - programs.keys():  # writing to a link would replace the machine's own program
        (folder / program).symlink_to(shutil.which(program) or "")
    for program, text in programs.items():
        (folder / program).write_text(f"#!/bin/bash\n{text}\n")
        (folder / program).chmod(0o755)
    return subprocess.run(
        [REQUIREMENTS / name, *arguments], env={"PATH": str(folder)}, capture_output=True, text=True, cwd=folder
    )


def test_without_a_new_enough_python_the_set_up_says_so(tmp_path: Path) -> None:
    done = run_script("venv.sh", tmp_path, str(tmp_path / "venv"), python3="exit 1")
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr


def test_a_python_that_cannot_make_environments_is_told_apart(tmp_path: Path) -> None:
    python = 'case "$2" in *ensurepip*) exit 1;; esac; [ "$1" = --version ] && echo Python 3.11.2; exit 0'
    done = run_script("venv.sh", tmp_path, str(tmp_path / "venv"), python3=python)
    assert done.returncode == 1
    assert "python3-venv" in done.stderr


def test_uv_is_used_where_it_is(tmp_path: Path) -> None:
    done = run_script("venv.sh", tmp_path, str(tmp_path / "venv"), python3="exit 0", uv='echo "uv $*"')
    assert done.stdout.startswith("uv venv")


def test_tests_that_cannot_have_pg_cron_are_skipped_loudly(tmp_path: Path) -> None:
    if Path("/usr/share/postgresql/15/extension/pg_cron.control").exists():
        pytest.skip("it is installed here")
    done = run_script("system.sh", tmp_path)
    assert done.returncode == 0
    assert "SKIPPED" in done.stderr
