"""Connection settings shared by the whole platform."""

from __future__ import annotations

import os
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

# A server that vanished without a word, with its host or behind a firewall, is noticed within about ten seconds, half
# of a lease. The system's own times are a quarter of an hour for a query that is under way, and two hours for idling.
KEEPALIVE_OPTIONS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
NOT_A_CONNECTION_STRING = (
    "not a PostgreSQL connection string, such as postgresql://USER:PASSWORD@HOST:5432/DATABASE; in a password, "
    "percent-encode what has a meaning there: % as %25, @ as %40, / as %2F, : as %3A, ? as %3F, # as %23"
)
_VERIFIED_TLS = ("require", "verify-ca", "verify-full")


def with_required_auth(url: str) -> str:
    """A connection string by which the server has to prove that it knows the password, as SCRAM does, before it is told
    anything: while PostgreSQL restarts, somebody else may listen on its port and ask for the password in clear text.

    A string that has `require_auth` already is left alone. Whose socket a path leads to is up to the modes of its
    folder, so the server may let us in there without a password. Raises psycopg.ProgrammingError.
    """
    given = _parsed(url)
    if _setting(given, "require_auth", "PGREQUIREAUTH"):
        return url
    given["require_auth"] = "scram-sha-256,none" if _by_path_only(given) else "scram-sha-256"
    by_tls = _setting(given, "sslmode", "PGSSLMODE") in _VERIFIED_TLS
    if by_tls and not _by_path_only(given) and not _setting(given, "channel_binding", "PGCHANNELBINDING"):
        given["channel_binding"] = "require"
    return make_conninfo("", **given)


def checked_url(url: str) -> str:
    """The connection string, unchanged. Raises ValueError if it is malformed."""
    try:
        _parsed(url)
    except ProgrammingError as error:
        raise ValueError(str(error)) from None
    return url


def _parsed(url: str) -> dict[str, Any]:
    """Raises psycopg.ProgrammingError without any part of the string: that may be the password, which libpq would
    quote, or take for a port or a host, where its special characters are not encoded."""
    try:
        given = conninfo_to_dict(url)
    except ProgrammingError:
        given = None
    if given is None or not _is_plausible(given):
        raise ProgrammingError(NOT_A_CONNECTION_STRING)
    return given


def _is_plausible(given: dict[str, Any]) -> bool:
    ports, hosts = (str(given.get(name) or "").split(",") for name in ("port", "host"))
    return all(port == "" or port.isdecimal() for port in ports) and not any("@" in host[1:] for host in hosts)


def _by_path_only(given: dict[str, Any]) -> bool:
    if _setting(given, "hostaddr", "PGHOSTADDR"):
        return False
    hosts = _setting(given, "host", "PGHOST").split(",")
    return all(host == "" or host.startswith("/") for host in hosts)  # libpq's own default is a path


def _setting(given: dict[str, Any], name: str, variable: str) -> str:
    return str(given.get(name) or os.environ.get(variable) or "")
