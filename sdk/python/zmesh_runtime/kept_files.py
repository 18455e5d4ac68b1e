"""Files that packages write when a template imports them, such as caches: each run forked from it gets a copy.

Otherwise, modules in a run would rely on files and folders that only the template's working folder has.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

MOST_ENTRIES = 64
MOST_BYTES = 1024 * 1024
OF_ALL_RUNS = ("tmp", ".shm")  # folders that each run has; files in them are temporary

_kept: dict[str, bytes | None] = {}  # path in the working folder → content; None for a folder


def take(root: str) -> None:
    """In a template: remember the files of its working folder and remove them. If they are too many, too large, open,
    or anything other than files and folders, they stay, and the template is refused."""
    with contextlib.suppress(OSError, ValueError):
        _refuse_open_files(root)
        _kept.update(_read(root))
        for path, content in reversed(_kept.items()):
            (os.rmdir if content is None else os.unlink)(f"{root}/{path}")


def give() -> None:
    """In a run: write them to its working folder, beside the function's own files, which take precedence."""
    for path, content in _kept.items():
        with contextlib.suppress(OSError):
            if content is None:
                os.mkdir(path)
            else:
                with open(path, "xb") as file:
                    file.write(content)


def _refuse_open_files(root: str) -> None:
    """Raises ValueError if a file is open, since all runs would share it."""
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the descriptor that listed them
            if os.readlink(f"/proc/self/fd/{number}").startswith(f"{root}/"):
                raise ValueError(f"a file below {root} is open")


def _read(root: str) -> dict[str, bytes | None]:
    """Each folder comes before its contents. Raises ValueError for what is not kept."""
    found: dict[str, bytes | None] = {}
    size = 0
    for entry in _entries(root):
        path = entry.path[len(root) + 1 :]
        if entry.is_dir(follow_symlinks=False):
            found[path] = None
        else:
            found[path] = _content(entry.path)
            size += len(found[path] or b"")
        if len(found) > MOST_ENTRIES or size > MOST_BYTES:
            raise ValueError(f"more than {MOST_ENTRIES} files or {MOST_BYTES} bytes")
    return found


def _entries(root: str) -> Iterator[os.DirEntry[str]]:
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if folder == root and entry.name in OF_ALL_RUNS:
                    continue
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def _content(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError(f"{path} is not a regular file")
        return opened.read(MOST_BYTES + 1)
