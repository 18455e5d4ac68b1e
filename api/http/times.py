"""Times in queries."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from api.http.problems import invalid

TIME = re.compile(r"\d{4}-\d\d-\d\d[T ].+")
DATE_TIME = {"format": "date-time"}


def time_of(name: str, text: str | None) -> datetime | None:
    """A time without a zone is one in UTC. Raises Problem 422."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text if TIME.fullmatch(text) else "")
    except ValueError:
        raise invalid(name, "must be a time such as 2026-05-01T09:30:00Z") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
