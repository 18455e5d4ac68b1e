"""Folders as functions: their entry file, the files that belong to them, and the shared folders that they import."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from cli.errors import CliError, did_you_mean

LANGUAGES = {
    ".js": "javascript",
    ".cjs": "javascript",
    ".mjs": "javascript",
    ".py": "python",
    ".ts": "typescript",
    ".mts": "typescript",
    ".cts": "typescript",
    ".tsx": "typescript",
    ".jsx": "typescript",
}
SETTINGS = "zmesh.toml"
ENTRY_FILES = [*(f"index{suffix}" for suffix in LANGUAGES), "main.py"]
MANIFESTS = ("package.json", "requirements.txt", "pyproject.toml")
IGNORE = ".zmeshignore"
NEVER_FILES = {"node_modules", "__pycache__", "venv"}  # beside all names that begin with a dot
MOST_FILES = 1000
MOST_BYTES = 8 * 1024 * 1024
MOST_ENTRY_BYTES = 1024 * 1024
LONGEST_PATH = 255
Content = str | dict[str, str]


def is_left_out(name: str) -> bool:
    """Whether files and folders with this name never belong to a function."""
    return name.startswith(".") or name in NEVER_FILES or name.endswith(".pyc")


def is_function(folder: Path) -> bool:
    """Whether a folder is one function, rather than a folder of functions."""
    if any((folder / name).is_file() for name in (*ENTRY_FILES, *MANIFESTS)):
        return True
    return _configured_entry(folder) is not None


def read_folder(folder: Path, name: str | None = None, entry: str | None = None) -> dict[str, Any]:
    """Name, language, entry file and files of a function that is a folder. Raises CliError."""
    folder = folder.resolve()
    entry = _entry_of(folder) if entry is None else _checked_entry(entry, folder, f"The project's {SETTINGS}")
    files = _Reader(folder).files()
    if entry not in files:
        raise CliError(
            f"{folder / entry}, the entry file, is missing or ignored.", code="file_not_found", hint=f"See {IGNORE}."
        )
    return {"name": name or folder.name, **_function(folder.parent, folder.name, entry, files)}


def read_beside_shared(file: Path, code: str) -> dict[str, Any] | None:
    """A function of one file that imports shared folders beside it; None if it imports none. Raises CliError."""
    if not shared_folders(file.parent):
        return None
    function = _function(file.parent.resolve(), "", file.name, {file.name: code})
    return function if len(function["files"]) > 1 else None


def size_of(content: Content) -> int:
    """The size of a file in bytes."""
    return len(content.encode()) if isinstance(content, str) else len(base64.b64decode(content["base64"]))


def shown_extent(sizes: Mapping[str, int]) -> str:
    """How many files, and how large together."""
    return f"{len(sizes)} {'file' if len(sizes) == 1 else 'files'}, {shown_size(sum(sizes.values()))}"


def shown_size(size: int) -> str:
    """As people read it."""
    for unit, length in (("MiB", 1024 * 1024), ("KiB", 1024)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size} B"


def _function(parent: Path, folder: str, entry: str, files: dict[str, Content]) -> dict[str, Any]:
    """With what it imports of shared folders. Those keep their places: then the function's folder is one of several."""
    shared = _imported(parent, files, "../" if folder else "./")
    if shared and folder:
        files = {f"{folder}/{path}": content for path, content in files.items()}
        entry = f"{folder}/{entry}"
    files |= shared
    _check_limits(folder or entry, {path: size_of(content) for path, content in files.items()})
    _check_entry(folder or entry, entry, files[entry])
    language = LANGUAGES[PurePosixPath(entry).suffix]
    return {"language": language, "code": files[entry], "entry_file": entry, "files": files}


def _entry_of(folder: Path) -> str:
    configured = _configured_entry(folder)
    if configured is not None:
        return configured
    found = [name for name in ENTRY_FILES if (folder / name).is_file()]
    if len(found) > 1:
        raise CliError(
            f"{folder} has several entry files: {', '.join(found)}.",
            code="no_entry_file",
            hint=f'Name the entry file in its {SETTINGS}: entry = "{found[0]}"',
        )
    if found:
        return found[0]
    main = _main_of_package(folder / "package.json")
    if main is None:
        raise CliError(
            f"{folder} has no entry file.",
            code="no_entry_file",
            hint="Add index.js, index.ts or main.py, or name the entry file in its "
            f'{SETTINGS}: entry = "{_likely_entry(folder)}". '
            "A folder of functions has no manifest of its own, and folders such as _shared are not functions.",
        )
    return main


