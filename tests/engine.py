"""The Docker engine that tests run containers in, by testcontainers; `make test` starts one where none answers."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

from tests.platform import REPOSITORY

POSTGRES_IMAGE = "zmesh-tests-postgres"
FUNCTIONS_IMAGE = "zmesh-tests-functions"

# Read when testcontainers is imported. Each of our containers is ended by its test, so nothing has to watch over them.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
os.environ.setdefault("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")


@functools.cache
def missing() -> str | None:
    """Why these tests run no containers; None if an engine answers."""
    if os.environ.get("ZMESH_TESTS_WITHOUT_ENGINE"):
        return "no Docker engine could be started: `make test` says why when it begins"
    if shutil.which("docker") is None:
        return "no Docker here: run tests/deploy/engine/run_with.sh pytest …, which starts an engine where it can"
    asked = subprocess.run(["docker", "info"], capture_output=True, text=True)
    if asked.returncode != 0:
        return f"no Docker engine answers: {asked.stderr.strip()}"
    return None


@functools.cache
def postgres_image() -> str:
    """The name of deploy/postgres, built."""
    build(POSTGRES_IMAGE, "deploy/postgres")
    return POSTGRES_IMAGE


def build(image: str, folder: str) -> None:
    """Build a Dockerfile of this repository; raises with what the build said."""
    done = subprocess.run(
        ["docker", "build", "--quiet", "--tag", image, str(REPOSITORY / folder)],
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
