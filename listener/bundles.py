"""Bundles: packages that were installed elsewhere and uploaded. They are read as what hostile people may have sent."""

from __future__ import annotations

import json
import platform
import struct
import sys
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import msgspec
from packaging.requirements import Requirement
from packaging.tags import Tag, parse_tag, sys_tags
from packaging.utils import canonicalize_name

from listener.archives import ArchiveError
from listener.build_output import Archive, Failed, Installed
from listener.layers import unpack_file
from listener.platforms import platform_of
from listener.postgres import storable
from support.locks import is_allowed

LARGEST_METADATA = 1024 * 1024
MOST_PACKAGES = 5000
MOST_TAGS = 1000  # of a package
Package = dict[str, str]


class _Manifest(msgspec.Struct):
    """The fields of a package.json that are read. Decoding the others, of up to 1 MiB, would hold the listener."""

    name: str = ""
    version: str = ""
    os: str | list[str] | None = None
    cpu: str | list[str] | None = None


def read_bundle(staging: Path, runtime: str, manifest: Mapping[str, str], hash: str) -> tuple[Installed, Archive]:
    """The packages of an uploaded archive, unpacked beside it. Raises Failed where they do not fit this host."""
    sent, folder = staging / "sent", staging / "layer"
    try:
        contents = unpack_file(sent, folder, runtime)
    except ArchiveError as error:
        raise Failed("invalid_layer", f"{error}.") from error
    if contents.hash != hash:
        raise Failed("invalid_bundle", "The bundle is not what was uploaded: deploy it again.")
    if runtime == "python":
        packages = _python_packages(folder / "python")
        _check_requirements(packages, manifest["requirements.txt"])
        lock = "".join(f"{one['name']}=={one['version']}\n" for one in packages)
    else:
        packages = _node_packages(folder / "node_modules")
        _check_dependencies(packages, json.loads(manifest["package.json"]))
        lock = json.dumps({one["name"]: one["version"] for one in packages}, indent=2) + "\n"
    return Installed(lock, packages, platform_of(runtime), []), Archive(sent, 0, folder, contents)


def _bounded(file: Path) -> str:
    if not file.is_file():  # a folder of that name
        return ""
    with open(file, "rb") as opened:
        return opened.read(LARGEST_METADATA).decode("utf-8", "replace")


def _package(name: str, version: str) -> Package:
    return {"name": storable(name[:214]), "version": storable(version[:100]), "hash": ""}


# Python


def _python_packages(folder: Path) -> list[Package]:
    here = list(sys_tags())
    packages: list[Package] = []
    for info in sorted(folder.glob("*.dist-info"))[:MOST_PACKAGES]:
        metadata = _headers(_bounded(info / "METADATA"))
        name, version = metadata.get("name", [""])[0], metadata.get("version", [""])[0]
        if not name or not version:
            raise Failed("invalid_bundle", f"{info.name[:100]} does not say which package it is: install it again.")
        one = _package(name, version)
        shown = f"{one['name']} {one['version']}"
        _check_tags(shown, _tags(shown, _headers(_bounded(info / "WHEEL")).get("tag", [])), here)
        packages.append(one)
    for library in folder.rglob("*.so"):
        _check_machine(library, folder)
    return packages


def _headers(text: str) -> dict[str, list[str]]:
    """Fields of a metadata file, by their names in lower case; its body is left out."""
    found: dict[str, list[str]] = {}
    for line in text.partition("\n\n")[0].splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith((" ", "\t")):
            found.setdefault(name.lower(), []).append(value.strip())
    return found


def _tags(package: str, texts: list[str]) -> set[Tag]:
    unclear = f"{package} does not say which platform it was installed for: install it again."
    if any(text.count("-") != 2 for text in texts):
        raise Failed("invalid_bundle", unclear)
    # Each stands for all combinations of its dotted parts: a billion in a few thousand bytes.
    if sum(prod(part.count(".") + 1 for part in text.split("-")) for text in texts) > MOST_TAGS:
        raise Failed("invalid_bundle", f"{package} has more than {MOST_TAGS} platform tags: install it again.")
    try:
        return {tag for text in texts for tag in parse_tag(text)}
    except ValueError as error:  # a part is empty
        raise Failed("invalid_bundle", unclear) from error


def _check_tags(package: str, made_for: set[Tag], here: list[Tag]) -> None:
    if made_for and made_for.isdisjoint(here):
        platforms = ", ".join(sorted(map(str, made_for))[:3])[:200]
        raise Failed(
            "wrong_platform",
            f"{package} was installed for {platforms}, and this installation runs {here[0]}: install it with "
            f"Python {sys.version_info.major}.{sys.version_info.minor} on {sys.platform} {platform.machine()}, and "
            "deploy again.",
        )