def _likely_entry(folder: Path) -> str:
    """A file of the folder that its author may mean, or an example if there is none."""
    files = [entry.name for entry in sorted(folder.iterdir()) if entry.suffix in LANGUAGES and entry.is_file()]
    named_so = [name for name in files if name.startswith(("app.", "server.", "handler."))]
    return (named_so or files or ["src/app.py"])[0]


def _configured_entry(folder: Path) -> str | None:
    path = folder / SETTINGS
    if not path.is_file():
        return None
    try:
        settings = tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise CliError(f"{path} cannot be read: {error}.", code="bad_settings_file") from error
    entry = settings.get("entry")
    if entry is None:
        _refuse_misspelling(settings, path)
        return None
    return _checked_entry(entry, folder, str(path))


def _checked_entry(entry: object, folder: Path, said_by: str) -> str:
    if not isinstance(entry, str) or not _is_inside(entry) or not (folder / entry).is_file():
        raise CliError(f"{said_by}: entry is not a file of this folder (got {entry!r}).", code="bad_settings_file")
    return _with_language(str(PurePosixPath(entry)), said_by)


def _refuse_misspelling(settings: Mapping[str, Any], path: Path) -> None:
    known = ("entry", "entry_point")
    for key in settings:
        if key not in known and (hint := did_you_mean(key, known)):
            raise CliError(f'{path}: unknown key "{key}".', code="bad_settings_file", hint=hint)


def _main_of_package(path: Path) -> str | None:
    try:
        main = json.loads(path.read_text("utf-8-sig")).get("main")
    except (OSError, ValueError, AttributeError):
        return None
    if not isinstance(main, str) or not _is_inside(main) or not (path.parent / main).is_file():
        return None
    return _with_language(str(PurePosixPath(main)), str(path))


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts


def _with_language(entry: str, said_by: str) -> str:
    if PurePosixPath(entry).suffix not in LANGUAGES:
        raise CliError(
            f"{said_by}: {entry} has an unsupported file extension.",
            code="unknown_language",
            hint=f"Supported extensions: {' '.join(LANGUAGES)}",
        )
    return entry


# Shared folders


def shared_folders(parent: Path) -> list[Path]:
    """The folders beside functions that these may import."""
    return [p for p in sorted(parent.iterdir()) if p.name.startswith("_") and p.name not in NEVER_FILES and p.is_dir()]


def _imported(parent: Path, files: dict[str, Content], place: str) -> dict[str, Content]:
    """The files of shared folders that these import, and of those that the shared ones import."""
    left = shared_folders(parent)
    found: dict[str, Content] = {}
    new = files
    while new:
        texts = [(path, content) for path, content in new.items() if isinstance(content, str)]
        named = [folder for folder in left if any(_imports(text, path, folder.name, place) for path, text in texts)]
        left = [folder for folder in left if folder not in named]
        new = {
            f"{folder.name}/{path}": content for folder in named for path, content in _Reader(folder).files().items()
        }
        found |= new
        place = "../"
    return found


def _imports(text: str, path: str, folder: str, place: str) -> bool:
    """Whether a text names the folder by a relative path; in Python, also as a module."""
    if f"{place}{folder}/" in text:
        return True
    module = rf"^\s*(?:from|import)\s+{re.escape(folder)}\b"
    return path.endswith(".py") and re.search(module, text, re.MULTILINE) is not None


# Reading


@dataclass(frozen=True, slots=True)
class _Ignored:
    """A line of .zmeshignore: a name or path, with * and ?; with a slash at its end, only folders."""

    pattern: str
    folders_only: bool

    def matches(self, path: str, is_folder: bool) -> bool:
        if self.folders_only and not is_folder:
            return False
        if "/" in self.pattern:
            return fnmatchcase(path, self.pattern.lstrip("/"))
        return fnmatchcase(path.rpartition("/")[2], self.pattern)


