"""Confined processes that wait until a run needs one."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from sandbox.confinement.limits import Limits
from sandbox.host.child import Child
from sandbox.host.template_keys import TemplateKey
from sandbox.model import Network, Runtime, SandboxError

log = logging.getLogger(__name__)
LEAST_PARKED, MOST_PARKED = 2, 4  # of each kind: more if they run out, and fewer again when nobody asks
PARKED_KINDS = 6
CALM_SECONDS = 60.0
REFILL_SECONDS = 0.005  # after a parked process was taken: by then, short runs are over and were not held up


class Kind(NamedTuple):
    """Which runs a parked process can take: for Node.js, those with the memory that its heap is limited for; with
    packages, those of the template that has imported them."""

    runtime: Runtime
    memory_mb: int
    network: Network
    template: TemplateKey | None = None


class Parking:
    """A few processes of each kind that was asked for recently."""

    def __init__(self, make: Callable[[Kind, Limits], Awaitable[Child]], is_usable: Callable[[Child], bool]) -> None:
        """`make` raises SandboxError. A process is usable while it and the one that it was forked from are alive."""
        self._make = make
        self._is_usable = is_usable
        self._parked: OrderedDict[Kind, deque[Child]] = OrderedDict()
        self._wanted: dict[Kind, int] = {}  # how many are to be parked, where that is more than the least
        self._calming: dict[Kind, asyncio.TimerHandle] = {}
        self._filling: dict[Kind, asyncio.Task[None]] = {}
        self._closing = False

    def take(self, kind: Kind) -> Child | None:
        """A waiting process, if there is one; others will be made for the next runs of this kind."""
        parked = self._parked.setdefault(kind, deque())
        self._parked.move_to_end(kind)
        child: Child | None = None
        while parked and child is None:
            candidate = parked.popleft()
            if self._is_usable(candidate):
                child = candidate
            else:
                candidate.close()
        # A kind that nobody had asked for before has not run out.
        self._note_demand(kind, len(parked), ran_out=not parked and (child is not None or kind in self._filling))
        return child

    def close_those(self, match: Callable[[Kind], bool]) -> None:
        """End all waiting processes of the kinds that match."""
        for kind in [kind for kind in self._parked if match(kind)]:
            for child in self._parked.pop(kind):
                child.close()

    async def stop(self) -> None:
        """Park no more."""
        self._closing = True
        for timer in self._calming.values():
            timer.cancel()
        filling = list(self._filling.values())
        for task in filling:
            task.cancel()
        await asyncio.gather(*filling, return_exceptions=True)

    def by_runtime(self) -> Mapping[Runtime, int]:
        """How many wait, by runtime."""
        found: dict[Runtime, int] = {"python": 0, "node": 0}
        for kind, children in list(self._parked.items()):  # metrics are read in a thread
            found[kind.runtime] += len(children)
        return found

    def alive(self, runtime: Runtime | None = None) -> int:
        """How many wait, of one runtime or of all, that have not ended by themselves."""
        of_runtime = (children for kind, children in self._parked.items() if runtime in (None, kind.runtime))
        return sum(child.alive for children in of_runtime for child in children)

    @property
    def filling(self) -> int:
        """For how many kinds processes are being made."""
        return len(self._filling)

    def _note_demand(self, kind: Kind, left: int, *, ran_out: bool) -> None:
        """Replace what was taken, at once if none is left; park one more from now on if they ran out."""
        loop = asyncio.get_running_loop()
        if ran_out:
            self._wanted[kind] = min(self._wanted.get(kind, LEAST_PARKED) + 1, MOST_PARKED)
        if left == 0:
            self._refill(kind)
        else:
            loop.call_later(REFILL_SECONDS, self._refill, kind)
        if kind in self._calming:
            self._calming[kind].cancel()
        self._calming[kind] = loop.call_later(CALM_SECONDS, self._calm, kind)

    def _calm(self, kind: Kind) -> None:
        """Return to the least number, since nobody has asked for a while."""
        self._wanted.pop(kind, None)
        del self._calming[kind]
        parked = self._parked.get(kind, deque())
        while len(parked) > LEAST_PARKED:
            parked.pop().close()

    def _refill(self, kind: Kind) -> None:
        if kind not in self._filling and not self._closing:
            self._filling[kind] = asyncio.create_task(self._fill(kind))

    async def _fill(self, kind: Kind) -> None:
        try:
            self._forget_old_kinds()
            while len(self._parked.setdefault(kind, deque())) < self._wanted.get(kind, LEAST_PARKED):
                child = await self._make(kind, Limits(memory_mb=kind.memory_mb or Limits().memory_mb))
                self._parked.setdefault(kind, deque()).append(child)  # another one, if the template ended meanwhile
        except SandboxError as error:
            log.warning("parking: %s", error)
        finally:
            del self._filling[kind]

    def _forget_old_kinds(self) -> None:
        """Keep processes only of the kinds that were used last."""
        oldest = list(self._parked)[:-PARKED_KINDS]
        self.close_those(lambda kind: kind in oldest)
