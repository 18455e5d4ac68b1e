"""The archive format of a layer. Archives from builds are untrusted; archives written here have the same form.

One file after another, ordered by path as bytes:
    length of the path (2 bytes), executable (1 byte: 0 or 1), length of the content (8 bytes), path, content
Numbers are big-endian. There are only regular files: no links, devices, owners, times or other modes. A set of files
therefore has exactly one archive, whose SHA-256 is the hash of the layer, in the database and on disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MIB = 1024 * 1024
LARGEST_LAYER = 512 * MIB  # the whole archive
MOST_FILES = 100_000
MOST_FOLDERS = 50_000  # each takes a block of the disk, and an archive of many has few bytes
DEEPEST = 32  # folders
LONGEST_PATH = 1024  # bytes
PIECE = MIB
TOPS = {"python": b"python", "node": b"node_modules"}  # the folder that everything is in, by runtime
# The runtime imports these before the code; a package of the same name would replace them.
RESERVED = {"python": (b"zmesh_runtime",), "node": ()}
_HEAD = 11


class ArchiveError(Exception):
    """The archive is malformed; the message says how."""


@dataclass(frozen=True, slots=True)
class Contents:
    """SHA-256 of an archive, number of files, and size in bytes."""

    hash: str
    files: int
    bytes: int


def unpack(archive: BinaryIO, folder: Path, runtime: str | None = None) -> Contents:
    """Write the files of an archive into an empty folder. Raises ArchiveError; the caller then removes the folder.

    With a runtime, also check that the files are inside the folder that its packages belong in.
    """
    digest = hashlib.sha256()
    files, folders, size, last = 0, 0, 0, b""
    while head := _exactly(archive, _HEAD, digest, at_end=True):
        name, executable, length = int.from_bytes(head[:2]), head[2], int.from_bytes(head[3:])
        path = _exactly(archive, name, digest)
        files += 1
        size += _HEAD + name + length
        if files > MOST_FILES:
            raise ArchiveError(f"the packages have more than {MOST_FILES} files")
        if size > LARGEST_LAYER:
            raise ArchiveError(f"the packages are larger than {LARGEST_LAYER // MIB} MiB")
        if path <= last:
            raise ArchiveError(f"{_shown(path)} is out of order or there twice")
        last = path
        _check(path, executable, runtime)
        folders += _write(archive, folder, path, executable, length, digest)
        if folders > MOST_FOLDERS:
            raise ArchiveError(f"the packages have more than {MOST_FOLDERS} folders")
    return Contents(digest.hexdigest(), files, size)


def pack(folder: Path) -> Iterator[bytes]:
    """The archive of a folder, in pieces. Raises ArchiveError if it contains anything but files and folders."""
    for path, place in _files_below(os.fsencode(folder)):
        with open(os.open(place, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            found = os.fstat(file.fileno())
            yield len(path).to_bytes(2) + bytes([found.st_mode & 0o100 != 0]) + found.st_size.to_bytes(8) + path
            while piece := file.read(PIECE):
                yield piece


def hash_of(folder: Path) -> str:
    """The hash of the layer in a folder. Raises ArchiveError, OSError."""
    digest = hashlib.sha256()
    for piece in pack(folder):
        digest.update(piece)
    return digest.hexdigest()


def _files_below(folder: bytes) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    folders = [(b"", folder)]
    while folders:
        above, place = folders.pop()
        for entry in os.scandir(place):
            path = above + entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append((path + b"/", entry.path))
            elif entry.is_file(follow_symlinks=False):
                found.append((path, entry.path))
            else:
                raise ArchiveError(f"{_shown(path)} is neither a file nor a folder")
    return sorted(found)


def _exactly(archive: BinaryIO, length: int, digest: hashlib._Hash, *, at_end: bool = False) -> bytes:
    """Read exactly this many bytes; none if the archive may end here and does."""
    data = archive.read(length)
    if len(data) != length and not (at_end and not data):
        raise ArchiveError("the archive is cut off")
    digest.update(data)
    return data


def _check(path: bytes, executable: int, runtime: str | None) -> None:
    parts = path.split(b"/")
    if len(path) > LONGEST_PATH or len(parts) > DEEPEST:
        raise ArchiveError(f"{_shown(path)} is too long or too deep")
    if b"\0" in path or any(part in (b"", b".", b"..") or len(part) > 255 for part in parts):
        raise ArchiveError(f"{_shown(path)} is not a path inside the archive")
    if executable > 1:
        raise ArchiveError(f"{_shown(path)} has a mode that no file may have")
    if runtime is None:
        return
    if parts[0] != TOPS[runtime] or len(parts) < 2:
        raise ArchiveError(f"{_shown(path)} is not where packages are")
    if parts[1].partition(b".")[0] in RESERVED[runtime]:
        raise ArchiveError(f"the package {_shown(parts[1])} has the name of a part of the platform")


def _write(archive: BinaryIO, folder: Path, path: bytes, executable: int, length: int, digest: hashlib._Hash) -> int:
    """Returns how many folders it made for the file."""
    place = os.fsencode(folder) + b"/" + path
    try:
        made = _make_folders(os.path.dirname(place))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(place, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o555 if executable else 0o444)
            while length > 0:
                piece = archive.read(min(length, PIECE))
                if not piece:
                    raise ArchiveError("the archive is cut off")
                digest.update(piece)
                file.write(piece)
                length -= len(piece)
        return made
    except (FileExistsError, NotADirectoryError) as error:
        raise ArchiveError(f"{_shown(path)} is a file and a folder") from error


def _make_folders(place: bytes) -> int:
    """Whatever our umask is, the users of runs read what is in there. Returns how many it made."""
    if os.path.isdir(place):
        return 0
    made = _make_folders(os.path.dirname(place))
    os.mkdir(place)
    os.chmod(place, 0o755)
    return made + 1


def _shown(path: bytes) -> str:
    return repr(path[:200].decode("utf-8", "backslashreplace"))
