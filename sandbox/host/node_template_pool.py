"""Which Node.js processes stand ready for runs to be forked from, one per size of heap; the least used end first."""

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
    """The host's view of them, while they are `on`."""

    def __init__(self, node: NodeCommand, order: Callable[[NodeTemplateOrder], None]) -> None:
        self._node = node
        self._order = order
        self._data_bytes: OrderedDict[int, int] = OrderedDict()  # of each that is ready, the least used first
        self._booting: dict[int, asyncio.Future[None]] = {}
        self._not_before: dict[int, float] = {}
        self.on = False

    async def start(self, memory_mb: int) -> None:
        """Have the one for runs of this size ready. Raises SandboxError."""
        number = heap_class(memory_mb)
        if number not in self._data_bytes:
            self._boot(number)
            try:
                await asyncio.wait_for(asyncio.shield(self._booting[number]), BOOT_SECONDS)
            except TimeoutError:
                raise SandboxError("a Node.js to fork from does not boot") from None

    def template_for(self, memory_mb: int) -> tuple[int, int] | None:
        """Number and data bytes of the one to fork from; None, and one is started, where none is ready."""
        if not self.on:
            return None
        number = heap_class(memory_mb)
        if number in self._data_bytes:
            self._data_bytes.move_to_end(number)
            return number, self._data_bytes[number]
        if number not in self._booting and time.monotonic() >= self._not_before.get(number, 0):
            self._boot(number)
        return None

    def _boot(self, number: int) -> None:
        self._booting[number] = asyncio.get_running_loop().create_future()
        self._order(NodeTemplateOrder(number, self._node.template_command(number)))

    def ready(self, number: int, data_bytes: int) -> None:
        """One has booted."""
        self._data_bytes[number] = data_bytes
        booting = self._booting.pop(number, None)
        if booting is not None and not booting.done():
            booting.set_result(None)
        while len(self._data_bytes) > KEPT:
            least_used, _ = self._data_bytes.popitem(last=False)
            self._order(NodeTemplateOrder(least_used, []))

    def gone(self, number: int, why: str) -> None:
        """One has ended, as it was told or by itself."""
        was_ready = self._data_bytes.pop(number, None) is not None
        booting = self._booting.pop(number, None)
        if booting is not None and not booting.done():
            booting.set_exception(SandboxError(why))
            booting.exception()  # nobody may be waiting
        if booting is not None or was_ready:
            self._not_before[number] = time.monotonic() + RETRY_SECONDS
            log.warning("the Node.js template for %d MB is gone: %s", number, why)

    def all_gone(self) -> None:
        """The template that held them has ended."""
        for booting in self._booting.values():
            booting.cancel()
        self._booting.clear()
        self._data_bytes.clear()
        self._not_before.clear()
        self.on = False
