"""What every connection of the platform is opened with."""

from __future__ import annotations

from typing import Any

# A server that vanished without a word, with its host or behind a firewall, is noticed within about ten seconds, half
# of a lease. The system's own times are a quarter of an hour for a query that is under way, and two hours for idling.
NOTICING: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
