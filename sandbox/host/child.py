"""One process of the sandbox, from its birth, parked, to the end of the one run it is used for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from sandbox.host.jobs import job_of
from sandbox.host.logs import LogKeeper
from sandbox.host.oom import OomKills
from sandbox.host.streams import Sink, Streamed
from sandbox.host.verdict import Observed, StopReason, ended_by_somebody_else, verdict_off_the_loop
from sandbox.model import Attachment, RunOutcome, RunRequest
from sandbox.protocol import frames
from sandbox.protocol.frames import FrameError, FrameParser
from sandbox.protocol.orders import CONCLUDE, END, encode_watch
from sandbox.protocol.table import MOST_ATTACHMENTS

READ_BYTES = 256 * 1024
# Pieces of the channel have 4 to 256 KiB: larger ones while they cost little, smaller ones if full of tiny frames.
SMALLEST_PIECE, FIRST_PIECE = 4 * 1024, 16 * 1024
COSTLY_SECONDS = 0.005
READS_AFTER_END = 64
# A run that floods its outputs waits this much longer than reading it took, so it cannot take the listener's time.
PATIENCE = 20
KILL_GRACE_SECONDS = 3.0
SLICE = 256 * 1024  # characters of a payload that are encoded at once, bytes of files that are copied at once
_oom_kills = OomKills()


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
        self._settled = False  # a final frame, a violation or the end
        self._wake = asyncio.Event()  # then, or when the run was cancelled
        self.booted = asyncio.Event()
        self._parser = FrameParser(0)
        self._piece = FIRST_PIECE  # bytes of the channel to read at once
        self.imported = b"[]"  # what the run says it has imported
        self._seen: Observed | None = None
        self._attach: Callable[[], Awaitable[Attachment | None]] | None = None
        self._attaching: list[asyncio.Task[None]] = []
        self._attachments: list[Attachment] = []
        self._listening: set[socket.socket | int] = set()
        self._finished: set[socket.socket | int] = set()  # sources of which nothing more counts
        self._room: asyncio.Task[None] | None = None  # waits until what the run streams can go on
        self._given_away = False
        self._report: dict[str, Any] = {}  # of the supervisor, which may fail before there is anything to run
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
        self._close_ends_of_run()
        self._channel.setblocking(False)
        self._supervision.setblocking(False)
        os.set_blocking(self._output, False)
        os.set_blocking(self._errors, False)
        self._listen(self._supervision, self._read_supervision)
        self._listen(self._channel, self._read_channel)

    def _close_ends_of_run(self) -> None:
        self._given_away = True
        self.channel_of_run.close()
        self.supervision_of_run.close()
        os.close(self.output_of_run)
        os.close(self.errors_of_run)

    @property
    def alive(self) -> bool:
        return not self._ended.done()

    async def run(
        self,
        request: RunRequest,
        cancel: asyncio.Event,
        sink: Sink | None,
        image: str | None = None,
        *,
        learn: bool = False,
        is_loaded: bool = False,
    ) -> RunOutcome:
        """Run one request to its end: see job_of(). This child cannot be used again."""
        limits = request.limits
        logs = LogKeeper(limits.log_bytes, limits.log_lines, request.printed)
        self._seen = seen = Observed(limits, request.runtime, logs, Streamed(limits.result_bytes, sink))
        seen.report = self._report
        attachments = MOST_ATTACHMENTS if request.network == "none" else None
        self._parser = FrameParser(limits.result_bytes, attachments)
        self._attach = request.attach
        if request.runtime == "node":
            await self._wait_for(self.booted, KILL_GRACE_SECONDS)
        self._listen(self._output, self._read_pipe, self._output, "info")
        self._listen(self._errors, self._read_pipe, self._errors, "error")
        oom_kills = _oom_kills.count()
        started = time.monotonic()
        sending = None
        if not cancel.is_set():  # it may have waited for long, and run elsewhere by now
            sending = self._send(request, job_of(request, image, learn=learn, is_loaded=is_loaded))
        try:
            seen.stopped = await self._wait_until_settled(limits.timeout_ms / 1000, cancel)
            seen.duration_ms = round((time.monotonic() - started) * 1000)
            await self._end(END if seen.final is None else CONCLUDE)
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            self._drain()
            self.close()
        seen.logs.flush()
        seen.oom_killed = ended_by_somebody_else(seen) and _oom_kills.any_since(oom_kills)
        return await verdict_off_the_loop(seen)

    def _send(self, request: RunRequest, message: bytes) -> asyncio.Task[None] | None:
        """Send the job, and what comes with it; what does not fit into the socket at once is sent by the task."""
        large = max(len(request.payload_json), len(request.files or b"")) > SLICE
        if not large:
            if request.files is not None:
                message += frames.encode(frames.FILES, request.files)
            message += frames.encode(frames.PAYLOAD, request.payload_json.encode("utf-8", "surrogatepass"))
        sent = 0
        try:
            self._supervision.send(encode_watch(request.limits))
            if large:
                return asyncio.create_task(self._send_in_slices(message, request.files, request.payload_json))
            sent = self._channel.send(message)
        except BlockingIOError:
            pass
        except OSError:  # a run that is gone is found out by its end
            return None
        return None if sent == len(message) else asyncio.create_task(self._send_rest(message[sent:]))

    async def _send_in_slices(self, message: bytes, files: bytes | None, payload: str) -> None:
        """Encode a large payload a slice at a time, so that the event loop is never blocked by all of it.

        The files are sent from where they are: the socket takes no more at once than fits into its buffer."""
        slices: list[bytes] = []
        for start in range(0, len(payload), SLICE):
            slices.append(payload[start : start + SLICE].encode("utf-8", "surrogatepass"))
            await asyncio.sleep(0)
        parts = [frames.head(frames.PAYLOAD, sum(map(len, slices))), *slices]
        if files is not None:
            parts = [frames.head(frames.FILES, len(files)), files, *parts]
        with contextlib.suppress(OSError):
            for part in (message, *parts):
                await self._loop.sock_sendall(self._channel, part)

    async def _send_rest(self, message: bytes) -> None:
        with contextlib.suppress(OSError):
            await self._loop.sock_sendall(self._channel, message)

    async def _wait_until_settled(self, seconds: float, cancel: asyncio.Event) -> StopReason | None:
        cancelled = asyncio.create_task(cancel.wait())
        cancelled.add_done_callback(lambda done: self._wake.set())
        try:
            await self._wait_for(self._wake, seconds)
        finally:
            cancelled.cancel()
        if self._settled:
            return None
        return "cancelled" if cancel.is_set() else "timeout"

    def _settle(self) -> None:
        self._settled = True
        self._wake.set()

    async def _end(self, order: bytes) -> None:
        """Have its supervisor end the run and tell what it used; of one that is done, that may be before its end."""
        if self._ended.done():
            return
        with contextlib.suppress(OSError):
            self._supervision.send(order)
        await asyncio.wait([self._ended], timeout=KILL_GRACE_SECONDS)

    @staticmethod
    async def _wait_for(event: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    # What comes in

    def _listen(self, source: socket.socket | int, read: Callable[..., object], *arguments: object) -> None:
        self._listening.add(source)
        self._loop.add_reader(source, read, *arguments)

    def _ignore(self, source: socket.socket | int) -> None:
        if source in self._listening:  # asyncio is slow to find out
            self._listening.remove(source)
            self._loop.remove_reader(source)

    def _read_supervision(self) -> None:
        try:
            message = self._last_words()
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if message:
            self._report = json.loads(message)
        if self._seen is not None:
            self._seen.report = self._report
        self._ignore(self._supervision)
        if self._channel.fileno() >= 0:
            self._read_all_sent(self._read_channel)
        if not self._ended.done():
            self._ended.set_result(None)
        self._settle()
        self.booted.set()

    def _last_words(self) -> bytes:
        try:
            return self._supervision.recv(65536)
        except ConnectionResetError:  # it ended with something of ours unread: that is said first, its report follows
            return self._supervision.recv(65536)

    @staticmethod
    def _read_all_sent(read: Callable[[], bool]) -> None:
        """What was written before the end; bounded, since a process of the run may still be writing."""
        for _ in range(READS_AFTER_END):
            if not read():
                break

    def _pause(self, source: socket.socket | int, read: Callable[[], bool], seconds: float) -> None:
        """Once no more lines are kept, or a stream is long, read on slowly: what a run sends then mostly costs."""
        if self._seen is None or not (self._seen.logs.full or self._seen.streamed.costly):
            return
        self._ignore(source)
        self._loop.call_later(seconds * PATIENCE, self._resume, source, read)

    def _resume(self, source: socket.socket | int, read: Callable[[], bool]) -> None:
        if not self._closed and source not in self._finished:
            self._listen(source, read)

    def _stop_reading(self, source: socket.socket | int) -> None:
        self._ignore(source)
        self._finished.add(source)

    def _read_channel(self) -> bool:
        """Read once; False when there is no more for now."""
        if self._channel in self._finished:
            return False
        started = time.thread_time()
        try:
            data = self._channel.recv(self._piece)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data or self._take_frames(data):
            self._stop_reading(self._channel)
            return False
        took = time.thread_time() - started
        self._piece = next_piece(self._piece, len(data), took)
        if self._seen is not None and self._seen.streamed.full:
            self._wait_for_room(self._seen.streamed)
        else:
            self._pause(self._channel, self._read_channel, took)
        return True

    def _wait_for_room(self, streamed: Streamed) -> None:
        """Leave what the run sends in the channel, until that is full as well and the run has to wait."""
        if self._room is not None:
            return
        self._ignore(self._channel)
        self._room = self._loop.create_task(streamed.room())
        self._room.add_done_callback(lambda _: self._read_on())

    def _read_on(self) -> None:
        self._room = None
        self._resume(self._channel, self._read_channel)

    def _take_frames(self, data: bytes) -> bool:
        """Whether that was all that counts: only the first final frame does, and nothing after it."""
        seen = self._seen
        try:
            for kind, body in self._parser.feed(data):
                if kind == frames.BOOTED:
                    self.booted.set()
                elif seen is not None and kind == frames.LOG:
                    seen.logs.add_frame(body)
                elif seen is not None and kind == frames.IMPORTED:
                    self.imported = body
                elif seen is not None and kind == frames.STREAM:
                    seen.streamed.start(body)
                elif seen is not None and kind == frames.CHUNK:
                    seen.streamed.add(body)
                elif seen is not None and kind == frames.ATTACHMENT:
                    self._attaching.append(self._loop.create_task(self._send_attachment(self._attaching[-1:])))
                elif seen is not None and kind in frames.FINAL:
                    seen.final = (kind, body)
                    break
        except FrameError as error:
            if seen is not None:
                seen.violation = error
            self._settle()
            return True
        if seen is None or seen.final is None:
            return False
        self._settle()
        return True

    async def _send_attachment(self, before: list[asyncio.Task[None]]) -> None:
        """The descriptor goes with the answer; ours is kept, to end what it leads to with the run.

        One after the other: each costs us more than the run."""
        if before:
            await asyncio.wait(before)
        attachment = None if self._attach is None else await self._attach()
        answer = frames.encode(frames.ATTACHMENT, b"" if attachment is None else attachment.data)
        try:
            socket.send_fds(self._channel, [answer], [] if attachment is None else [attachment.descriptor.fileno()])
        except OSError:
            pass  # the run is gone, or does not read
        finally:
            if attachment is not None:
                self._attachments.append(attachment)
            if self._closed:
                self._close_attachments()

    def _read_pipe(self, pipe: int, level: str) -> bool:
        """Read once; False when there is no more for now."""
        started = time.thread_time()
        self._read_older_lines()
        try:
            data = os.read(pipe, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._stop_reading(pipe)
            return False
        if self._seen is not None:
            self._seen.logs.add_bytes(level, data)
            self._pause(pipe, partial(self._read_pipe, pipe, level), time.thread_time() - started)
        return True

    def _read_older_lines(self) -> None:
        """Those in the channel were printed first: the runtime sends none while it sees something unread in a pipe."""
        for _ in range(READS_AFTER_END):
            if self._channel not in self._listening or not self._read_channel():
                break

    def _drain(self) -> None:
        for pipe, level in ((self._output, "info"), (self._errors, "error")):
            self._read_all_sent(partial(self._read_pipe, pipe, level))

    def close(self) -> None:
        """Let go of everything; closing the supervision ends the run."""
        if self._closed:
            return
        self._closed = True
        for reader in (self._supervision, self._channel, self._output, self._errors):
            self._ignore(reader)
        if not self._given_away:
            self._close_ends_of_run()
        for task in (self._room, *self._attaching):
            if task is not None:
                task.cancel()
        self._close_attachments()
        self._supervision.close()
        self._channel.close()
        os.close(self._output)
        os.close(self._errors)
        if not self._ended.done():
            self._ended.set_result(None)

    def _close_attachments(self) -> None:
        """For everybody: a run may have passed its copy on to a process that outlives it, such as its template."""
        for attachment in self._attachments:
            with contextlib.suppress(OSError):
                attachment.descriptor.shutdown(socket.SHUT_RDWR)
            attachment.descriptor.close()
        self._attachments.clear()


def next_piece(piece: int, came: int, seconds: float) -> int:
    """How many bytes to read next, after a piece of which so many came and took so long."""
    if seconds > COSTLY_SECONDS:
        return max(piece // 2, SMALLEST_PIECE)
    if came == piece and seconds < COSTLY_SECONDS / 2:
        return min(piece * 2, READ_BYTES)
    return piece
