"""Which images have a template: a process that has imported their packages, from which runs are forked.

Templates are made in the background, so no run waits for one. Their number and memory are bounded: a template ends when
it has been idle for a while or another one needs its place. It contains code of one project only.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from sandbox.host.template_keys import TemplateKey
from sandbox.host.template_process import TemplateProcess
from sandbox.model import ImageTemplateLimits, ImageTemplateState, RunRequest, SandboxError

MIB = 1024 * 1024
KEPT_SECONDS = 60.0  # a template used within this time is not replaced: with too many images, none would last
SWEEP_SECONDS = 5.0
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 30.0, 3600.0
MADE_AT_ONCE = 2  # of different projects: code of one may take long
REMEMBERED = 1000  # images for which the reason is kept why they have no template


@dataclass(slots=True)
class ImageTemplate:
    """A template that is ready."""

    process: TemplateProcess
    memory_bytes: int
    data_bytes: int
    used: float


@dataclass(slots=True)
class _Refusal:
    why: str
    failures: int
    until: float


Start = Callable[[TemplateKey, RunRequest | None], Awaitable[TemplateProcess]]


class ImageTemplates:
    """The templates of this host, while they are `on`."""

    def __init__(
        self,
        limits: ImageTemplateLimits,
        start: Start,
        unused: Callable[[TemplateKey], None],
        ended: Callable[[TemplateProcess], None],
        refused: Callable[[ImageTemplateState], None],
    ) -> None:
        """`start` makes one, `unused` is told when no more runs are to be forked from it, `ended` when it has ended,
        `refused` of each image that cannot have one."""
        self._limits = limits
        self._start = start
        self._unused = unused
        self._ended = ended
        self._refused = refused
        self._ready: OrderedDict[TemplateKey, ImageTemplate] = OrderedDict()  # the least used first
        self._making: dict[TemplateKey, asyncio.Task[None]] = {}
        self._free = asyncio.Semaphore(MADE_AT_ONCE)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # one template of a project's
        self._refusals: OrderedDict[TemplateKey, _Refusal] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = asyncio.Event()
        self.off: str | None = None  # why there are none at all

    def use(self, key: TemplateKey) -> ImageTemplate | None:
        """The template to fork a run from; None if none is ready."""
        template = self._ready.get(key)
        if template is None:
            return None
        if not template.process.ready:
            self.failed(key, "the process ended")
            return None
        template.used = time.monotonic()
        self._ready.move_to_end(key)
        return template

    def why_not(self, key: TemplateKey) -> str:
        """Why a run has to import its packages, and to load its code, by itself."""
        if (refusal := self.refusal_of(key)) is not None:
            return refusal
        if key.init_once is not None:
            return "its code is being loaded" if key in self._making else "its code was not loaded yet"
        return "its packages are being imported" if key in self._making else "its packages were not imported yet"

    def refusal_of(self, key: TemplateKey) -> str | None:
        """Why there is no template, and none is being made; None where one is to come."""
        if self.off is not None:
            return self.off
        return self._refusals[key].why if key in self._refusals else None

    def states(self) -> list[ImageTemplateState]:
        """The templates that are ready, and the images that cannot have one."""
        ready = [_state(key, template.memory_bytes, None) for key, template in self._ready.items()]
        refused = [_state(key, 0, refusal.why) for key, refusal in self._refusals.items()]
        return ready + refused

    def wanted(self, key: TemplateKey, request: RunRequest | None = None) -> None:
        """After a run that imported its packages itself: start a template for the next ones, if there is room. The
        request has the code to execute, where that is wanted."""
        if self.off is not None or key in self._ready or key in self._making:
            return
        if not key.preload and key.init_once is None:
            return
        refusal = self._refusals.get(key)
        if refusal is not None and time.monotonic() < refusal.until:
            return
        if not self._has_room():
            self._refuse(key, "as many templates of images are in use as are allowed", 0)
            return
        self._making[key] = asyncio.get_running_loop().create_task(self._make(key, request))

    def _has_room(self) -> bool:
        """Whether there is room for one more, if need be in place of one that has been idle."""
        wait = len(self._ready) + len(self._making)
        if wait < self._limits.count and self._memory() < self._limits.memory_mb * MIB:
            return True
        return not self._making and self._least_used_is_idle()

    def _least_used_is_idle(self) -> bool:
        return any(time.monotonic() - template.used > KEPT_SECONDS for template in self._ready.values())

    def _memory(self) -> int:
        return sum(template.memory_bytes for template in self._ready.values())

    async def _make(self, key: TemplateKey, request: RunRequest | None) -> None:
        try:
            async with self._turns.setdefault(key.project, asyncio.Lock()), self._free:
                process = await self._start(key, request)
            memory, data = map(int, process.facts.split())
            self._ready[key] = ImageTemplate(process, memory, data, time.monotonic())
            self._refusals.pop(key, None)
            self._make_room(key)
            self._sweep_later()
        except SandboxError as error:
            self._refuse(key, str(error), self._failures(key) + 1)
        finally:
            self._making.pop(key, None)

    def _make_room(self, new: TemplateKey) -> None:
        while len(self._ready) > self._limits.count or self._memory() > self._limits.memory_mb * MIB:
            least = next(iter(self._ready))
            if least == new or time.monotonic() - self._ready[least].used <= KEPT_SECONDS:
                self._refuse(new, "the templates of images have all the memory that they may", 0)
                self._end(new)
                return
            self._end(least)

    def _failures(self, key: TemplateKey) -> int:
        return self._refusals[key].failures if key in self._refusals else 0

    def _refuse(self, key: TemplateKey, why: str, failures: int) -> None:
        seconds = min(FIRST_RETRY_SECONDS * 2 ** max(0, failures - 1), LAST_RETRY_SECONDS)
        self._refusals[key] = _Refusal(why, failures, time.monotonic() + seconds)
        self._refusals.move_to_end(key)
        self._refused(_state(key, 0, why))
        while len(self._refusals) > REMEMBERED:
            self._refusals.popitem(last=False)

    def failed(self, key: TemplateKey, why: str) -> None:
        """Drop a template that is no longer usable."""
        if key in self._ready:
            why = self._ready[key].process.why_it_ended() or why
            self._refuse(key, why, self._failures(key) + 1)
            self._end(key)

    def _end(self, key: TemplateKey) -> None:
        template = self._ready.pop(key)
        self._unused(key)
        task = asyncio.get_running_loop().create_task(self._close(template.process))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, process: TemplateProcess) -> None:
        """Its runs end with it, so let them finish first."""
        if process.ready and process.runs:
            ends = [asyncio.ensure_future(event.wait()) for event in (process.emptied, self._closed)]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
        await process.close()
        self._ended(process)

    # Periodic work

    def _sweep_later(self) -> None:
        if self._sweeping is None and self._ready:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """End idle templates, and drop those that have ended by themselves."""
        self._sweeping = None
        for key, template in list(self._ready.items()):
            if template.process.gone.is_set():
                self.failed(key, "the process ended")
            elif time.monotonic() - template.used > self._idle_seconds(key):
                self._end(key)
        self._sweep_later()

    def _idle_seconds(self, key: TemplateKey) -> float:
        """How long it stays unused: not long once there is one of a later version."""
        once = key.init_once
        others = [other.init_once for other in self._ready if other.init_once is not None]
        is_replaced = once is not None and any(
            (other.project, other.function) == (once.project, once.function) and other.version > once.version
            for other in others
        )
        return min(KEPT_SECONDS, self._limits.idle_seconds) if is_replaced else self._limits.idle_seconds

    async def close(self) -> None:
        """End all of them immediately."""
        self._closed.set()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for task in list(self._making.values()):
            task.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)
        for key in list(self._ready):
            self._end(key)
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
            await asyncio.sleep(0)  # for the callbacks that take them out


def _state(key: TemplateKey, memory_bytes: int, why_not: str | None) -> ImageTemplateState:
    return ImageTemplateState(key.project, key.image, key.runtime, memory_bytes, why_not, key.init_once)
