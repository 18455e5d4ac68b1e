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
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

from build_network import Network

HERE = Path.cwd()
ADDRESS = re.compile(r"(?<![a-z+])[a-z+]+://\S+")
LONGEST_LINE = 4000  # the rest is left out: matching a longer line can take minutes
MOST_LINES = 500  # that are searched for the reason for a failure
PIECE = 256 * 1024
MOST_ERROR_LINES = 20
MOST_COMPLAINTS = 5
COMPLAINT = re.compile(r"error|fail|cannot|denied|not found|unable|missing", re.IGNORECASE)
NOT_OF_A_SCRIPT = re.compile(
    r"\s*(?:npm error|> |(?:gyp ERR! stack )?at |node:|\(node:|$)"
)  # lines of npm, of stacks and of warnings
# pip builds a source archive that a package names by its address, even with --only-binary. A build is code of the
# package, and would be a subprocess.
PIP = """
import runpy, sys
def refuse(event, _):
    if event in ("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"):
        raise OSError("only wheels are installed: packages that must be built from source are not")
sys.addaudithook(refuse)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
# What a package may ask for by an address comes from elsewhere, and of a Git repository, npm runs scripts. Variables
# reach each npm that npm starts.
NPM = {f"npm_config_allow_{kind}": "none" for kind in ("git", "remote", "file", "directory")}
# What the proxy of the build answers (listener/build_proxy.py). The listener names the host that it refused.
NOT_A_HOST = "not a host that builds connect to"
CANNOT_CONNECT = re.compile(r"cannot connect to \S+: (.+?)(?='|\)| - | for url|$)", re.MULTILINE)
LARGEST_PAGE = 4 * 1024 * 1024
CREDENTIALS = "set its token again, with zmesh registries set or in the settings of the installation"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


class BuildFailed(Exception):
    """The packages cannot be installed; the message says which and why."""


class BuildInterrupted(Exception):
    """The installer was ended by somebody else, such as the kernel when the machine runs out of memory."""


def handler(payload: dict[str, Any], zmesh: Any) -> Any:
    if payload.get("compile"):  # that run has no network at all
        shutil.copytree(image_of(payload) / "python", HERE / "layer" / "python", copy_function=shutil.copyfile)
        compile_python(HERE / "layer" / "python")
        return zmesh.response(stream_of(payload["installed"]))
    network = Network(payload["network"])
    os.environ |= network.variables
    if payload.get("scripts"):
        installed = run_scripts(payload, network)
    else:
        installed = (install_python if payload["runtime"] == "python" else install_node)(payload, network)
    return zmesh.response(stream_of(installed))


def stream_of(installed: dict[str, Any]) -> Iterator[bytes]:
    """The line of JSON and the archive."""
    root = HERE / "layer"
    files = files_below(root)
    yield json.dumps(installed).encode() + b"\n"
    for path, place in files:
        name = os.fsencode(path)
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


def install_python(payload: dict[str, Any], network: Network) -> dict[str, Any]:
    """Install what requirements.txt asks for into layer/python; a lock of exactly that."""
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(payload["pip"]))) as pip:
        pip.extractall(HERE / "pip")
    sys.path.append(str(HERE / "pip"))
    (HERE / "requirements.txt").write_text(payload["manifest"]["requirements.txt"])
    target = HERE / "layer" / "python"
    arguments = [
        *("--only-binary", ":all:", "--no-compile", "--no-cache-dir", "--disable-pip-version-check", "--no-input"),
        *("--target", str(target), "--report", "report.json", "-r", "requirements.txt", "--progress-bar", "off"),
        *("--retries", "2"),
    ]
    indexes = [(one["packages"], index_url(one)) for one in payload["registries"]]
    print(f"Resolving and installing for Python {sys.version_info.major}.{sys.version_info.minor}")
    command = [sys.executable, "-P", "-c", PIP, "pip_indexes" if len(indexes) > 1 else "pip", "install", *arguments]
    run(network, command, pip_environment(indexes), lambda lines: explain_pip(lines, indexes))
    report = json.loads((HERE / "report.json").read_text())
    packages, lock = [], []
    for one in report["install"]:
        name, version = one["metadata"]["name"], one["metadata"]["version"]
        if one["is_direct"]:
            raise BuildFailed(f"a package asks for {name} by an address: only packages of a registry are installed")
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


def pip_environment(indexes: list[tuple[str, str]]) -> dict[str, str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE / "pip"),
        "PIP_INDEX_URL": indexes[0][1],
        "PIP_CONFIG_FILE": os.devnull,
    }
    if len(indexes) > 1:  # pip needs to know them all, for their credentials
        environment |= {"PIP_EXTRA_INDEX_URL": " ".join(url for _, url in indexes[1:]), "INDEXES": json.dumps(indexes)}
    if os.path.exists(CERTIFICATES):
        environment["PIP_CERT"] = CERTIFICATES
    return environment


def index_url(registry: dict[str, str]) -> str:
    """The URL of an index with its credentials, as pip takes them."""
    parts = urlsplit(registry["url"])
    if not registry["token"]:
        return registry["url"]
    host = parts.netloc.rpartition("@")[2]
    user = quote(unquote(parts.username or "__token__"), safe="")
    return parts._replace(netloc=f"{user}:{quote(registry['token'], safe='')}@{host}").geturl()


def python_platform() -> str:
    """What compiled packages are made for."""
    return str(sysconfig.get_config_var("SOABI"))


def compile_python(target: Path) -> None:
    """Bytecode that is never checked against times of files: nobody can write there, and imports need no compiler."""
    arguments = ["-q", "-q", "--invalidation-mode", "unchecked-hash", str(target)]
    subprocess.run([sys.executable, "-m", "compileall", *arguments], check=False, stdout=subprocess.DEVNULL)


def explain_pip(lines: list[str], indexes: list[tuple[str, str]]) -> str:
    """What went wrong, in a sentence that names the package."""
    text = "\n".join(lines)
    if NOT_A_HOST in text:
        return f"a file of {(re.findall(r'^Collecting ([^ (]+)', text, re.MULTILINE) or ['a package'])[-1]} is there"
    if "only wheels are installed" in text:  # see PIP
        return "a package asks for a source archive by its address: only wheels are installed"
    if found := re.search(r"No matching distribution found for (.+)", text):
        return explain_missing(found[1].strip(), text, indexes)
    if found := re.search(r"THESE PACKAGES DO NOT MATCH THE HASHES.*?\n\s*(\S+?)(?: from .*)?:?\n", text, re.DOTALL):
        return f"{found[1].rstrip(':')} does not have the hash that the lock gives: renew the lock, if you trust it"
    if found := re.search(r"must have their versions pinned with ==.*?\n\s*(\S+)", text, re.DOTALL):
        return f"the lock has no {found[1]}, which another package needs: lock all packages, with their dependencies"
    if found := re.search(r"Hashes are required in --require-hashes mode.*?\n\s*(\S+)", text, re.DOTALL):
        return f"{found[1]} has no --hash, and others have: give hashes for all packages, or for none"
    if found := re.search(r"Cannot install (.+?) because these package versions have conflicting dependencies", text):
        packages = named_packages(found[1], text)
        return (
            f"{packages} need versions of other packages that exclude each other: widen the versions that you ask for"
        )
    return last_errors(lines)


def named_packages(packages: str, text: str) -> str:
    """The packages with the requirements themselves in place of the line numbers that pip gives."""
    collected = re.findall(r"^Collecting (.+) \((?:from )?(-r \S+ \(line \d+\))\)$", text, re.MULTILINE)
    for requirement, line in collected:
        packages = packages.replace(line, requirement)
    return packages


def explain_missing(wanted: str, text: str, indexes: list[tuple[str, str]]) -> str:
    """Why pip found none: asks the registry of the package once more, for what pip does not tell."""
    from pip_indexes import index_of

    name = re.split(r"[^A-Za-z0-9._-]", wanted)[0]
    index = index_of(name, indexes)
    whose = "its registry" if index != indexes[0][1] else "the registry"
    try:
        page = page_of(name, index)
    except HTTPError as error:
        if error.code in (401, 403):
            return f"{whose} refused the credentials for {name} (HTTP {error.code}): {CREDENTIALS}"
        if error.code == 404:
            return f"{name} does not exist in {whose}: check its name"
        if found := CANNOT_CONNECT.match(error.reason):
            return f"{whose} of {name} cannot be reached ({found[1]}): deploy again later, or use --bundle"
        return f"{whose} cannot serve {name} (HTTP {error.code}): deploy again later"
    except OSError as error:
        reason = shown_line(str(getattr(error, "reason", error)))
        reason = found[1] if (found := CANNOT_CONNECT.search(reason)) else reason
        return f"{whose} of {name} cannot be reached ({reason}): deploy again later, or use --bundle"
    versions = re.search(r"from versions: (?!none\))([^)]+)", text)
    if versions:
        return (
            f"no version of {wanted} has a wheel for this platform: there are {', '.join(versions[1].split(', ')[-5:])}"
        )
    kind = "no wheel for this platform" if ".whl" in page else "no wheel, only source distributions"
    return (
        f"{wanted} has {kind}. Only wheels are installed, since others run code when "
        "they are built: choose another version, or deploy with --bundle where it is installed"
    )


def page_of(name: str, index: str) -> str:
    """The page of a package in an index. Raises OSError, HTTPError among them."""
    parts = urlsplit(index)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    request = Request(f"{address}/{re.sub(r'[-_.]+', '-', name).lower()}/")
    if parts.password is not None:
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password)}"
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    with urlopen(request, timeout=20) as answer:
        return str(answer.read(LARGEST_PAGE).decode("utf-8", "replace"))


# JavaScript


def install_node(payload: dict[str, Any], network: Network) -> dict[str, Any]:
    """Install what package.json asks for into layer/node_modules; a lock of exactly that."""
    folder = HERE / "layer"
    folder.mkdir()
    for name, text in payload["manifest"].items():
        (folder / name).write_text(text)
    (HERE / "npmrc").write_text(npmrc(payload["registries"]))
    command = "ci" if "package-lock.json" in payload["manifest"] else "install"
    print("Resolving and installing for Node.js")
    run(network, [*npm_command(payload, command), "--ignore-scripts"], npm_environment(), explain_npm)
    lock = json.loads((folder / "package-lock.json").read_text())
    (folder / "package-lock.json").unlink()
    (folder / "package.json").unlink()
    (folder / "node_modules" / ".package-lock.json").unlink(missing_ok=True)
    packages, scripts = [], set()
    for place, package in sorted(lock["packages"].items()):
        package.pop("resolved", None)
        if place and (folder / place).is_dir():
            name, hash = name_of(place, package), package.get("integrity", "")
            packages.append({"name": name, "version": package.get("version", ""), "hash": hash})
            scripts |= {name} if has_script(package) else set()
    for package in packages:
        print(f"Installed {package['name']} {package['version']}")
    for name in sorted(scripts - set(payload["allow_scripts"])):
        print(f"The install script of {name} is not run. To allow it: zmesh projects scripts PROJECT {name}")
    return {
        "packages": packages,
        "lock": json.dumps(lock, indent=2) + "\n",
        "platform": node_platform(payload),
        "scripts": sorted(scripts & set(payload["allow_scripts"])),
    }


def name_of(place: str, package: dict[str, Any]) -> str:
    """The name of a locked package in its registry. Its folder has the name that its dependents use, maybe an alias."""
    return str(package.get("name") or place.rpartition("node_modules/")[2])


def has_script(package: dict[str, Any]) -> bool:
    """Whether a locked package has an install script; not for one in another's archive, whose name proves nothing."""
    return bool(package.get("hasInstallScript") and not package.get("inBundle"))


