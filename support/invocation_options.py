"""The options of an invocation: one table for HTTP headers, OpenAPI, the command line, SQL and both SDKs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

LONGEST_DELAY = timedelta(days=3650)
LARGEST_VERSION = 2**31 - 1
LONGEST_URL = 2000
LONGEST_KEY = 255


@dataclass(frozen=True, slots=True)
class InvocationOption:
    """`permission` is its name in a function's `anonymous_options` and `key_options`.

    `parameters` are its names in Python's `zmesh.enqueue`, and in camel case in JavaScript's.
    """

    header: str
    flag: str
    columns: tuple[str, ...]
    parameters: tuple[str, ...]
    permission: str
    help: str
    parse: Callable[[str], Any]
    type: Literal["string", "integer", "number"] = "string"
    minimum: int | None = None
    maximum: int | None = None
    max_length: int | None = None
    metavar: str | None = None
    example: str | None = None

    @property
    def name(self) -> str:
        """The flag as an identifier."""
        return self.flag.removeprefix("--").replace("-", "_")


def javascript_name(parameter: str) -> str:
    """The name of a parameter in JavaScript."""
    first, *others = parameter.split("_")
    return first + "".join(word.title() for word in others)


def parse_version(text: str) -> int | str:
    """The number of a version, or the name of an alias. Like all parsers here, raises ValueError with what is valid."""
    if re.fullmatch(r"[a-z][a-z0-9-]{0,62}", text):
        return text
    try:
        return _integer(text, 1, LARGEST_VERSION)
    except ValueError as error:
        raise ValueError("must be the number of a version or the name of an alias") from error


def parse_time(text: str) -> datetime:
    """A time with its time zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("must be a time such as 2026-05-01T09:30:00Z") from error
    if time.tzinfo is None:
        raise ValueError("must include a time zone, as in 2026-05-01T09:30:00Z")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range") from error


def parse_delay(text: str) -> timedelta:
    """Seconds."""
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise ValueError("must be a number of seconds")
    seconds = float(text)
    if not 0 <= seconds <= LONGEST_DELAY.total_seconds():
        raise ValueError(f"must be from 0 to {LONGEST_DELAY.days} days, in seconds")
    return timedelta(seconds=seconds)


def parse_priority(text: str) -> int:
    """A whole number in the range of priorities."""
    return _integer(text, -100, 100)


def parse_max_attempts(text: str) -> int:
    """A whole number of attempts."""
    return _integer(text, 1, 100)


def parse_url(text: str) -> str:
    """A URL to send an HTTP request to."""
    if not re.fullmatch(r"https?://[^\s/?#@\\]+([/?#]\S*)?", text) or not text.isascii() or len(text) > LONGEST_URL:
        raise ValueError(f"must be an http:// or https:// URL without credentials, of at most {LONGEST_URL} characters")
    return text


def parse_key(text: str) -> str:
    """A key that the caller chooses."""
    if not re.fullmatch(rf"[\x20-\x7e]{{1,{LONGEST_KEY}}}", text):
        raise ValueError(f"must be 1 to {LONGEST_KEY} printable ASCII characters, such as a UUID")
    return text


def _integer(text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise ValueError(f"must be a whole number from {least} to {most}")
    return int(text)


VERSION = InvocationOption(
    header="X-Zmesh-Version",
    flag="--version",
    columns=("version", "alias"),
    parameters=("version", "alias"),
    permission="version",
    help="Version to run, or alias that chooses one. Default: alias live if there is one, else the current version.",
    parse=parse_version,
    metavar="VERSION",
)
RUN_AT = InvocationOption(
    header="X-Zmesh-Run-At",
    flag="--run-at",
    columns=("run_at",),
    parameters=("run_at",),
    permission="delay",
    help="Start at this time at the earliest; does not wait for the result.",
    parse=parse_time,
    metavar="TIME",
    example="2026-05-01T09:30:00Z",
)
DELAY = InvocationOption(
    header="X-Zmesh-Delay",
    flag="--delay",
    columns=("run_at",),
    parameters=("delay_seconds",),
    permission="delay",
    help="Start after this many seconds at the earliest; does not wait for the result.",
    parse=parse_delay,
    type="number",
    minimum=0,
    metavar="SECONDS",
)
EXPIRES_AT = InvocationOption(
    header="X-Zmesh-Expires-At",
    flag="--expires-at",
    columns=("expires_at",),
    parameters=("expires_at",),
    permission="expires_at",
    help="Latest time to start; afterwards it ends with an error of type expired.",
    parse=parse_time,
    metavar="TIME",
    example="2026-05-01T09:30:00Z",
)
PRIORITY = InvocationOption(
    header="X-Zmesh-Priority",
    flag="--priority",
    columns=("priority",),
    parameters=("priority",),
    permission="priority",
    help="Position in the project's queue, from -100 to 100; higher goes first. Default: 0.",
    parse=parse_priority,
    type="integer",
    minimum=-100,
    maximum=100,
    metavar="N",
)
MAX_ATTEMPTS = InvocationOption(
    header="X-Zmesh-Max-Attempts",
    flag="--max-attempts",
    columns=("max_attempts",),
    parameters=("max_attempts",),
    permission="max_attempts",
    help="Largest number of attempts. Default: 1 if the caller waits, else the function's max_attempts.",
    parse=parse_max_attempts,
    type="integer",
    minimum=1,
    maximum=100,
    metavar="N",
)
CONCURRENCY_KEY = InvocationOption(
    header="X-Zmesh-Concurrency-Key",
    flag="--concurrency-key",
    columns=("concurrency_key",),
    parameters=("concurrency_key",),
    permission="concurrency_key",
    help="Limits how many invocations with the same key run at once: the function's max_concurrency_per_key.",
    parse=parse_key,
    max_length=LONGEST_KEY,
    metavar="KEY",
)
CALLBACK_URL = InvocationOption(
    header="X-Zmesh-Callback-Url",
    flag="--callback-url",
    columns=("callback_url",),
    parameters=("callback_url",),
    permission="callback_url",
    help="URL to which the outcome is sent, signed.",
    parse=parse_url,
    max_length=LONGEST_URL,
    metavar="URL",
    example="https://shop.example/ended",
)
IDEMPOTENCY_KEY = InvocationOption(
    header="Idempotency-Key",
    flag="--idempotency-key",
    columns=("idempotency_key",),
    parameters=("idempotency_key",),
    permission="idempotency_key",
    help="Makes a retry safe: a second request with the same key gets the response of the first.",
    parse=parse_key,
    max_length=LONGEST_KEY,
    metavar="KEY",
)

OPTIONS = (
    *(VERSION, RUN_AT, DELAY, EXPIRES_AT, PRIORITY, MAX_ATTEMPTS, CONCURRENCY_KEY, CALLBACK_URL),
    IDEMPOTENCY_KEY,
)
