"""What runs have in common that are forked from the same template of an image."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sandbox.confinement.limits import heap_class
from sandbox.model import Image, InitOnce, Network, RunRequest, Runtime


@dataclass(frozen=True, slots=True)
class TemplateKey:
    """What runs have in common that are forked from one template. `heap` is the size of Node.js's, else 0; `made` tells
    the folder of the image from one that was at its place before. With `init_once`, `variables` are the names of the
    function's environment variables, which its code cannot read yet. `preload` is what has been imported."""

    project: str
    image: str
    runtime: Runtime
    heap: int
    network: Network
    made: tuple[int, int] = (0, 0)
    init_once: InitOnce | None = None
    variables: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()


def key_of_image(image: Image, place: str, runtime: Runtime, memory_mb: int, network: Network) -> TemplateKey:
    """The template with the packages of an image alone."""
    folder = os.stat(image.path)
    made = folder.st_ino, folder.st_mtime_ns
    return TemplateKey(image.project, place, runtime, _heap(runtime, memory_mb), network, made)


def key_of_run(request: RunRequest, place: str) -> TemplateKey:
    """The template for a run with an image or `init_once`."""
    memory_mb, network, once = request.limits.memory_mb, request.network, request.init_once
    if once is None:
        assert request.image is not None
        return key_of_image(request.image, place, request.runtime, memory_mb, network)
    made = (0, 0)
    if request.image is not None:
        folder = os.stat(request.image.path)
        made = folder.st_ino, folder.st_mtime_ns
    heap, variables = _heap(request.runtime, memory_mb), tuple(sorted(request.env))
    return TemplateKey(once.project, place, request.runtime, heap, network, made, once, variables)


def _heap(runtime: Runtime, memory_mb: int) -> int:
    return 0 if runtime == "python" else heap_class(memory_mb)


def has_nearer_packages(request: RunRequest) -> bool:
    """Whether files of the function come before those of its image: a template that only has those has looked for
    none."""
    return request.runtime == "node" and request.files is not None and b"node_modules/" in request.files
