"""The limit on open files that a listener finds at its start."""

from __future__ import annotations

import base64
import resource
import subprocess

import pytest

from listener import main
from tests.platform import ZMESH, clean_environment


def test_a_listener_that_may_open_too_few_files_refuses_to_start_and_says_why() -> None:
    environment = {
        "DATABASE_URL": "postgresql://zmesh_listener:x@127.0.0.1:1/zmesh",
        "ZMESH_SECRET_KEY": base64.urlsafe_b64encode(bytes(32)).decode(),
        "ZMESH_SLOTS": "16",
    }
    command = ["prlimit", "--nofile=64:64", *ZMESH, "listener"]

    started = subprocess.run(command, env={**clean_environment(), **environment}, capture_output=True, text=True)

    assert started.returncode == 2
    assert started.stderr.startswith("The listener cannot start. ZMESH_SLOTS is 16, for which a listener must be able")
    assert "but the limit here is 64: raise it (ulimit -n;" in started.stderr


@pytest.mark.parametrize(("hard", "allowed"), [(512, 512), (resource.RLIM_INFINITY, 64 + 16 * 100)])
def test_a_listener_with_many_slots_may_open_as_many_files_as_they_need(
    hard: int, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [(256, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda kind, values: limits.append(values))

    main._allow_files(100)

    assert limits[-1] == (allowed, hard)
