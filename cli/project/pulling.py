"""`zmesh pull`: a project folder as the project that runs would have it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cli.client import Client
from cli.errors import CliError
from cli.functions.declared import FUNCTIONS, sources_of_functions
from cli.functions.folders import ENTRY_FILES, SETTINGS, Content, is_left_out, read_folder
from cli.manifest import FunctionSettings, ProjectFile, parse_function_file, read_project_file
from cli.project import planning
from cli.project.folder import read_project, remember_pulled
from cli.project.writing import project_toml, same_project
from cli.prompts import confirm

SUFFIXES = {"javascript": ".js", "python": ".py", "typescript": ".ts"}
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .-]*(?:_[A-Za-z0-9 .-]*)*")
Function = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was written; `changes` is how many things still differ, None where a `problem` keeps the folder from being
    planned."""

    written: list[str]
    unchanged: int
    changes: int | None
    left_out: list[str]  # that no deployment from here would have
    unreadable: list[str]  # settings that no deployment could read
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a function's code goes: the file or folder that is deployed, and files below the project's folder."""

    source: str
    files: Mapping[str, Content]
    entry: str | None = None  # where it must be declared


@dataclass(frozen=True, slots=True)
class Running:
    """What the project has."""

    functions: list[Function]
    schedules: list[Mapping[str, Any]]
    webhooks: list[Mapping[str, Any]]
    changes: list[Mapping[str, Any]]


def pull_project(client: Client, root: Path, *, yes: bool) -> Pulled:
    """Write the folder. Raises CliError."""
    running = _running(client)
    local = read_project_file(root) if (root / SETTINGS).exists() else ProjectFile()
    here = sources_of_functions(root, local)
    wanted, places = _files(running, root, here)
    # Somebody may have deployed them through the API: Git, say, runs commands that a .git folder names.
    left_out = sorted({path for place in places.values() for path in _left_out(place)} & wanted.keys())
    unreadable = sorted({path for place in places.values() for path in _unreadable(place)} & wanted.keys())
    for path in {*left_out, *unreadable}:
        del wanted[path]
    toml = project_toml(
        {function["name"]: _settings(function, places[function["name"]], local) for function in running.functions},
        running.schedules,
        running.webhooks,
        running.changes,
        local,
        here,
    )
    slugs = {function["name"]: function["slug"] for function in running.functions}
    own = {name: _own_settings(place) for name, place in places.items()}
    if not ((root / SETTINGS).exists() and same_project(toml, local, slugs, own)):
        wanted[SETTINGS] = toml
    written = _write(root, wanted, _obsolete(root, here, places), yes=yes)
    unchanged = len(wanted.keys() - set(written))
    try:
        found = planning.plan(client, read_project(root), planning.Options(force=True))
    except CliError as error:  # deployed in another way, it may be something that no folder can contain
        return Pulled(written, unchanged, None, left_out, unreadable, str(error))
    unseen = {f"{item['kind']}:{item['name']}" for item in found.changes}  # changed while this was written, say
    remember_pulled(root, {key: hash for key, hash in found.answer["state"].items() if key not in unseen})
    return Pulled(written, unchanged, len(found.changes), left_out, unreadable)


def _running(client: Client) -> Running:
    functions = [
        {
            **client.call("GET", f"/functions/{function['id']}").body,
            "aliases": {
                alias["name"]: alias["versions"] for alias in client.items(f"/functions/{function['id']}/aliases")
            },
        }
        for function in client.items("/functions", code="false")
    ]
    kinds = ("/schedules", "/webhooks", "/changes")
    return Running(functions, *(list(client.items(path)) for path in kinds))


# Files


def _files(running: Running, root: Path, here: Mapping[str, Path]) -> tuple[dict[str, Content], dict[str, Place]]:
    """Every file by its path below the folder, and the place of each function."""
    wanted: dict[str, Content] = {}
    places: dict[str, Place] = {}
    for function in running.functions:
        candidates = list(_candidates(function, root, here.get(function["name"])))
        fitting = [
            place
            for place in candidates
            if all(wanted.get(path, content) == content for path, content in place.files.items())
            and place.source not in [other.source for other in places.values()]
        ]
        places[function["name"]] = fitting[0] if fitting else candidates[-1]
        wanted |= places[function["name"]].files
    for path in wanted:
        check_inside(root, path)
    return wanted, places


def _left_out(place: Place) -> Iterator[str]:
    for path in place.files:
        folder = place.source if path.startswith(f"{place.source}/") else FUNCTIONS
        if path != place.source and any(map(is_left_out, PurePosixPath(path).relative_to(folder).parts)):
            yield path


def _unreadable(place: Place) -> Iterator[str]:
    path = f"{place.source}/{SETTINGS}"
    if path in place.files and parse_function_file(place.files[path]) is None:
        yield path


def _candidates(function: Function, root: Path, here: Path | None) -> Iterator[Place]:
    """Where its code may go, the best first."""
    name = function["name"] if PLAIN.fullmatch(function["name"]) else function["slug"]
    entry, files = function["entry_file"], function["files"]
    local = here.relative_to(root).as_posix() if here and here.is_relative_to(root) else None
    if entry is None:
        suffix = SUFFIXES[function["language"]]
        path = local if local and local.endswith(suffix) else f"{FUNCTIONS}/{name}{suffix}"
        yield Place(path, {path: _as_it_is(root / path, function["code"])})
        return
    others = {PurePosixPath(path).parts[0] for path in files if "/" in path}
    folder = PurePosixPath(entry).parts[0] if "/" in entry else ""
    if any(part.startswith("_") for part in others) and all(part.startswith("_") for part in others - {folder}):
        inside = all("/" in path for path in files) if folder else entry not in ENTRY_FILES
        if inside:  # beside shared folders, as it was deployed
            below = {f"{FUNCTIONS}/{path}": content for path, content in files.items()}
            rest = entry.partition("/")[2]
            own = {path.partition("/")[2]: c for path, c in files.items() if folder and path.startswith(f"{folder}/")}
            yield Place(f"{FUNCTIONS}/{folder or entry}", below, _entry_to_declare(rest, own) if folder else None)
    source = local if local and (root / local).is_dir() else f"{FUNCTIONS}/{name}"
    yield Place(source, {f"{source}/{path}": c for path, c in files.items()}, _entry_to_declare(entry, files))


def _as_it_is(file: Path, code: str) -> str:
    """The text of the file, with its own line endings, if that is deployed as this code; else the code."""
    with suppress(OSError, UnicodeDecodeError):
        if file.read_text("utf-8") == code:
            return file.read_bytes().decode()
    return code


def _entry_to_declare(entry: str, files: Mapping[str, Content]) -> str | None:
    """The entry file, where it is not found by itself."""
    own = parse_function_file(files.get(SETTINGS))
    if own is not None and own.entry == entry:
        return None
    return None if [name for name in ENTRY_FILES if name in files] == [entry] else entry


def check_inside(root: Path, path: str) -> None:
    """Raises CliError for a file that would be written elsewhere, through a link say."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not (root / path).resolve().is_relative_to(root.resolve()):
        raise CliError(f"{path} would be outside of {root}. Nothing was written.", code="link_outside")


