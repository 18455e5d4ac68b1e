"""How every process of the platform logs: whatever others put into a message, it stays one line of ours."""

from __future__ import annotations

import logging
import re
import sys

# What ends a line or steers a terminal.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Formatter(logging.Formatter):
    """Escapes control characters; lines of a traceback are indented, so that none looks like an entry."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:
        text = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"    {escaped(line)}" for line in text.splitlines())


def escaped(text: str) -> str:
    """The text with its control characters as Python would write them."""
    return CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)


def log_to_stderr() -> None:
    """Set logging up for a process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # what it warns of, we log with its meaning
