"""Changes are planned before they are made: the second call has to bring what the plan gave out.

This is no permission, which the API checks. It lets a model, and the person who watches it, see what would happen.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

MOST_PLANS = 100
NEXT = (
    "Nothing has changed yet. Show this plan to the person you work for. To carry it out, call the tool once more "
    "with the same arguments and this value as confirm; it is valid once, for exactly this change."
)
REFUSED = (
    "That value of confirm is not for this change: the arguments differ from those of the plan, something has changed "
    "since, or it was used already. Nothing was done. This is the plan as things are now."
)


class Plans:
    """Confirmations that were given out, each for one change of things as they were then."""

    def __init__(self) -> None:
        self._planned: dict[str, str] = {}

    def settle(
        self,
        action: str,
        change: Mapping[str, Any],
        shown: Mapping[str, Any],
        confirm: str,
        carry_out: Callable[[], Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        """Carry out a change that was confirmed, else answer with the plan.

        `change` is all that decides what happens, the state that is changed included; `shown` is for readers.
        """
        digest = hashlib.sha256(json.dumps([action, change], sort_keys=True).encode()).hexdigest()
        if confirm and self._planned.pop(confirm, None) == digest:
            return carry_out()
        refused = {"refused": REFUSED} if confirm else {}
        return {**refused, "plan": {"action": action, **shown}, "confirm": self._remember(digest), "next": NEXT}

    def _remember(self, digest: str) -> str:
        while len(self._planned) >= MOST_PLANS:
            self._planned.pop(next(iter(self._planned)), None)
        confirmation = secrets.token_urlsafe(12)
        self._planned[confirmation] = digest
        return confirmation
