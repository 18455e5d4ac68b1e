"""The packages that a function written in Python finds beside the standard library, and no others of the platform's."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from sandbox.confinement.root import FALLBACKS

DRIVERS = ("psycopg", "psycopg_binary", "psycopg2")
# psycopg imports it before Python 3.13. The template forgets it once psycopg is loaded, so that a function or its
# packages can bring another version.
NEEDED_BY_DRIVERS = ("typing_extensions",)
_DISTRIBUTIONS = ("psycopg", "psycopg-binary", "psycopg2-binary", "psycopg2")


def packages_of_runs(sdk: Path) -> dict[str, str]:
    """Name in the folder that runs import from → where it is installed."""
    found = {"zmesh_runtime": str(sdk / "python" / "zmesh_runtime")}
    for name in (*DRIVERS, *NEEDED_BY_DRIVERS):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        place = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        found[place.name if name in DRIVERS else f"{FALLBACKS}/{place.name}"] = str(place)
    for place in _beside_drivers():
        found[place.name] = str(place)
    return found


def installed_with_python() -> list[str]:
    """Where the interpreter keeps packages: pip, and all of the platform's where it has no virtual environment."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    paths = sysconfig.get_paths(vars=base)
    return sorted({path for path in (paths["purelib"], paths["platlib"]) if os.path.isdir(path)})


def _beside_drivers() -> list[Path]:
    """Their shared libraries, which they find by a relative path, and what importlib.metadata reads."""
    found: list[Path] = []
    for name in _DISTRIBUTIONS:
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        site = Path(str(distribution.locate_file("")))
        tops = {Path(str(file)).parts[0] for file in distribution.files or []}
        found += [site / top for top in sorted(tops) if top.endswith((".libs", ".dist-info"))]
    return found


def link(folder: str, packages: dict[str, str]) -> None:
    """Make the folder that runs import from, where it cannot be made of mounts."""
    os.makedirs(folder, 0o755, exist_ok=True)
    for left in os.scandir(folder):
        if left.is_dir(follow_symlinks=False):  # Python's own cache
            shutil.rmtree(left.path)
        else:
            os.unlink(left.path)
    for name, place in packages.items():
        os.makedirs(os.path.dirname(f"{folder}/{name}"), 0o755, exist_ok=True)
        os.symlink(place, f"{folder}/{name}")
