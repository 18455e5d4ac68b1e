"""The stream of events: everything that happens is emitted here, and each sink uses it in its own way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from observing.events import Event
from observing.logs import log_event

Sink = Callable[[Event], None]
log = logging.getLogger(__name__)
_sinks: list[Sink] = [log_event]


def emit(event: Event) -> None:
    """Pass an event to every sink. A sink that fails is logged, and affects neither the others nor the caller."""
    for sink in _sinks:
        try:
            sink(event)
        except Exception:
            log.exception("sink failed for %s", event.name())


def subscribe(sink: Sink) -> None:
    """Pass every event from now on to this sink as well."""
    _sinks.append(sink)


@contextmanager
def subscribed(sink: Sink) -> Iterator[None]:
    """The same, until the block ends."""
    _sinks.append(sink)
    try:
        yield
    finally:
        _sinks.remove(sink)
