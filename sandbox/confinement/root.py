"""The read-only file system that every run sees: the machine's programs and libraries, and nothing of the platform."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sandbox.confinement import kernel, workspaces
from sandbox.confinement.plan import Plan
from sandbox.protocol.orders import TemplateSettings

WORKSPACE = "/workspace"
PACKAGES = "/packages"
FALLBACKS = ".fallbacks"  # in it: what any other package of that name takes the place of
IMAGES = "/images"  # all of them, for the template; covered in runs
IMAGE = "/image"  # the one that a run sees
EMPTY = "/run"
SYSTEM_FOLDERS = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin")
SYSTEM_FILES = tuple(
    f"/etc/{name}"
    for name in (
        "alternatives", "ca-certificates", "gai.conf", "host.conf", "hosts", "ld.so.cache", "ld.so.conf",
        "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "os-release", "pki", "protocols",
        "resolv.conf", "services", "ssl", "timezone",
    )
)  # fmt: skip
DEVICES = ("null", "zero", "full", "random", "urandom")
# A shared mapping of /dev/zero is memory that no process need hold; /dev/full reads the same and cannot be mapped.
STAND_INS = {"zero": "full"}
_SEALED = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV


def workspace_of(run: int, settings: TemplateSettings) -> str:
    """The folder that a run may write to, as the run sees it."""
    return WORKSPACE if settings.mode != "process" else f"{settings.run_dir}/run-{run}"


def packages_of(settings: TemplateSettings) -> str:
    """The folder that runs of Python import from, as the run sees it."""
    return PACKAGES if settings.mode != "process" else f"{settings.run_dir}/packages"


def image_of(image: str, settings: TemplateSettings) -> str:
    """The folder of an image, as the run sees it."""
    return IMAGE if settings.mode != "process" else f"{settings.images}/{image}"


def enter(
    folder: str,
    readable: Sequence[str],
    hidden: Sequence[str],
    packages: Mapping[str, str],
    users: dict[int, str],
    images: str = "",
) -> None:
    """Build the root in `folder` and make it this process's own; needs a mount namespace of its own.

    `readable` are further folders, found under the same path inside. A folder that is `hidden` holds nothing there but
    what is readable below it. `packages` stand in a folder of their own under their names, `images` is a folder of
    folders.
    """
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", folder, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=755")
    bound: list[str] = []
    shown = {path: [inside for inside in readable if inside.startswith(f"{path}/")] for path in hidden}
    for path in (*SYSTEM_FOLDERS, *SYSTEM_FILES, *sorted(set(readable).difference(*shown.values()))):
        if not any(path == b or path.startswith(f"{b}/") for b in bound) and _bind(folder, path):
            bound.append(path)
    for path in hidden:
        _hide(folder, path, shown[path])
    for name, path in packages.items():
        _bind_at(path, f"{folder}{PACKAGES}/{name}")
    _make_devices(folder)
    _write_accounts(folder, users)
    if images:
        _bind_at(images, folder + IMAGES)
    for name in ("/proc", WORKSPACE, EMPTY, IMAGE, "/var", "/root"):
        os.makedirs(folder + name, 0o755, exist_ok=True)
    os.symlink(f"{IMAGE}/node_modules", f"{folder}/node_modules")  # where Node.js looks for packages of /workspace
    for name in ("tmp", "var/tmp"):
        if not os.path.exists(f"{folder}/{name}"):  # else a readable folder is below it; TMPDIR works anyway
            os.symlink(f"{WORKSPACE}/tmp", f"{folder}/{name}")
    # In a user namespace the kernel lets runs mount their own /proc only where one is in full sight already.
    kernel.mount("proc", f"{folder}/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    kernel.enter_root(folder)
    kernel.mount("none", "/", None, _SEALED)


def _hide(root: str, path: str, but: Sequence[str]) -> None:
    if but:
        os.makedirs(root + path, 0o755, exist_ok=True)
    if not os.path.isdir(root + path):
        return
    kernel.mount("tmpfs", root + path, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=4k,mode=755")
    for inside in but:
        _bind(root, inside)
    kernel.mount("none", root + path, None, _SEALED)


def visible(paths: Iterable[str], hidden: Iterable[str]) -> list[str]:
    """The paths, with those that have something hidden below replaced by what stands beside it.

    For where a hidden folder cannot be covered: what is left out cannot be read.
    """
    found: list[str] = []
    for path in paths:
        if any(path == h or path.startswith(f"{h}/") for h in hidden):
            continue
        if os.path.isdir(path) and any(h.startswith(f"{path}/") for h in hidden):
            found += visible((f"{path}/{name}" for name in sorted(os.listdir(path))), hidden)
        else:
            found.append(path)
    return found


def _bind(root: str, path: str) -> bool:
    target = root + path
    if os.path.islink(path) and not path.startswith("/etc"):
        os.symlink(os.readlink(path), target)
        return False
    if not os.path.exists(path):
        return False
    _bind_at(path, target)
    return True


def _bind_at(path: str, target: str) -> None:
    if os.path.isdir(path):
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        Path(target).touch()
    kernel.mount(path, target, None, kernel.MS_BIND | kernel.MS_REC)
    kernel.make_read_only(target)


def _make_devices(root: str) -> None:
    os.mkdir(f"{root}/dev", 0o755)
    for name in DEVICES:
        Path(f"{root}/dev/{name}").touch()
        kernel.mount(f"/dev/{STAND_INS.get(name, name)}", f"{root}/dev/{name}", None, kernel.MS_BIND)
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{root}/dev/{name}")
    os.symlink(f"{WORKSPACE}/.shm", f"{root}/dev/shm")


def _write_accounts(root: str, users: dict[int, str]) -> None:
    everybody = {0: "root", **users}
    lines = [f"{name}:x:{number}:{number}::{WORKSPACE}:/bin/sh" for number, name in everybody.items()]
    Path(f"{root}/etc/passwd").write_text("\n".join(lines) + "\n")
    groups = [f"{name}:x:{number}:" for number, name in everybody.items()]
    Path(f"{root}/etc/group").write_text("\n".join(groups) + "\n")


def add_own(plan: Plan, megabytes: int, files: int, image: str | None = None) -> None:
    """Inside a run's mount namespace: its process list, and its workspace of bounded size, gone with the namespace.

    Where there are images, it sees the one of that path and no other; "" is none.
    """
    flags = kernel.MS_NOSUID | kernel.MS_NODEV
    plan.call("mount", "proc", "/proc", "proc", flags | kernel.MS_NOEXEC, 0)
    plan.call("mount", "tmpfs", WORKSPACE, "tmpfs", flags, f"size={megabytes}m,nr_inodes={files},mode=1777")
    for name in workspaces.FOLDERS:
        plan.call("mkdirat", kernel.AT_FDCWD, f"{WORKSPACE}/{name}", 0o700)
        plan.call("fchmodat", kernel.AT_FDCWD, f"{WORKSPACE}/{name}", workspaces.FOLDER_MODE)
    if image:
        plan.call("mount", f"{IMAGES}/{image}", IMAGE, 0, kernel.MS_BIND, 0)
    if image is not None:
        plan.call("mount", EMPTY, IMAGES, 0, kernel.MS_BIND, 0)