def run_scripts(payload: dict[str, Any], network: Network) -> dict[str, Any]:
    """Run the install scripts of some packages of a layer, in a run of its own that knows no token."""
    folder = HERE / "layer"
    shutil.copytree(image_of(payload) / "node_modules", folder / "node_modules", copy_function=copy_writable)
    (folder / "package.json").write_text(payload["manifest"]["package.json"])
    (HERE / "npmrc").write_text("")
    environment, rebuild = npm_environment(payload["node"]), npm_command(payload, "rebuild")
    # Scripts call programs of other packages through links that are not part of a layer.
    run(network, [*rebuild, "--ignore-scripts", "--bin-links"], environment, last_errors, show=False)
    locked = json.loads(payload["installed"]["lock"])["packages"]
    for name in payload["scripts"]:
        named = [place for place, package in locked.items() if name_of(place, package) == name and has_script(package)]
        places = [str(folder / place) for place in named if (folder / place).is_dir()]
        if not places:  # given none, npm would run the scripts of all packages
            continue
        print(f"Running the install script of {name}")
        command = [*rebuild, *places, "--ignore-scripts=false", "--foreground-scripts"]
        run(network, command, environment, lambda lines, name=name: explain_script(name, lines))
    (folder / "package.json").unlink()
    return payload["installed"] | {"platform": node_platform(payload)}