class _Reader:
    """Reads the files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._real = folder.resolve()
        if self._real.parent != folder.parent.resolve():
            raise CliError(
                f"{folder} is a link that leads out of its folder.", code="link_outside", hint="Copy the files instead."
            )
        self._ignored = list(self._read_ignored())

    def files(self) -> dict[str, Content]:
        """Paths below the folder with their content. Raises CliError."""
        found = dict(self._walk(self._folder, ""))
        _check_limits(str(self._folder), {path: file.stat().st_size for path, file in found.items()})
        return {path: _read(file) for path, file in found.items()}

    def _walk(self, folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
        for entry in sorted(folder.iterdir()):
            path = f"{prefix}{entry.name}"
            is_folder = entry.is_dir()
            if is_left_out(entry.name):
                continue
            if any(ignored.matches(path, is_folder) for ignored in self._ignored):
                continue
            self._check(entry, path)
            if is_folder:
                yield from self._walk(entry, f"{path}/")
            else:
                yield path, entry

    def _check(self, entry: Path, path: str) -> None:
        if entry.is_symlink():
            target = entry.resolve()
            if not target.is_relative_to(self._real) or entry.parent.resolve().is_relative_to(target):
                raise CliError(
                    f"{entry} is a link that leaves the folder, or leads back to where it is.",
                    code="link_outside",
                    hint=f"Copy the file instead, or list the link in {self._folder / IGNORE}.",
                )
        if not entry.is_dir() and not entry.is_file():
            raise CliError(f"{entry} is not a regular file.", code="unreadable_file", hint=f"Name it in {IGNORE}.")
        try:
            length = len(path.encode())
        except UnicodeEncodeError as error:
            raise CliError(f"The name of {str(entry)!r} is not UTF-8.", code="unreadable_file") from error
        if length > LONGEST_PATH:
            raise CliError(f"{entry}: its path is longer than {LONGEST_PATH} bytes.", code="path_too_long")

    def _read_ignored(self) -> Iterator[_Ignored]:
        path = self._folder / IGNORE
        if not path.is_file():
            return
        for line in _text(path).splitlines():
            pattern = line.strip()
            if not pattern or pattern.startswith("#"):
                continue
            if pattern.startswith("!") or "**" in pattern:
                raise CliError(
                    f"{path}: ! and ** are not supported (line {line!r}).",
                    code="bad_settings_file",
                    hint="Write names or paths of files and folders, with * and ?.",
                )
            yield _Ignored(pattern.rstrip("/"), pattern.endswith("/"))


def _text(path: Path) -> str:
    content = _read(path)
    if not isinstance(content, str):
        raise CliError(f"{path} is not UTF-8 text.", code="unreadable_file")
    return content


def _read(path: Path) -> Content:
    """UTF-8 text as it is, anything else in base64."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}.", code="unreadable_file") from error
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\x00"
    return {"base64": base64.b64encode(data).decode()} if "\x00" in text else text


def _check_limits(name: str, sizes: dict[str, int]) -> None:
    if len(sizes) > MOST_FILES:
        raise CliError(
            f"{name}: {len(sizes)} files; the limit is {MOST_FILES}, with what it imports of shared folders.",
            code="too_many_files",
            hint=f"Name what it does not need in {IGNORE}.",
        )
    total = sum(sizes.values())
    if total > MOST_BYTES:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
        raise CliError(
            f"{name}: the files have {shown_size(total)} together; the limit is {shown_size(MOST_BYTES)}.",
            code="too_large",
            hint=f"Name what it does not need in {IGNORE}, and keep large data in tables. The largest: "
            + ", ".join(f"{path} ({shown_size(sizes[path])})" for path in largest),
        )


def _check_entry(name: str, entry: str, code: Content) -> None:
    if not isinstance(code, str):
        raise CliError(f"{name}: {entry}, the entry file, is not UTF-8 text.", code="unreadable_file")
    if (size := size_of(code)) > MOST_ENTRY_BYTES:
        raise CliError(
            f"{name}: {entry}, the entry file, has {shown_size(size)}; the limit is {shown_size(MOST_ENTRY_BYTES)}.",
            code="too_large",
            hint="Move code and data into other files.",
        )
