"""The `zmesh` object for tests: a real database that is rolled back, and calls that are recorded instead of made.

With pytest it is a fixture of that name. With any other runner:

    with recording_zmesh() as zmesh:
        assert handler({"item": "tea"}, zmesh)["id"]
        assert zmesh.enqueued[0].function == "send-receipt"
"""

from __future__ import annotations

from zmesh.testing import runtime  # noqa: F401 - makes zmesh_runtime importable, for all that follows

# isort: split
from zmesh_runtime import InvocationError, TransactionError

from zmesh.testing.clock import Clock
from zmesh.testing.database import recording_zmesh
from zmesh.testing.recording import Enqueued, Failure, Invoked, RecordingZmesh

__all__ = [
    "Clock",
    "Enqueued",
    "Failure",
    "InvocationError",
    "Invoked",
    "RecordingZmesh",
    "TransactionError",
    "recording_zmesh",
]