def _check_requirements(packages: list[Package], text: str) -> None:
    installed = {canonicalize_name(one["name"]): one["version"] for one in packages}
    for line in text.splitlines():
        try:
            wanted = Requirement(line.partition(" --hash")[0])
            applies = wanted.marker is None or wanted.marker.evaluate()
        except (ValueError, LookupError, RecursionError) as error:  # packaging raises these too, besides its own
            raise Failed("invalid_bundle", f'"{line[:100]}" is not a requirement: {str(error)[:200]}') from error
        if not applies:
            continue
        version = installed.get(canonicalize_name(wanted.name))
        if version is None or not is_allowed(version, wanted):
            has = f"has {wanted.name} {version}" if version else f"has no {wanted.name}"
            raise Failed(
                "stale_bundle",
                f"The bundle {has}, and the manifest asks for {line[:200]}: install it and deploy again.",
            )


# npm


def _node_packages(folder: Path) -> list[Package]:
    system, machine = platform_of("node").split("-")[1:]
    packages: list[Package] = []
    for file in _manifests(folder):
        package = _manifest(file)
        if not package.name or not package.version:
            continue  # of a folder inside of a package
        one = _package(package.name, package.version)
        if not (_allows(package.os, system) and _allows(package.cpu, machine)):
            made_for = f"{package.os or 'any system'} {package.cpu or 'any processor'}"
            raise Failed(
                "wrong_platform",
                f"{one['name']} {one['version']} was installed for {storable(made_for)[:200]}, and this installation "
                f"runs {system}-{machine}: run npm install --os={system} --cpu={machine}, and deploy again.",
            )
        if len(packages) == MOST_PACKAGES:
            raise Failed("invalid_bundle", f"The bundle has more than {MOST_PACKAGES} packages.")
        packages.append(one)
    for library in folder.rglob("build/Release/*.node"):
        _check_machine(library, folder)
    return packages


def _manifests(folder: Path) -> Iterator[Path]:
    for pattern in ("*/package.json", "@*/*/package.json"):
        yield from sorted(folder.glob(pattern))
        yield from sorted(folder.glob(f"**/node_modules/{pattern}"))


def _manifest(file: Path) -> _Manifest:
    """The fields of a package.json, which are empty if it is malformed."""
    try:
        return msgspec.json.decode(_bounded(file), type=_Manifest)
    except (msgspec.MsgspecError, RecursionError):
        return _Manifest()


def _allows(listed: str | list[str] | None, here: str) -> bool:
    """As npm reads `os` and `cpu`: names, of which some may begin with an exclamation mark."""
    names = [listed] if isinstance(listed, str) else listed or []
    wanted = [name for name in names if not name.startswith("!")]
    return f"!{here}" not in names and (not wanted or here in wanted or "any" in wanted)


def _check_dependencies(packages: list[Package], manifest: dict[str, Any]) -> None:
    installed = {one["name"] for one in packages}
    wanted = {_name_in_registry(name, version) for name, version in manifest.get("dependencies", {}).items()}
    if missing := sorted(wanted - installed):
        raise Failed("stale_bundle", f"The bundle has no {missing[0]}: run npm install and deploy again.")


def _name_in_registry(name: str, version: str) -> str:
    """The package that a name stands for, which may be an alias: "npm:zod@4"."""
    return version.removeprefix("npm:").rpartition("@")[0] if version.startswith("npm:") else name


# Both


def _check_machine(library: Path, folder: Path) -> None:
    """Whether a compiled library is for the processor that runs this."""
    made_for, here = _machine(library), _machine(Path(sys.executable))
    if made_for is not None and made_for != here:
        raise Failed(
            "wrong_platform",
            f"{library.relative_to(folder)} is compiled for {made_for}, and this installation runs {here}: install the "
            "packages there and deploy again.",
        )


def _machine(file: Path) -> str | None:
    """System and processor that a file is compiled for; None for a file that is not compiled, or a folder."""
    if not file.is_file():
        return None
    with open(file, "rb") as opened:
        head = opened.read(20)
    if head[:4] == b"\x7fELF" and len(head) == 20:
        order = "<" if head[5] == 1 else ">"
        number = struct.unpack_from(f"{order}H", head, 18)[0]
        return f"Linux {_PROCESSORS.get(number, f'processor {number}')}"
    if head[:4] in (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xfe\xed\xfa\xcf"):
        return "macOS"
    return "Windows" if head[:2] == b"MZ" else None


_PROCESSORS = {
    0x3E: "x86_64",
    0xB7: "aarch64",
    0x03: "i386",
    0x28: "arm",
    0xF3: "riscv64",
    0x15: "ppc64",
    0x16: "s390x",
}
