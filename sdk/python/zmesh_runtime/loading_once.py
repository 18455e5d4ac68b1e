"""Functions with `init = "once"`: a template executes their top-level code, and runs are forked with what it left.

The template has no payload, secret, variable of the function or session. It removes the function's files again: each
run writes them into a working directory of its own.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import types
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from zmesh_runtime import files, kept_files, loading, randomness
from zmesh_runtime.channel import Channel
from zmesh_runtime.output import Output

_loaded: types.ModuleType | None = None


class NotInTopLevelCode(Exception):
    """Top-level code asked for what only a run has."""


def load_once(code: int, output: Output) -> str | None:
    """In a template: execute the code in this file, which is closed then; why that failed, if it did."""
    global _loaded
    channel, root = Channel(code), os.getcwd()
    job = json.loads(channel.receive()[1])
    others = files.parsed(channel.receive()[1]) if job["has_files"] else {}
    os.close(code)
    output.discard()
    sys.path.insert(0, root)
    try:
        with randomness.noting_generators(), _without_variables(job["variables"]):
            _loaded = load(job, others)
    except BaseException as error:  # user code raises what it likes
        return f"{type(error).__name__}: {error}"
    os.chdir(root)
    files.remove([job["entry_file"], *others] if job["entry_file"] else [])
    randomness.find()
    gc.collect()
    gc.freeze()
    return None


def load(job: dict[str, Any], others: dict[str, Any]) -> types.ModuleType:
    """The module of a single file, or of the entry file of a folder, which is written out first."""
    sys.argv[:] = [job["filename"]]
    sys.orig_argv[:] = [sys.executable, job["filename"]]
    in_place = job.get("in_place", False)  # a developer's own files, for a debugger
    if job.get("entry_file") and not in_place:
        files.write({job["entry_file"]: job["code"]})
        files.write(others)
    if "limits" in job:  # neither a rehearsal nor a template
        kept_files.give()
    if job.get("is_loaded") and _loaded is not None:
        importlib.invalidate_caches()  # the folder of the template had files of the same names
        loading.enter_folder(job["filename"], {job["filename"], *others})
        return _loaded
    if not job.get("entry_file"):
        return loading.load(job["code"], job["filename"])
    return loading.load_from_folder(job["code"], job["filename"], others, in_place=in_place)


@contextmanager
def _without_variables(names: Collection[str]) -> Iterator[None]:
    """Have it explained that these variables of the environment are not there: their values are for runs only."""
    plain = type(os.environ)

    class Explaining(plain):  # type: ignore[misc, valid-type]
        def __getitem__(self, name: str) -> str:
            try:
                return str(super().__getitem__(name))
            except KeyError:
                if name not in names:
                    raise
                raise NotInTopLevelCode(
                    f"top-level code cannot read the environment variable {name} with init = once: "
                    "read it in the handler"
                ) from None

    os.environ.__class__ = Explaining
    try:
        yield
    finally:
        os.environ.__class__ = plain
