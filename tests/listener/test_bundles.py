"""Uploaded packages: those that do not fit the platform or the manifest are refused with both sides named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from listener.archives import hash_of, pack
from listener.build_output import Failed
from listener.bundles import read_bundle

MANIFEST = {"requirements.txt": "six>=1.17\nwin-only ; sys_platform == 'win32'\n"}
INFO = "python/six-1.17.0.dist-info"
SIX = {
    "python/six.py": b"__version__ = '1.17.0'\n",
    f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: six\nVersion: 1.17.0\n\nName: other\n",
    f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nTag: py2-none-any\nTag: py3-none-any\n",
}
NPM = {"node_modules/zod/package.json": b'{"name": "zod", "version": "4.0.0"}', "node_modules/zod/index.js": b""}
FOREIGN = b"\x7fELF\x02\x01\x01" + bytes(11) + (0xF3).to_bytes(2, "little") + bytes(40)  # for RISC-V


def read(tmp_path: Path, runtime: str, files: Mapping[str, bytes], manifest: Mapping[str, str] = MANIFEST) -> list[str]:
    """Names and versions in a bundle of these files. Raises Failed."""
    for path, content in files.items():
        (tmp_path / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / path).write_bytes(content)
    (tmp_path / "sent").write_bytes(b"".join(pack(tmp_path / "source")))
    installed, _ = read_bundle(tmp_path, runtime, manifest, hash_of(tmp_path / "source"))
    return [f"{one['name']} {one['version']}" for one in installed.packages]


def test_a_bundle_that_fits_lists_its_packages(tmp_path: Path) -> None:
    assert read(tmp_path, "python", SIX) == ["six 1.17.0"]


def test_a_bundle_of_npm_lists_nested_packages_too(tmp_path: Path) -> None:
    nested = {"node_modules/zod/node_modules/@a/b/package.json": b'{"name": "@a/b", "version": "1.0.0"}'}
    manifest = {"package.json": '{"dependencies": {"zod": "^4"}}'}
    assert read(tmp_path, "node", {**NPM, **nested}, manifest) == ["zod 4.0.0", "@a/b 1.0.0"]


def test_a_bundle_may_have_a_package_under_another_name(tmp_path: Path) -> None:
    files = {path.replace("/zod/", "/schema/"): content for path, content in NPM.items()}
    manifest = {"package.json": '{"dependencies": {"schema": "npm:zod@4"}}'}
    assert read(tmp_path, "node", files, manifest) == ["zod 4.0.0"]


@pytest.mark.parametrize(
    ("runtime", "files", "reason"),
    [
        (
            "python",
            {**SIX, f"{INFO}/WHEEL": b"Tag: cp312-cp312-macosx_14_0_arm64\n"},
            r"six 1\.17\.0 was installed for cp312-cp312-macosx_14_0_arm64, and this installation runs cp3\d+-",
        ),
        (
            "python",
            {**SIX, "python/fast.so": FOREIGN},
            "fast.so is compiled for Linux riscv64, and this installation runs",
        ),
        ("python", {**SIX, "python/fast.so": b"\xcf\xfa\xed\xfe" + bytes(30)}, "compiled for macOS"),
        (
            "python",
            {**SIX, f"{INFO}/METADATA": b"Name: six\nVersion: 1.16.0\n"},
            "has six 1.16.0, and the manifest asks",
        ),
        (
            "python",
            {**SIX, f"{INFO}/METADATA": b"Name: six\nVersion: of today\n"},
            "has six of today, and the manifest",
        ),
        ("python", {**SIX, f"{INFO}/WHEEL": b"Tag: any\n"}, "does not say which platform"),
        (
            "python",
            {**SIX, f"{INFO}/WHEEL": b"Tag: " + b"-".join([b"a." * 300 + b"a"] * 3)},
            "more than 1000 platform tags",
        ),
        ("python", {**SIX, f"{INFO}/METADATA": b"Name: sax\nVersion: 1.17.0\n"}, "has no six"),
        ("python", {**SIX, f"{INFO}/METADATA": b"nothing"}, "does not say which package"),
        ("python", {**SIX, f"{INFO}/WHEEL": b"Tag: py3--any"}, "does not say which platform|was installed for py3"),
        ("python", {**SIX, "python/zmesh_runtime/__init__.py": b""}, "name of a part of the platform"),
        ("python", {"elsewhere/six.py": b""}, "is not where packages are"),
        (
            "node",
            {
                **NPM,
                "node_modules/x/package.json": b'{"name": "x", "version": "1.0.0", "os": ["darwin"], "cpu": ["arm64"]}',
            },
            r"x 1\.0\.0 was installed for \['darwin'\] \['arm64'\], and this installation runs linux-",
        ),
        ("node", {"node_modules/y/package.json": b'{"name": "y", "version": "1.0.0"}'}, "has no zod: run npm install"),
        ("node", {"node_modules/zod/package.json": b"[" * 100_000}, "has no zod"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(
    tmp_path: Path, runtime: str, files: dict[str, bytes], reason: str
) -> None:
    manifest = MANIFEST if runtime == "python" else {"package.json": json.dumps({"dependencies": {"zod": "^4"}})}
    with pytest.raises(Failed, match=reason):
        read(tmp_path, runtime, files, manifest)


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("six ; " + "(" * 5000 + "python_version > '3'" + ")" * 5000, "is not a requirement"),
        ("six ; 'a' in extras", "is not a requirement"),
        ("six==" + "1" * 9999, "has six 1.17.0, and the manifest asks for"),
    ],
    ids=["parentheses", "no environment", "digits"],
)
def test_a_requirement_that_python_cannot_read_is_refused(tmp_path: Path, requirement: str, reason: str) -> None:
    with pytest.raises(Failed, match=reason):
        read(tmp_path, "python", SIX, {"requirements.txt": requirement})


def test_folders_may_have_the_names_of_files(tmp_path: Path) -> None:
    folders = {f"{place}/x": b"" for place in ("python/fast.so", "python/six-1.17.0.dist-info/WHEEL/y")}
    files = {path: content for path, content in SIX.items() if not path.endswith("WHEEL")}
    assert read(tmp_path / "python", "python", {**files, **folders}) == ["six 1.17.0"]
    folders = {"node_modules/x/package.json/y": b"", "node_modules/x/build/Release/x.node/y": b""}
    manifest = {"package.json": '{"dependencies": {"zod": "^4"}}'}
    assert read(tmp_path / "node", "node", {**NPM, **folders}, manifest) == ["zod 4.0.0"]


def test_a_bundle_that_is_not_what_was_uploaded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source" / "python").mkdir(parents=True)
    (tmp_path / "source" / "python" / "six.py").write_bytes(b"")
    (tmp_path / "sent").write_bytes(b"".join(pack(tmp_path / "source")))
    with pytest.raises(Failed, match="is not what was uploaded"):
        read_bundle(tmp_path, "python", MANIFEST, "0" * 64)
