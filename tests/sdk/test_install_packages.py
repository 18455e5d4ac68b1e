"""What people are told when packages cannot be installed: which package, why, and what to do."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock
from urllib.error import HTTPError, URLError

import pytest

from tests.end_to_end.registry import Registry, serving

SDK = Path(__file__).parents[2] / "sdk" / "python"
NONE_FOUND = "ERROR: Could not find a version that satisfies the requirement {0} (from versions: {1})\n"
NONE_FOUND += "ERROR: No matching distribution found for {0}"


@pytest.fixture(scope="module")
def installer() -> Iterator[ModuleType]:
    sys.path.append(str(SDK))
    spec = importlib.util.spec_from_file_location("install_packages", SDK / "install_packages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(SDK))


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with serving() as registry:
        registry.open.set()
        registry.add("good", {"good.py": b""})
        registry.wheels["source"] = ("source-1.0.tar.gz", b"")
        yield registry


@pytest.mark.parametrize(
    ("wanted", "versions", "reason"),
    [
        ("nothing>=1", "none", "nothing does not exist in the registry: check its name"),
        ("source==1.0", "none", "source==1.0 has no wheel, only source distributions"),
        ("good==1.0", "none", "good==1.0 has no wheel for this platform"),
        ("good==3", "1.0, 2.0", "no version of good==3 has a wheel for this platform: there are 1.0, 2.0"),
    ],
)
def test_a_python_package_that_cannot_be_had(
    installer: ModuleType, registry: Registry, wanted: str, versions: str, reason: str
) -> None:
    said = NONE_FOUND.format(wanted, versions).splitlines()
    assert reason in installer.explain_pip(said, [("", registry.url())])


def test_a_registry_that_refuses_the_credentials_or_is_down(installer: ModuleType, registry: Registry) -> None:
    said = NONE_FOUND.format("acme-core", "none").splitlines()
    registry.authorization = "Basic YWRhOnJpZ2h0"  # ada:right
    for user, refused in (("ada:wrong@", True), ("ada:right@", False)):
        found = installer.explain_pip(said, [("", "http://127.0.0.1:9/simple"), ("acme-*", registry.url(user))])
        assert ("its registry refused the credentials for acme-core (HTTP 401): set its token" in found) is refused
    assert "the registry of good cannot be reached (" in installer.explain_pip(
        NONE_FOUND.format("good", "none").splitlines(), [("", "http://127.0.0.1:9/simple")]
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "npm error code E404\nnpm error 404 Not Found - GET https://npm.example/@acme%2fcore - Not found",
            "@acme/core does not exist in the registry: check its name, and whether the token may read it",
        ),
        (
            "npm error code ETARGET\nnpm error notarget No matching version found for zod@99.",
            "zod@99 does not exist: the package has no such version",
        ),
        (
            "npm error code E401\nnpm error 401 Unauthorized - GET https://npm.example/@acme%2fcore",
            "the registry of @acme/core refused the credentials (E401): set its token",
        ),
        (
            "npm error code ECONNREFUSED\nnpm error FetchError: request to http://127.0.0.1:9/zod failed, reason: x",
            "the registry of zod cannot be reached (ECONNREFUSED)",
        ),
        (
            "FATAL ERROR: Reached heap limit - JavaScript heap out of memory\n----- Native stack trace -----\n 1: 0xe1",
            "npm ran out of memory",
        ),
    ],
)
def test_an_npm_package_that_cannot_be_had(installer: ModuleType, said: str, reason: str) -> None:
    assert installer.explain_npm(said.splitlines()).startswith(reason)


def test_hashes_that_are_missing_or_wrong(installer: ModuleType) -> None:
    for said, reason in (
        (
            "ERROR: In --require-hashes mode, all requirements must have their versions pinned with ==. These do not:\n"
            "    pytz>=2020 from https://x.example/pytz.whl (from pandas==2.2)",
            "the lock has no pytz>=2020, which another package needs",
        ),
        (
            "ERROR: Hashes are required in --require-hashes mode, but they are missing from some:\n"
            "    six==1.17.0 --hash=sha256:aa",
            "six==1.17.0 has no --hash, and others have",
        ),
    ):
        assert reason in installer.explain_pip(said.splitlines(), [("", "http://127.0.0.1:9/simple")])


def test_packages_that_exclude_each_other_are_named_as_the_manifest_does(installer: ModuleType) -> None:
    said = (
        "Collecting requests==2.31.0 (from -r requirements.txt (line 1))\n"
        "Collecting six (from requests==2.31.0->-r requirements.txt (line 1))\n"
        "ERROR: Cannot install -r requirements.txt (line 1) and urllib3==1.20 because these package versions have "
        "conflicting dependencies."
    )
    explained = installer.explain_pip(said.splitlines(), [("", "http://127.0.0.1:9/simple")])
    assert explained.startswith("requests==2.31.0 and urllib3==1.20 need versions of other packages")


def test_each_registry_of_npm_gets_its_own_credentials_only(installer: ModuleType) -> None:
    registries = [
        {"packages": "", "url": "https://registry.npmjs.org/", "token": ""},
        {"packages": "@acme", "url": "https://npm.acme.example/npm", "token": "npm_1"},
        {"packages": "@other", "url": "https://ada@npm.other.example/", "token": "pw"},
    ]
    assert installer.npmrc(registries).splitlines() == [
        "registry=https://registry.npmjs.org/",
        "@acme:registry=https://npm.acme.example/npm/",
        "//npm.acme.example/npm/:_authToken=npm_1",
        "@other:registry=https://npm.other.example/",
        "//npm.other.example/:_auth=YWRhOnB3",
    ]


def test_a_python_package_has_the_registry_of_its_name_or_longest_prefix(installer: ModuleType) -> None:
    from pip_indexes import index_of  # type: ignore[import-not-found]

    indexes = [("", "public"), ("acme-*", "acme"), ("acme-lab-*", "lab"), ("acme-lab-core", "core")]
    names = ["good", "acme", "Acme_Core", "acme.lab.x", "acme-lab-core"]
    assert [index_of(name, indexes) for name in names] == ["public", "public", "acme", "lab", "core"]


@pytest.mark.parametrize(
    ("language", "line", "reason"),
    [
        (
            "node",
            "npm error 424 cannot connect to a.example:443: cannot resolve a.example - GET https://a.example/ms",
            "the registry of ms cannot be reached (cannot resolve a.example): deploy again later",
        ),
        (
            "node",
            "npm error 421 not a host that builds connect to - GET https://b.example/@acme/core/-/core-1.tgz",
            "a file of @acme/core is there",
        ),
        (
            "python",
            "Collecting good>=1 (from -r requirements.txt (line 1))\n"
            "(Caused by ProxyError('Cannot connect to proxy.', "
            "OSError('Tunnel connection failed: 421 not a host that builds connect to')))",
            "a file of good>=1 is there",
        ),
    ],
)
def test_a_host_that_the_proxy_of_the_build_does_not_lead_to(
    installer: ModuleType, language: str, line: str, reason: str
) -> None:
    explained = installer.explain_npm(line.split("\n")) if language == "node" else None
    assert (explained or installer.explain_pip(line.split("\n"), [])).startswith(reason)


def test_a_registry_behind_the_proxy_of_the_build_that_is_down(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = NONE_FOUND.format("good", "none").splitlines()
    reason = "cannot connect to a.example:443: Connection refused"
    for error in (
        HTTPError("http://a.example", 502, reason, Message(), None),
        URLError(OSError(f"Tunnel connection failed: 502 {reason}")),
    ):
        monkeypatch.setattr(installer, "page_of", Mock(side_effect=error))
        explained = installer.explain_pip(said, [("", "https://a.example/simple")])
        assert explained.startswith("the registry of good cannot be reached (Connection refused): deploy again later")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("kill -ABRT $$", "was killed by signal 6"),
        ("kill -XFSZ $$", "a file that is larger than a layer"),
        ("exit 3", "printed no error"),
        ("echo ERROR: x; exit 1", "^x$"),
    ],
)
def test_an_installer_that_fails_without_an_error_is_reported(installer: ModuleType, command: str, reason: str) -> None:
    network = Mock(start=lambda command, _: subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    with pytest.raises(installer.BuildFailed, match=reason):
        installer.run(network, ["sh", "-c", command], {}, installer.last_errors)


@pytest.mark.parametrize("signal", [9, 15])
def test_an_installer_that_somebody_else_ends_is_reported_as_interrupted(installer: ModuleType, signal: int) -> None:
    network = Mock(start=lambda command, _: subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    with pytest.raises(installer.BuildInterrupted, match=f"was killed by signal {signal}"):
        installer.run(network, ["sh", "-c", f"kill -{signal} $$"], {}, installer.last_errors)


def test_a_name_in_no_encoding_is_sent_as_it_is(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "HERE", tmp_path)
    (tmp_path / "layer" / "python").mkdir(parents=True)
    (tmp_path / "layer" / "python" / "caf\udce9.txt").write_bytes(b"x")
    assert b"python/caf\xe9.txt" in b"".join(installer.stream_of({}))


def test_only_the_beginning_of_a_long_line_is_shown_without_its_address(
    installer: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    class Direct:
        """The network of this test: none is needed."""

        def start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
            return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    program = (
        "print('a' * 3000, 'https://ada:secret@' + 'x' * 5000, 'e' * 10_000_000); print('ERROR: it ended'); exit(1)"
    )
    with pytest.raises(installer.BuildFailed, match=r"^it ended$"):
        installer.run(Direct(), [sys.executable, "-c", program], {}, installer.last_errors)
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["a" * 3000 + " (address)", "ERROR: it ended"]