def copy_writable(source: str, target: str) -> None:
    """Copy a read-only file as one that its owner can write, executable if it was."""
    shutil.copyfile(source, target)
    if os.stat(source).st_mode & 0o100:
        os.chmod(target, 0o755)


def image_of(payload: dict[str, Any]) -> Path:
    """Where a run sees the packages that it was given."""
    return Path("/image") if os.path.isdir("/image") and os.listdir("/image") else Path(payload["image"])


def npm_command(payload: dict[str, Any], command: str) -> list[str]:
    return [
        *(payload["node"], "--max-old-space-size=768", "--disable-wasm-trap-handler", payload["npm"], command),
        *("--no-audit", "--no-fund", "--no-bin-links", "--omit=dev", "--no-update-notifier", "--fetch-retries=2"),
        *("--install-links=false", f"--cache={HERE / 'cache'}", f"--userconfig={HERE / 'npmrc'}", "--loglevel=error"),
        *("--prefix", str(HERE / "layer")),
    ]


def npm_environment(node: str = "") -> dict[str, str]:
    environment = {**os.environ, **NPM, "SSL_CERT_FILE": CERTIFICATES}
    if node:  # for scripts, which may use Node.js's own client
        environment["NODE_USE_ENV_PROXY"] = "1"
        environment["PATH"] = f"{Path(node).parent}:{environment.get('PATH', os.defpath)}"
    if os.path.exists(CERTIFICATES):
        environment["NODE_EXTRA_CA_CERTS"] = CERTIFICATES
    return environment


