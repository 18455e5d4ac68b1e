"""Log lines for people or programs: one line each, whatever a message contains."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

from observing.events import Event

Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]
# The request and invocation that the current task works on; every line that it logs includes them.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
invocation_id: ContextVar[str | None] = ContextVar("invocation_id", default=None)
# Characters that end a line or control a terminal.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
events = logging.getLogger("zmesh")


def log_event(event: Event) -> None:
    """The sink that logs."""
    if not events.isEnabledFor(event.severity):
        return
    events.log(event.severity, "%s", event.text, exc_info=event.error_cause, extra={"event": event})


def log_to_stderr(format: Format = "text", level: Level = "info") -> None:
    """Configure logging for a process. `level` applies to events; libraries log from info upward."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    events.setLevel(level.upper())
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # its warnings duplicate our events


class TextFormatter(logging.Formatter):
    """Escapes control characters and indents traceback lines, so that none looks like a log entry."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        ids = "".join(f" {name}={value}" for name, value in ids_of(record).items())
        event = event_of(record)
        line = {**record.__dict__, "message": escaped(record.message + ids)}
        if event is not None:
            line["name"] = event.name()
        assert self._fmt is not None
        return self._fmt % line

    def formatException(self, ei: object) -> str:
        text = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"    {escaped(line)}" for line in text.splitlines())


class JsonFormatter(logging.Formatter):
    """One JSON object per line; the fields of an event are added to time, level and message."""

    def format(self, record: logging.LogRecord) -> str:
        event = event_of(record)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": event.name() if event else "log",
            "message": record.getMessage(),
        }
        line |= ids_of(record)
        line |= event.values() if event else {"logger": record.name}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)  # escapes everything that is not ASCII


def event_of(record: logging.LogRecord) -> Event | None:
    """The event that a record logs; None for records of others."""
    event = getattr(record, "event", None)
    return event if isinstance(event, Event) else None


def ids_of(record: logging.LogRecord) -> Mapping[str, str]:
    """The ids of the request and invocation that a record is about, if any."""
    event = event_of(record)
    found = {
        "request_id": request_id.get(),
        "invocation_id": getattr(event, "invocation_id", None) or invocation_id.get(),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def escaped(text: str) -> str:
    """The text with its control characters escaped as in Python literals."""
    return CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)