def _obsolete(root: Path, here: Mapping[str, Path], places: Mapping[str, Place]) -> list[str]:
    """Files of functions that the project has otherwise, and which would be deployed again."""
    found: list[str] = []
    for name, place in places.items():
        source = here.get(name)
        if source is None or not source.is_relative_to(root):
            continue
        path = source.relative_to(root).as_posix()
        if source.is_file() and path not in place.files:
            found.append(path)
        elif source.is_dir():
            with suppress(CliError):  # a folder that cannot be deployed is left as it is
                below = read_folder(source)["files"]
                found += [file for file in (f"{path}/{each}" for each in below) if (root / file).is_file()]
    wanted = {path for place in places.values() for path in place.files}
    return sorted(set(found) - wanted)


def _write(root: Path, wanted: Mapping[str, Content], obsolete: list[str], *, yes: bool) -> list[str]:
    contents = {path: _bytes(content) for path, content in wanted.items()}
    differing = [path for path, data in contents.items() if _data(root / path) != data]
    existing = sorted(path for path in differing if (root / path).exists()) + obsolete
    if existing:
        confirm(f"Change or delete {', '.join(existing[:20])}{' and more' if len(existing) > 20 else ''}?", yes=yes)
    try:
        for path in differing:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(contents[path])
        for path in obsolete:
            (root / path).unlink()
    except OSError as error:
        raise CliError(f"{error.filename} cannot be written: {error.strerror}.", code="unwritable_file") from error
    return sorted([*differing, *obsolete])


def _data(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _bytes(content: Content) -> bytes:
    return content.encode() if isinstance(content, str) else base64.b64decode(content["base64"])


# Settings


def _settings(function: Function, place: Place, local: ProjectFile) -> dict[str, Any]:
    """What zmesh.toml says of a function: whatever is neither a default nor said in its own folder."""
    own = _own_settings(place)
    settings: dict[str, Any] = {}
    name = function["name"]
    if place.source != f"{FUNCTIONS}/{name}" and not _is_found(place.source, name):
        settings["path"] = place.source
    if place.entry is not None:
        settings["entry"] = place.entry
    for field in FunctionSettings.model_fields:
        value = function.get("env_vars" if field == "env" else field)
        if field not in ("path", "entry", "secrets", "aliases") and value != getattr(own, field):
            settings[field] = value
    if name in local.functions and local.functions[name].secrets:
        settings["secrets"] = local.functions[name].secrets
    aliases = {alias: _shares(shares) for alias, shares in function["aliases"].items()}
    if aliases != own.aliases:
        settings["aliases"] = aliases
    return settings


def _own_settings(place: Place) -> FunctionSettings:
    """What the function's own folder says."""
    return parse_function_file(place.files.get(f"{place.source}/{SETTINGS}")) or FunctionSettings()


def _shares(shares: Mapping[str, int]) -> Any:
    return int(next(iter(shares))) if len(shares) == 1 else dict(shares)


def _is_found(source: str, name: str) -> bool:
    pure = PurePosixPath(source)
    return pure.parent == PurePosixPath(FUNCTIONS) and pure.suffix in SUFFIXES.values() and pure.stem == name
