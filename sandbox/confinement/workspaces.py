"""Workspaces where there are no namespaces: a folder for each run, removed whatever the run has done to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from itertools import islice

FOLDERS = ("tmp", ".shm")  # which a run expects
FOLDER_MODE = 0o1777
BATCH = 1000


def claim(folder: str) -> int:
    """Hold a folder for one sandbox, by a lock that ends with its process. Raises OSError if another sandbox has it."""
    fd = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def remove_abandoned(parent: str, prefix: str) -> None:
    """Remove the folders that sandboxes of this user have claimed there and nobody holds any more."""
    for name in os.listdir(parent):
        folder = f"{parent}/{name}"
        with contextlib.suppress(OSError):
            found = os.lstat(folder)
            ours = name.startswith(prefix) and stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if ours and os.path.exists(f"{folder}/lock"):
                held = claim(folder)
                remove(folder)
                os.close(held)


def make(folder: str, uid: int | None) -> None:
    """Create a workspace for this user; None means the current user."""
    os.mkdir(folder, 0o700)
    for name in FOLDERS:
        os.mkdir(f"{folder}/{name}")
        os.chmod(f"{folder}/{name}", FOLDER_MODE)
    if uid is not None:
        for path in (*(f"{folder}/{name}" for name in FOLDERS), folder):  # root may not enter what it has given away
            try:
                os.chown(path, uid, uid)
            except PermissionError as error:
                raise PermissionError(error.errno, f"{error.strerror} (chown needs CAP_CHOWN)", path) from error


def remove(folder: str) -> None:
    """Remove a tree, however deep it is and whatever modes its folders have. Follows no link out of it.

    Nothing of the run may be alive any more. Folders are moved to the top before they are emptied, so neither paths nor
    the stack grow with the depth.
    """
    with contextlib.suppress(OSError):
        with _as_owner(folder):
            top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                _empty(top, top)
            finally:
                os.close(top)
        os.rmdir(folder)


@contextlib.contextmanager
def _as_owner(folder: str) -> Iterator[None]:
    """As root: act as the folder's owner meanwhile, who can do all of this without a capability, and no more."""
    owner = os.lstat(folder).st_uid
    if os.geteuid() != 0 or owner == 0:
        yield
        return
    os.seteuid(owner)
    try:
        os.chmod(folder, 0o700)
        yield
    finally:
        os.seteuid(0)


def _empty(top: int, folder: int) -> None:
    while names := _some_names(folder):
        for name in names:
            if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=folder)
                continue
            with contextlib.suppress(PermissionError):  # still ours, if making the workspace was interrupted
                os.chmod(name, 0o700, dir_fd=folder)
            if folder == top:
                _remove_folder(top, name)
            else:
                os.rename(name, f".zmesh-{secrets.token_hex(16)}", src_dir_fd=folder, dst_dir_fd=top)


def _remove_folder(top: int, name: str) -> None:
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
    try:
        _empty(top, folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def _some_names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, BATCH)]
