"""Which Node.js templates are kept ready, one per heap size; the least recently used is ended first."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from sandbox.confinement.limits import heap_class
from sandbox.host.node_command import NodeCommand
from sandbox.model import SandboxError
from sandbox.protocol.orders import NodeTemplateOrder

log = logging.getLogger(__name__)
KEPT = 4  # about 60 MB each
BOOT_SECONDS = 20.0
RETRY_SECONDS = 30.0


class NodeTemplatePool:
    """The host's view of the Node.js templates, while these are `on`."""

    def __init__(self, node: NodeCommand, order: Callable[[NodeTemplateOrder], None]) -> None:
        self._node = node
        self._order = order
        self._data_bytes: OrderedDict[int, int] = OrderedDict()  # of each ready one, least recently used first
        self._booting: dict[int, asyncio.Future[None]] = {}
        self._not_before: dict[int, float] = {}
        self.on = False

    async def start(self, memory_mb: int) -> None:
        """Have a template for runs of this size ready. Raises SandboxError."""
        number = heap_class(memory_mb)
        if number not in self._data_bytes:
            self._boot(number)
            try:
                await asyncio.wait_for(asyncio.shield(self._booting[number]), BOOT_SECONDS)
            except TimeoutError:
                raise SandboxError("the Node.js template did not start in time") from None

    def template_for(self, memory_mb: int) -> tuple[int, int] | None:
        """Number and data bytes of the template to fork from; if none is ready, None, and one is started."""
        if not self.on:
            return None
        number = heap_class(memory_mb)
        if number in self._data_bytes:
            self._data_bytes.move_to_end(number)
            return number, self._data_bytes[number]
        if number not in self._booting and time.monotonic() >= self._not_before.get(number, 0):
            self._boot(number)
        return None

    async def settled(self, memory_mb: int) -> None:
        """Wait until the template for runs of this size is ready, or is known not to become ready."""
        if self.template_for(memory_mb) is None and (booting := self._booting.get(heap_class(memory_mb))):
            await asyncio.wait([booting], timeout=BOOT_SECONDS)

    def _boot(self, number: int) -> None:
        self._booting[number] = asyncio.get_running_loop().create_future()
        self._order(NodeTemplateOrder(number, self._node.template_command(number)))

    def ready(self, number: int, data_bytes: int) -> None:
        """A template has booted."""
        self._data_bytes[number] = data_bytes
        booting = self._booting.pop(number, None)
        if booting is not None and not booting.done():
            booting.set_result(None)
        while len(self._data_bytes) > KEPT:
            least_used, _ = self._data_bytes.popitem(last=False)
            self._order(NodeTemplateOrder(least_used, []))

    def gone(self, number: int, why: str) -> None:
        """A template has ended, on order or by itself."""
        was_ready = self._data_bytes.pop(number, None) is not None
        booting = self._booting.pop(number, None)
        if booting is not None and not booting.done():
            booting.set_exception(SandboxError(why))
            booting.exception()  # perhaps nobody waits for it
        if booting is not None or was_ready:
            self._not_before[number] = time.monotonic() + RETRY_SECONDS
            log.warning("the Node.js template for %d MB ended: %s", number, why)

    def all_gone(self) -> None:
        """The main template, which held them, has ended."""
        for booting in self._booting.values():
            booting.cancel()
        self._booting.clear()
        self._data_bytes.clear()
        self._not_before.clear()
        self.on = False