def node_platform(payload: dict[str, Any]) -> str:
    """What compiled packages are made for."""
    expression = "`node${process.versions.modules}-${process.platform}-${process.arch}`"
    command = [payload["node"], "--disable-wasm-trap-handler", "-p", expression]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def npmrc(registries: list[dict[str, str]]) -> str:
    """Which registry has which packages, and their credentials."""
    lines = []
    for registry in registries:
        parts = urlsplit(registry["url"].rstrip("/") + "/")
        host = parts.netloc.rpartition("@")[2]
        lines.append(
            f"{registry['packages'] and registry['packages'] + ':'}registry={parts._replace(netloc=host).geturl()}"
        )
        if registry["token"]:
            pair = f"{unquote(parts.username or '')}:{registry['token']}"
            token = registry["token"] if not parts.username else base64.b64encode(pair.encode()).decode()
            lines.append(f"//{host}{parts.path}:{'_auth' if parts.username else '_authToken'}={token}")
    return "\n".join(lines) + "\n"


def explain_npm(lines: list[str]) -> str:
    """What went wrong, in a sentence that names the package."""
    text = "\n".join(lines)
    if NOT_A_HOST in text:
        return f"a file{_asked_for(text) or ' of a package'} is there"
    if found := CANNOT_CONNECT.search(text):
        return f"the registry{_asked_for(text)} cannot be reached ({found[1]}): deploy again later, or use --bundle"
    if found := re.search(r"404 +'?([^' ]+)'? is not in this registry|404 Not Found - GET \S*/(\S+)", text):
        name = (found[1] or found[2]).replace("%2f", "/")
        return f"{name} does not exist in the registry: check its name, and whether the token may read it"
    if found := re.search(r"No matching version found for (\S+?)\.?(?:\s|$)", text):
        return f"{found[1]} does not exist: the package has no such version"
    if found := re.search(r"code (?:E401|E403|ENEEDAUTH)", text):
        return f"the registry{_asked_for(text)} refused the credentials ({found[0][5:]}): {CREDENTIALS}"
    if found := re.search(
        r"code (ECONNREFUSED|ENOTFOUND|ETIMEDOUT|ECONNRESET|EAI_AGAIN|ERR_SOCKET_TIMEOUT|E5\d\d)", text
    ):
        return f"the registry{_asked_for(text)} cannot be reached ({found[1]}): deploy again later, or use --bundle"
    if "EALLOWREMOTE" in text:
        return (
            "a package refers to another by an address, or its registry names a file on another host: only packages "
            "of a registry are installed, and only from its own host"
        )
    if "EALLOW" in text:
        return "a package refers to another by an address: only packages of a registry are installed"
    if "JavaScript heap out of memory" in text:
        return "npm ran out of memory: the registry sends more than a build can hold, or there are too many packages"
    if "EINTEGRITY" in text:
        return f"{_of_hash(text)} does not have the hash that package-lock.json gives: renew the lock, if you trust it"
    if "can only install packages when your package.json and package-lock.json" in text:
        missing = ", ".join(re.findall(r"(?:Missing|Invalid): .*", text)[:MOST_ERROR_LINES])
        return f"package-lock.json does not fit package.json: run npm install to renew it ({missing})"
    return last_errors(lines)


