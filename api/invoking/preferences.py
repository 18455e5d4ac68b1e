"""How the caller wants to be answered: the headers Prefer (RFC 7240) and Idempotency-Key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from litestar.connection import Request

from api.http.problems import Problem

AnyRequest = Request[Any, Any, Any]
LONGEST_WAIT = 900


@dataclass(frozen=True, slots=True)
class Preference:
    """`respond_async`: do not wait, or no longer than `wait` seconds."""

    respond_async: bool = False
    wait: int | None = None


NO_PREFERENCE = Preference()


def preference_of(request: AnyRequest) -> Preference:
    """Preferences that are not understood are ignored, as the RFC asks."""
    respond_async, wait = False, None
    for part in ",".join(request.headers.getall("prefer", [])).split(","):
        name, _, value = part.partition(";")[0].partition("=")
        match name.strip().lower():
            case "respond-async":
                respond_async = True
            case "wait" if re.fullmatch(r'\s*"?\d{1,9}"?\s*', value):
                wait = min(int(value.strip(' "')), LONGEST_WAIT)
    return Preference(respond_async, wait)


def idempotency_key_of(request: AnyRequest) -> str | None:
    """Raises Problem 400 for a key that is no key."""
    key: str | None = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not re.fullmatch(r"[\x20-\x7e]{1,255}", key) or not key.strip():
        raise Problem(
            400, "invalid_header", "Idempotency-Key has to be 1 to 255 printable ASCII characters, such as a UUID."
        )
    return key.strip()
