"""Installs packages inside the sandbox: what a build runs, as a function of its own project would run.

It returns one stream: a line of JSON that says what was installed, and the archive of it, a file after the other in the
order of their paths (listener/archives.py describes the format and checks all of it).
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path.cwd()
ADDRESS = re.compile(r"[a-z+]+://\S+")
PIECE = 256 * 1024
MOST_ERROR_LINES = 20
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


class BuildFailed(Exception):
    """The packages cannot be installed; the message says which and why."""


def handler(payload: dict[str, Any], zmesh: Any) -> Any:
    install = install_python if payload["runtime"] == "python" else install_node
    installed = install(payload)
    return zmesh.response(stream_of(installed))


def stream_of(installed: dict[str, Any]) -> Iterator[bytes]:
    """The line of JSON and the archive."""
    root = HERE / "layer"
    files = files_below(root)
    yield json.dumps(installed).encode() + b"\n"
    for path, place in files:
        name = path.encode()
        with open(place, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            executable = os.fstat(file.fileno()).st_mode & 0o100 != 0
            yield len(name).to_bytes(2) + bytes([executable]) + size.to_bytes(8) + name
            while data := file.read(PIECE):
                yield data


def files_below(root: Path) -> list[tuple[str, Path]]:
    """Path within the folder and place of every file, in the order of the paths as bytes. Links are left out."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            place = Path(folder) / name
            if not place.is_symlink() and place.is_file():
                found.append((str(place.relative_to(root)), place))
    return sorted(found, key=lambda file: os.fsencode(file[0]))


# Python


def install_python(payload: dict[str, Any]) -> dict[str, Any]:
    """Install what requirements.txt asks for into layer/python; a lock of exactly that."""
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(payload["pip"]))) as pip:
        pip.extractall(HERE / "pip")
    (HERE / "requirements.txt").write_text(payload["manifest"]["requirements.txt"])
    target = HERE / "layer" / "python"
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE / "pip"),
        "PIP_INDEX_URL": payload["index_url"],
        "PIP_CONFIG_FILE": os.devnull,
    }
    if os.path.exists(CERTIFICATES):
        environment["PIP_CERT"] = CERTIFICATES
    arguments = [
        *("--only-binary", ":all:", "--no-compile", "--no-cache-dir", "--disable-pip-version-check", "--no-input"),
        *("--target", str(target), "--report", "report.json", "-r", "requirements.txt", "--progress-bar", "off"),
    ]
    print(f"Resolving and installing for Python {sys.version_info.major}.{sys.version_info.minor}")
    run([sys.executable, "-m", "pip", "install", *arguments], environment, explain_pip)
    report = json.loads((HERE / "report.json").read_text())
    packages, lock = [], []
    for one in report["install"]:
        name, version = one["metadata"]["name"], one["metadata"]["version"]
        hash = f"sha256:{one['download_info']['archive_info']['hashes']['sha256']}"
        packages.append({"name": name, "version": version, "hash": hash})
        lock.append(f"{name}=={version} --hash={hash}")
    compile_python(target)
    for package in sorted(packages, key=lambda one: one["name"].lower()):
        print(f"Installed {package['name']} {package['version']}")
    return {
        "packages": sorted(packages, key=lambda one: one["name"].lower()),
        "lock": "\n".join(sorted(lock, key=str.lower)) + "\n",
        "platform": python_platform(),
    }


def python_platform() -> str:
    """What compiled packages are made for."""
    return str(sysconfig.get_config_var("SOABI"))


def compile_python(target: Path) -> None:
    """Bytecode that is never checked against times of files: nobody can write there, and imports need no compiler."""
    arguments = ["-q", "-q", "--invalidation-mode", "unchecked-hash", str(target)]
    subprocess.run([sys.executable, "-m", "compileall", *arguments], check=False, stdout=subprocess.DEVNULL)


def explain_pip(lines: list[str]) -> str:
    """What went wrong, in a sentence that names the package."""
    text = "\n".join(lines)
    if found := re.search(r"No matching distribution found for (.+)", text):
        wanted = found[1].strip()
        if re.search(r"from versions: none\)", text):
            return (
                f"{wanted} has no wheel for this platform, or does not exist in the registry. "
                "Only wheels are installed: packages that must be built from source are not."
            )
        return f"no version of {wanted} has a wheel for this platform: choose another version"
    if found := re.search(r"THESE PACKAGES DO NOT MATCH THE HASHES.*?\n\s*(\S+?)(?: from .*)?:?\n", text, re.DOTALL):
        return f"{found[1].rstrip(':')} does not have the hash that requirements.txt gives"
    if found := re.search(r"must have their versions pinned with ==.*?\n\s*(\S+)", text, re.DOTALL):
        return f"the lock has no {found[1]}, which another package needs: lock all packages, with their dependencies"
    if found := re.search(r"Hashes are required in --require-hashes mode.*?\n\s*(\S+)", text, re.DOTALL):
        return f"{found[1]} has no --hash, and others have: give hashes for all packages, or for none"
    if found := re.search(r"Cannot install (.+?) because these package versions have conflicting dependencies", text):
        return f"{found[1]} need versions of other packages that exclude each other"
    return last_errors(lines)


