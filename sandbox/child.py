"""One process of the sandbox, from its birth, parked, to the end of the one run it is used for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import time

from sandbox import frames
from sandbox.frames import FrameError, FrameParser
from sandbox.logs import LogKeeper
from sandbox.model import MIB, Outcome, RunRequest
from sandbox.verdict import Observed, StopReason, verdict

_PARAMETERS = struct.Struct("!QQ")
READ_BYTES = 256 * 1024
EXIT_GRACE_SECONDS = 0.5
KILL_GRACE_SECONDS = 3.0


class Child:
    """The sandbox's ends of a run's channel, pipes and supervision."""

    def __init__(self, number: int, slot: int) -> None:
        self.number = number
        self.slot = slot
        self._loop = asyncio.get_running_loop()
        self._channel, self.channel_of_run = socket.socketpair()
        self._supervision, self.supervision_of_run = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._output, self.output_of_run = os.pipe()
        self._errors, self.errors_of_run = os.pipe()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._settled = asyncio.Event()  # a final frame, a violation or the end
        self.booted = asyncio.Event()
        self._parser = FrameParser(0)
        self._seen: Observed | None = None
        self._closed = False

    @property
    def fds_of_run(self) -> list[int]:
        """What the template passes on to the run, in the order it expects."""
        return [
            self.channel_of_run.fileno(),
            self.output_of_run,
            self.errors_of_run,
            self.supervision_of_run.fileno(),
        ]

    def handed_over(self) -> None:
        """The template has its copies: close ours, and listen."""
        self.channel_of_run.close()
        self.supervision_of_run.close()
        os.close(self.output_of_run)
        os.close(self.errors_of_run)
        self._channel.setblocking(False)
        self._supervision.setblocking(False)
        os.set_blocking(self._output, False)
        os.set_blocking(self._errors, False)
        self._loop.add_reader(self._supervision, self._read_supervision)
        self._loop.add_reader(self._channel, self._read_channel)

    @property
    def alive(self) -> bool:
        return not self._ended.done()

    async def run(self, request: RunRequest, cancel: asyncio.Event) -> Outcome:
        """Run one request to its end. This child cannot be used again."""
        limits = request.limits
        self._seen = seen = Observed(limits, request.runtime, LogKeeper(limits.log_bytes, limits.log_lines))
        self._parser = FrameParser(limits.result_bytes)
        if request.runtime == "node":
            await self._wait_for(self.booted, KILL_GRACE_SECONDS)
        self._loop.add_reader(self._output, self._read_pipe, self._output, "info")
        self._loop.add_reader(self._errors, self._read_pipe, self._errors, "error")
        started = time.monotonic()
        sending = asyncio.create_task(self._send(request))
        try:
            seen.stopped = await self._wait_until_settled(limits.timeout_ms / 1000, cancel)
            seen.duration_ms = round((time.monotonic() - started) * 1000)
            await self._end(grace=EXIT_GRACE_SECONDS if seen.final else 0)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self._drain()
            self.close()
        seen.logs.flush()
        return verdict(seen)

    async def _send(self, request: RunRequest) -> None:
        limits = request.limits
        watch = {"memory_bytes": limits.memory_mb * MIB, "cpu_seconds": limits.cpu_seconds}
        header = {
            "code": request.code,
            "entry_point": request.entry_point,
            "filename": request.filename,
            "language": request.language,
            "env": dict(request.env),
            "context": dict(request.context),
            "limits": {
                "timeout_ms": limits.timeout_ms,
                "memory_mb": limits.memory_mb,
                "result_bytes": limits.result_bytes,
            },
        }
        parameters = _PARAMETERS.pack(limits.memory_mb * MIB, limits.cpu_seconds)
        message = (parameters if request.runtime == "python" else b"") + frames.encode(
            b"J", json.dumps(header).encode("utf-8", "surrogatepass")
        )
        with contextlib.suppress(OSError):  # a run that is gone is found out by its end
            self._supervision.send(json.dumps(watch).encode())
            await self._loop.sock_sendall(
                self._channel, message + frames.encode(b"P", request.payload_json.encode("utf-8", "surrogatepass"))
            )

    async def _wait_until_settled(self, seconds: float, cancel: asyncio.Event) -> StopReason | None:
        settled = asyncio.create_task(self._settled.wait())
        cancelled = asyncio.create_task(cancel.wait())
        try:
            await asyncio.wait([settled, cancelled], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            settled.cancel()
            cancelled.cancel()
        if self._settled.is_set():
            return None
        return "cancelled" if cancel.is_set() else "timeout"

    async def _end(self, grace: float) -> None:
        """Wait for the process to end by itself within `grace`, else have its supervisor end it."""
        if await self._has_ended(grace):
            return
        with contextlib.suppress(OSError):
            self._supervision.send(b"kill")
        await self._has_ended(KILL_GRACE_SECONDS)

    async def _has_ended(self, seconds: float) -> bool:
        if not self._ended.done() and seconds > 0:
            await asyncio.wait([self._ended], timeout=seconds)
        return self._ended.done()

    @staticmethod
    async def _wait_for(event: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)

    # What comes in

    def _read_supervision(self) -> None:
        try:
            message = self._supervision.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if message and self._seen is not None:
            self._seen.report = json.loads(message)
        self._loop.remove_reader(self._supervision)
        if self._channel.fileno() >= 0:
            self._read_everything_sent()
        if not self._ended.done():
            self._ended.set_result(None)
        self._settled.set()
        self.booted.set()

    def _read_everything_sent(self) -> None:
        while self._read_channel():
            pass

    def _read_channel(self) -> bool:
        try:
            data = self._channel.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._channel)
            return False
        seen = self._seen
        try:
            for kind, body in self._parser.feed(data):
                if kind == frames.BOOTED:
                    self.booted.set()
                elif seen is None or seen.final is not None:
                    continue  # only the first final frame counts, and nothing after it
                elif kind == frames.LOG:
                    seen.logs.add_frame(body)
                else:
                    seen.final = (kind, body)
                    self._settled.set()
        except FrameError as error:
            self._loop.remove_reader(self._channel)
            if seen is not None and seen.final is None:
                seen.violation = error
            self._settled.set()
            return False
        return True

    def _read_pipe(self, pipe: int, level: str) -> bool:
        try:
            data = os.read(pipe, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(pipe)
            return False
        if self._seen is not None:
            self._seen.logs.add_bytes(level, data)
        return True

    def _drain(self) -> None:
        """What the run wrote before its end; bounded, since a process of it may still be writing."""
        for pipe, level in ((self._output, "info"), (self._errors, "error")):
            for _ in range(64):
                if not self._read_pipe(pipe, level):
                    break

    def close(self) -> None:
        """Let go of everything; closing the supervision ends the run."""
        if self._closed:
            return
        self._closed = True
        for reader in (self._supervision, self._channel, self._output, self._errors):
            self._loop.remove_reader(reader)
        self._supervision.close()
        self._channel.close()
        for pipe in (self._output, self._errors):
            with contextlib.suppress(OSError):
                os.close(pipe)
        if not self._ended.done():
            self._ended.set_result(None)
