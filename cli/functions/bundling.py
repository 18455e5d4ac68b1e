"""Packs the packages that are installed beside functions, for installations whose listeners reach no registry."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from cli.client import Client
from cli.errors import CliError
from cli.functions.building import Build, finished, manifest_of_function, texts_of
from cli.functions.folders import shown_size
from cli.output import progress
from listener.archives import LARGEST_LAYER, MOST_FILES
from support.manifests import Manifest

CHUNK = 1024 * 1024
ENVIRONMENTS = (".venv", "venv")


def bundle_packages(client: Client, functions: Mapping[Path, Mapping[str, Any]]) -> dict[str, Build]:
    """Upload what is installed beside these functions, and have it checked; the builds by function name.

    Raises CliError.
    """
    found: dict[str, Build] = {}
    for source, function in functions.items():
        manifest = manifest_of_function(function)
        if manifest is None:
            continue
        files = installed_files(source, manifest)
        found[function["name"]] = _upload(client, function, manifest, files)
    return found


def installed_files(source: Path, manifest: Manifest, also: Path | None = None) -> dict[str, Path]:
    """The files of a function's packages by their paths in an image. If none are installed beside the function, those
    in the environment `also` count (Python), or in a folder above it, up to `also` (Node.js). Raises CliError."""
    folder = source if source.is_dir() else source.parent
    files = dict(_python_files(folder, manifest, also) if manifest.runtime == "python" else _node_files(folder, also))
    if len(files) > MOST_FILES:
        raise CliError(f"{folder}: {len(files)} files of packages; the limit is {MOST_FILES}.", code="too_many_files")
    return files


def _upload(client: Client, function: Mapping[str, Any], manifest: Manifest, files: Mapping[str, Path]) -> Build:
    with tempfile.TemporaryFile() as archive:
        digest, size = hashlib.sha256(), 0
        for path, place in sorted(files.items(), key=lambda file: os.fsencode(file[0])):
            name, data = os.fsencode(path), place.read_bytes()
            executable = os.access(place, os.X_OK)
            piece = len(name).to_bytes(2) + bytes([executable]) + len(data).to_bytes(8) + name + data
            digest.update(piece)
            archive.write(piece)
            size += len(piece)
            if size > LARGEST_LAYER:
                raise CliError(f"The packages are larger than {LARGEST_LAYER // CHUNK} MiB.", code="layer_too_large")
        progress(f"Uploading {len(files)} files of packages ({shown_size(size)}) ...")
        archive.seek(0)
        chunks = -(-size // CHUNK)
        for number in range(chunks):
            chunk = base64.b64encode(zlib.compress(archive.read(CHUNK), 6)).decode()
            client.call("PUT", f"/bundles/{digest.hexdigest()}/chunks/{number}", {"data": chunk})
    body = {"language": function["language"], "code": function["code"], "files": texts_of(function)}
    bundle = {"hash": digest.hexdigest(), "chunks": chunks}
    build = client.call("POST", "/builds", {**body, "bundle": bundle}).body
    return finished(client, function, manifest, build)


# Python


def _python_files(folder: Path, manifest: Manifest, also: Path | None) -> Iterator[tuple[str, Path]]:
    """The files of the packages that the manifest needs, and of those that they need."""
    site = _site_packages(folder, also)
    installed: dict[str, Distribution] = {canonicalize_name(one.name): one for one in distributions(path=[str(site)])}
    for name in sorted(_needed(manifest.requirements, installed, site)):
        distribution = installed[name]
        if '"editable": true' in (distribution.read_text("direct_url.json") or ""):
            raise CliError(
                f"{name} is installed as editable: its files are elsewhere.",
                code="editable_package",
                hint="Install it without --editable, or copy its files into the folder of the function.",
            )
        for file in distribution.files or ():
            place = site / file
            elsewhere = file.is_absolute() or ".." in file.parts  # such as scripts; the author may name any path
            if not elsewhere and "__pycache__" not in file.parts and place.is_file():
                yield f"python/{file.as_posix()}", place


def _site_packages(folder: Path, also: Path | None) -> Path:
    active = os.environ.get("VIRTUAL_ENV")
    others = (Path(active) if active else None, also)
    environments = [*(folder / name for name in ENVIRONMENTS), *(other for other in others if other)]
    for environment in environments:
        for site in sorted(environment.glob("lib/python3.*/site-packages")):
            return site
    raise CliError(
        f"No packages are installed for {folder}: it has no .venv.",
        code="nothing_installed",
        hint=f"python -m venv {folder}/.venv && {folder}/.venv/bin/pip install -r {folder}/requirements.txt",
    )


def _needed(requirements: tuple[str, ...], installed: Mapping[str, Distribution], site: Path) -> set[str]:
    """The names of the packages that these requirements need. Raises CliError where one is not installed."""
    done: set[tuple[str, str]] = set()
    waiting = [(requirement.partition(" --hash")[0], "the manifest") for requirement in requirements]
    while waiting:
        text, by = waiting.pop()
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(wanted.name)
        if name not in installed:
            raise CliError(
                f"{wanted.name}, which {by} needs, is not installed in {site}.",
                code="nothing_installed",
                hint="Install the function's packages there.",
            )
        for extra in ("", *sorted(wanted.extras)):
            if (name, extra) not in done:
                done.add((name, extra))
                waiting += [(one, name) for one in _requires(installed[name], extra)]
    return {name for name, _ in done}


def _requires(distribution: Distribution, extra: str) -> Iterator[str]:
    for text in distribution.requires or ():
        requirement, _, marker = text.partition(";")
        if not marker or Marker(marker).evaluate({"extra": extra}):
            yield requirement


# npm


def _node_files(folder: Path, also: Path | None) -> Iterator[tuple[str, Path]]:
    above = [place for place in folder.resolve().parents if also and place.is_relative_to(also)]
    root = next((place / "node_modules" for place in (folder, *above) if (place / "node_modules").is_dir()), None)
    if root is None:
        raise CliError(
            f"No packages are installed for {folder}: it has no node_modules.",
            code="nothing_installed",
            hint=f"npm install --prefix {folder}",
        )
    for place in sorted(root.rglob("*")):
        parts = place.relative_to(root).parts
        if any(re.fullmatch(r"\.(bin|cache|package-lock\.json)", part) for part in parts):
            continue
        if place.is_symlink():
            raise CliError(
                f"{place} is a link, as pnpm and workspaces make them.",
                code="linked_package",
                hint="Install with npm, or with pnpm install --config.node-linker=hoisted.",
            )
        if place.is_file():
            yield f"node_modules/{'/'.join(parts)}", place
