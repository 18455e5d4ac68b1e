"""Changes are planned before they are made: the second call has to bring what the plan gave out.

This is no permission, which the API checks. It lets a model, and the person who watches it, see what would happen.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

MOST_PLANS = 100
MOST_USED = 10_000
VALID_SECONDS = 15 * 60
NEXT = (
    "Nothing has changed yet. Show this plan to the person you work for. To carry it out, call the tool once more "
    "with the same arguments and this value as confirm; it is valid once, for exactly this change."
)
REFUSED = (
    "The value of confirm does not match: the arguments differ from those of the plan, something has changed "
    "since, or the value was already used. Nothing was changed. This is a new plan."
)


Carry = Callable[[], Mapping[str, Any]]


class Settling(Protocol):
    """Carries out what was confirmed, and plans the rest."""

    def settle(
        self, action: str, change: Mapping[str, Any], shown: Mapping[str, Any], confirm: str, carry_out: Carry
    ) -> Mapping[str, Any]:
        """Carry out a change that was confirmed, else answer with the plan.

        `change` is all that decides what happens, the state that is changed included; `shown` is for readers.
        """


class Plans:
    """Confirmations that this process gave out, each for one change of things as they were then."""

    def __init__(self) -> None:
        self._planned: dict[str, str] = {}

    def settle(
        self, action: str, change: Mapping[str, Any], shown: Mapping[str, Any], confirm: str, carry_out: Carry
    ) -> Mapping[str, Any]:
        """Carry out a change that was confirmed, else answer with the plan."""
        digest = digest_of(action, change)
        if confirm and self._planned.pop(confirm, None) == digest:
            return carry_out()
        return plan(action, shown, self._remember(digest), was_refused=bool(confirm))

    def _remember(self, digest: str) -> str:
        while len(self._planned) >= MOST_PLANS:
            self._planned.pop(next(iter(self._planned)), None)
        confirmation = secrets.token_urlsafe(12)
        self._planned[confirmation] = digest
        return confirmation


class SignedPlans:
    """Confirmations that any process with this key recognises, for the caller whom they were given to.

    Each is used up in the process that carries it out. What another one does with it changes nothing twice: the state
    that the plan was made for is gone, and an invocation has the confirmation as its idempotency key.
    """

    def __init__(self, key: bytes, caller: str, used: UsedUp) -> None:
        self._key = key
        self._caller = caller
        self._used = used

    def settle(
        self, action: str, change: Mapping[str, Any], shown: Mapping[str, Any], confirm: str, carry_out: Carry
    ) -> Mapping[str, Any]:
        """Carry out a change that was confirmed, else answer with the plan."""
        digest = digest_of(action, change)
        if confirm and self._is_valid(confirm, digest):
            return carry_out()
        head = f"{int(time.time()) + VALID_SECONDS}.{secrets.token_urlsafe(9)}"
        return plan(action, shown, f"{head}.{self._mac(head, digest)}", was_refused=bool(confirm))

    def _is_valid(self, confirm: str, digest: str) -> bool:
        head, _, mac = confirm.rpartition(".")
        until = head.partition(".")[0]
        if not self._used.use(confirm) or not until.isdecimal() or int(until) < time.time():
            return False
        return hmac.compare_digest(mac.encode(), self._mac(head, digest).encode())

    def _mac(self, head: str, digest: str) -> str:
        message = json.dumps([self._caller, head, digest]).encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:32]


class UsedUp:
    """The latest confirmations that were tried."""

    def __init__(self) -> None:
        self._tried: dict[str, None] = {}
        self._lock = threading.Lock()  # tools run in threads

    def use(self, confirm: str) -> bool:
        """False if it was tried before."""
        with self._lock:
            if confirm in self._tried:
                return False
            while len(self._tried) >= MOST_USED:
                self._tried.pop(next(iter(self._tried)))
            self._tried[confirm] = None
            return True


def digest_of(action: str, change: Mapping[str, Any]) -> str:
    """What a confirmation is for."""
    return hashlib.sha256(json.dumps([action, change], sort_keys=True).encode()).hexdigest()


def plan(action: str, shown: Mapping[str, Any], confirm: str, *, was_refused: bool) -> Mapping[str, Any]:
    """What a tool answers before it is confirmed."""
    refused = {"refused": REFUSED} if was_refused else {}
    return {**refused, "plan": {"action": action, **shown}, "confirm": confirm, "next": NEXT}
