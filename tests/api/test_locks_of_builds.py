"""A build may be given the lock of another one of its manifest: then exactly that is installed."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from api.http.problems import Problem
from api.management.packages import find_locked, find_manifest
from support.manifests import Manifest

PYTHON = {"requirements.txt": "six>=1.15\n"}
PINNED = f"six==1.16.0 --hash=sha256:{'0' * 64}\n"
NODE = {"package.json": json.dumps({"dependencies": {"ms": "^2"}})}
MS = {"version": "2.1.2", "resolved": "https://npm.example/ms/-/ms-2.1.2.tgz", "integrity": "sha512-AAAA"}
NODE_LOCK = {
    "lockfileVersion": 3,
    "packages": {"": {"dependencies": {"ms": "^2"}}, "node_modules/ms": MS},
}


def locked(language: str, files: dict[str, Any], lock: str) -> tuple[Manifest, Manifest]:
    """The manifest of these files, and what is installed of it by the lock."""

    async def find() -> tuple[Manifest, Manifest]:
        manifest = await find_manifest(uuid4(), language, "", files)
        assert manifest is not None
        return manifest, await find_locked(uuid4(), manifest, language, "", files, lock)

    return asyncio.run(find())


def test_the_versions_of_the_lock_are_installed_and_not_those_that_are_newest() -> None:
    plain, python = locked("python", PYTHON, PINNED)
    assert python.files["requirements.txt"] == PINNED
    assert plain.files["requirements.txt"] == "six>=1.15\n"
    _, node = locked("javascript", NODE, json.dumps(NODE_LOCK))
    assert json.loads(node.files["package-lock.json"])["packages"]["node_modules/ms"]["version"] == "2.1.2"


@pytest.mark.parametrize(
    ("language", "files", "lock"),
    [
        ("python", PYTHON, PINNED.replace("1.16.0", "1.14.0")),
        ("python", PYTHON, "no lock"),
        ("python", PYTHON, ""),
        ("python", {**PYTHON, "requirements.lock": PINNED}, PINNED),
        *(("javascript", NODE, lock) for lock in ("{}", "[]", "no lock", "[" * 100_000)),
    ],
)
def test_what_is_no_lock_of_this_manifest_is_refused(language: str, files: dict[str, Any], lock: str) -> None:
    with pytest.raises(Problem) as refused:
        locked(language, files, lock)
    assert refused.value.code == "invalid_input"
