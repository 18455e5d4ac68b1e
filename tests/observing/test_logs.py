"""Whatever is in a message, it stays one line, and a traceback looks like none of ours."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import Context
from typing import Any
from uuid import UUID

import pytest

from observing.events import Event, InvocationsDropped, OutcomeLate, SchedulesFired
from observing.logs import JsonFormatter, TextFormatter, invocation_id, request_id
from observing.stream import emit, subscribed

FORGED = "2026-01-01 00:00:00,000 INFO api.access GET / 200"


def formatted(message: str, *values: object, error: BaseException | None = None) -> str:
    record = logging.LogRecord("test", logging.INFO, "", 0, message, values, None)
    if error is not None:
        try:
            raise error
        except type(error):
            record.exc_info = sys.exc_info()
    return TextFormatter().format(record)


def test_control_characters_are_escaped() -> None:
    for control in ("\n", "\r", "\x1b[2J", "\x00", "\x85", "\u2028"):
        line = formatted("database: %s", f"bad{control}{FORGED}")
        assert line.splitlines() == [line]
        assert ascii(control[0])[1:-1] in line
    assert "schön" in formatted("schön")


def test_a_traceback_is_indented() -> None:
    lines = formatted("failed", error=ValueError(f"bad\n{FORGED}\r{FORGED}")).split("\n")
    assert len(lines) > 3
    assert all(line.startswith("    ") for line in lines[1:])
    assert not any("\r" in line for line in lines)


def json_line(message: str, event: Event | None = None, error: BaseException | None = None) -> dict[str, Any]:
    record = logging.LogRecord("test", logging.INFO, "", 0, message, (), None)
    if event is not None:
        record.event = event
    if error is not None:
        record.exc_info = (type(error), error, error.__traceback__)
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.splitlines() == [line]
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_for_programs_has_the_fields_of_its_event() -> None:
    id = UUID(int=7)
    line = json_line("ignored", OutcomeLate(id, 2))
    assert (line["event"], line["invocation_id"], line["attempt"]) == ("outcome_late", str(id), 2)
    assert line["time"].endswith("+00:00")


def test_a_line_for_programs_stays_one_line_whatever_is_in_it() -> None:
    assert json_line(f"bad\n\u2028\x85{FORGED}")["message"] == f"bad\n\u2028\x85{FORGED}"
    line = json_line("failed", error=ValueError(f"bad\n{FORGED}"))
    assert (line["event"], line["logger"]) == ("log", "test")
    assert FORGED in line["traceback"]


def test_a_line_carries_the_ids_of_what_its_task_works_for() -> None:
    def work() -> tuple[str, dict[str, Any]]:
        request_id.set("req-1")
        invocation_id.set("inv-1")
        return formatted("x"), json_line("x")

    text, line = Context().run(work)
    assert text.endswith("x request_id=req-1 invocation_id=inv-1")
    assert (line["request_id"], line["invocation_id"]) == ("req-1", "inv-1")
    assert "request_id" not in formatted("x")


def test_an_event_is_logged_once_at_its_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "zmesh"):
        emit(SchedulesFired(3))  # of level debug
        emit(InvocationsDropped(2, "expired"))
    assert [record.getMessage() for record in caplog.records] == ["ended 2 queued invocations without a run (expired)"]


def test_a_sink_that_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Event] = []

    def fail(event: Event) -> None:
        raise ValueError("no")

    with subscribed(fail), subscribed(told.append):
        emit(SchedulesFired(3))
    assert told == [SchedulesFired(3)]
    assert "sink failed for schedules_fired" in caplog.text
