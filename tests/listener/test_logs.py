"""How new lines of many logs are written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest

from listener import logs
from listener.logs import Part, in_statements
from sql.listeners import NewLogLine


def part(*sizes: int) -> Part:
    lines = [NewLogLine(UUID(int=1), 1, n, datetime.now(UTC), "info", "x" * size) for n, size in enumerate(sizes)]
    return cast(Any, None), lines


def test_large_logs_are_written_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 48 runs that print a megabyte each, they blocked the event loop for 70 ms."""
    monkeypatch.setattr(logs, "MOST_CHARACTERS", 10)
    parts = [part(3, 3), part(4), part(1), part(50), part(), part(2, 2)]
    written = list(in_statements(parts))
    assert [one for together in written for one in together] == parts
    assert [len(together) for together in written] == [2, 1, 1, 2]
    assert list(in_statements([])) == []