def _asked_for(text: str) -> str:
    """For which package the registry was asked, if that is known."""
    found = re.search(r"https?://[^\s/]+/\S*?((?:@[\w.~-]+(?:/|%2f))?[\w.~-]+)(?:/-/\S*)?(?=[\s,:]|$)", text)
    return f" of {found[1].replace('%2f', '/')}" if found else ""


def explain_script(name: str, lines: list[str]) -> str:
    """The first errors that a script printed, or else its last lines."""
    said = [line.strip() for line in lines if not NOT_OF_A_SCRIPT.match(line)]
    errors = [line for line in said if COMPLAINT.search(line)][:MOST_COMPLAINTS] or said[-MOST_COMPLAINTS:]
    return f"the install script of {name} failed: {' '.join(map(shown_line, errors))}"


def _of_hash(text: str) -> str:
    """The package whose hash the lock has and the registry does not."""
    wanted = re.search(r"wanted (sha\S+)", text)
    lock = HERE / "layer" / "package-lock.json"
    packages = json.loads(lock.read_text()).get("packages", {}) if lock.exists() else {}
    named = [
        f"{name_of(place, package)} {package.get('version', '')}".strip()
        for place, package in packages.items()
        if wanted and package.get("integrity") == wanted[1]
    ]
    return named[0] if named else "a package"


# Both


def run(network: Network, command: list[str], environment: dict[str, str], explain: Any, *, show: bool = True) -> None:
    """Run an installer and pass on what it prints, without addresses. Raises BuildFailed, BuildInterrupted."""
    with network.start(command, environment) as installer:
        assert installer.stdout is not None
        lines: deque[str] = deque(maxlen=MOST_LINES)
        for line in beginnings_of_lines(installer.stdout):
            lines.append(line.rstrip())
            if show and (shown := shown_line(line)):
                print(shown)
        status = installer.wait()
    if status in (-signal.SIGKILL, -signal.SIGTERM):
        raise BuildInterrupted(f"The installer was killed by signal {-status}.")
    if status != 0:
        raise BuildFailed(explain(list(lines)) or ended_by(status))


def ended_by(status: int) -> str:
    """Why an installer failed that printed no error."""
    if status == -signal.SIGXFSZ:
        return "a package contains a file that is larger than a layer may be"
    return f"the installer was killed by signal {-status}" if status < 0 else "the installer printed no error"


def beginnings_of_lines(output: TextIO) -> Iterator[str]:
    """The lines that a program prints, each cut to LONGEST_LINE characters."""
    while line := output.readline(LONGEST_LINE):
        yield line
        while line and not line.endswith("\n"):
            line = output.readline(LONGEST_LINE)


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
