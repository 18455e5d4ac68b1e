"""The host's side of a template, with programs in its place that end at a chosen moment."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.confinement.limits import Limits, standing_of_python
from sandbox.host import template_process
from sandbox.host.template_process import TemplateProcess
from sandbox.model import SandboxError
from sandbox.protocol.orders import SpawnOrder, TemplateSettings

ENDS_WITH_AN_ORDER_UNREAD = """
import select, socket, sys
control = socket.socket(fileno=int(sys.argv[1]))
control.recv(65536)
control.send(b"ready")
select.select([control], [], [])
control.send(b"refused: they started threads later on")
"""


async def test_a_template_that_ends_with_an_order_unread_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_process, "_START", ENDS_WITH_AN_ORDER_UNREAD)
    process = TemplateProcess(TemplateSettings("process", "/", "/"), ignore, ignore, ignore)
    await process.start()
    order = SpawnOrder(1, 0, [], 0, network=True, limits=standing_of_python(Limits()))
    with open(os.devnull, "rb") as file, pytest.raises(SandboxError, match="they started threads later on"):
        await process.spawn(order, SimpleNamespace(fds_of_run=[file.fileno()]))  # type: ignore[arg-type]

    assert process.why_it_ended() == "they started threads later on"
    await process.close()


def ignore(*values: Any) -> None:
    pass