# JavaScript


def install_node(payload: dict[str, Any]) -> dict[str, Any]:
    """Install what package.json asks for into layer/node_modules; a lock of exactly that."""
    folder = HERE / "layer"
    folder.mkdir()
    for name, text in payload["manifest"].items():
        (folder / name).write_text(text)
    write_npmrc(payload)
    command = "ci" if "package-lock.json" in payload["manifest"] else "install"
    arguments = [
        *("--ignore-scripts", "--no-audit", "--no-fund", "--no-bin-links", "--omit=dev", "--no-update-notifier"),
        *("--install-links=false", f"--cache={HERE / 'cache'}", f"--userconfig={HERE / 'npmrc'}", "--loglevel=error"),
        *("--prefix", str(folder)),
    ]
    node = [payload["node"], "--max-old-space-size=768", "--disable-wasm-trap-handler"]
    environment = {**os.environ, "SSL_CERT_FILE": CERTIFICATES}
    if os.path.exists(CERTIFICATES):
        environment["NODE_EXTRA_CA_CERTS"] = CERTIFICATES
    print("Resolving and installing for Node.js")
    run([*node, payload["npm"], command, *arguments], environment, explain_npm)
    lock = json.loads((folder / "package-lock.json").read_text())
    (folder / "package-lock.json").unlink()
    (folder / "package.json").unlink()
    (folder / "node_modules" / ".package-lock.json").unlink(missing_ok=True)
    packages = []
    for place, package in sorted(lock["packages"].items()):
        package.pop("resolved", None)
        if place and (folder / place).is_dir():
            name, hash = place.rpartition("node_modules/")[2], package.get("integrity", "")
            packages.append({"name": name, "version": package.get("version", ""), "hash": hash})
    for package in packages:
        print(f"Installed {package['name']} {package['version']}")
    version = subprocess.run(
        [*node, "-p", "`node${process.versions.modules}-${process.platform}-${process.arch}`"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "packages": packages,
        "lock": json.dumps(lock, indent=2) + "\n",
        "platform": version.stdout.strip(),
    }


def write_npmrc(payload: dict[str, Any]) -> None:
    registry = payload["registry"].rstrip("/") + "/"
    lines = [f"registry={registry}"]
    if payload["token"]:
        lines.append(f"{registry.partition(':')[2]}:_authToken={payload['token']}")
    (HERE / "npmrc").write_text("\n".join(lines) + "\n")


def explain_npm(lines: list[str]) -> str:
    """What went wrong, in a sentence that names the package."""
    text = "\n".join(lines)
    if found := re.search(r"404 +'?([^' ]+)'? is not in this registry|404 Not Found - GET \S*/(\S+)", text):
        return f"{(found[1] or found[2]).replace('%2f', '/')} does not exist in the registry"
    if found := re.search(r"No matching version found for (\S+?)\.?(?:\s|$)", text):
        return f"{found[1]} does not exist: the package has no such version"
    if "EINTEGRITY" in text:
        return f"{_of_hash(text)} does not have the hash that package-lock.json gives"
    if "can only install packages when your package.json and package-lock.json" in text:
        missing = ", ".join(re.findall(r"(?:Missing|Invalid): .*", text)[:MOST_ERROR_LINES])
        return f"package-lock.json does not fit package.json: run npm install to renew it ({missing})"
    return last_errors(lines)


def _of_hash(text: str) -> str:
    """The package whose hash the lock has and the registry does not."""
    wanted = re.search(r"wanted (sha\S+)", text)
    lock = HERE / "layer" / "package-lock.json"
    packages = json.loads(lock.read_text()).get("packages", {}) if lock.exists() else {}
    named = [
        f"{place.rpartition('node_modules/')[2]} {package.get('version', '')}".strip()
        for place, package in packages.items()
        if wanted and package.get("integrity") == wanted[1]
    ]
    return named[0] if named else "a package"


# Both


def run(command: list[str], environment: dict[str, str], explain: Any) -> None:
    """Run an installer and pass on what it prints, without addresses. Raises BuildFailed."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as installer:
        assert installer.stdout is not None
        lines = []
        for line in installer.stdout:
            lines.append(line.rstrip())
            if shown := shown_line(line):
                print(shown)
        status = installer.wait()
    if status != 0:
        raise BuildFailed(explain(lines[-500:]))


def shown_line(line: str) -> str:
    """What people get to see of a line: addresses of registries may hold credentials."""
    text = ADDRESS.sub("(address)", line.strip())
    if text.startswith(("Looking in indexes", "Looking in links", "Downloading (address)", "Using cached")):
        return ""
    return re.sub(r"\s*\(from \(address\)\S*\)?", "", text)


def last_errors(lines: list[str]) -> str:
    """The lines in which the installer complains."""
    errors = [line for line in lines if re.match(r"\s*(ERROR:|npm (error|ERR!))", line)] or lines[-5:]
    return " ".join(
        shown_line(re.sub(r"^\s*(ERROR:|npm (error|ERR!))\s*", "", line)) for line in errors[:MOST_ERROR_LINES]
    )
