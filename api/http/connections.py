"""HTTP/1.1 connections that cannot be held open or filled forever by clients that send too much or too slowly."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from socket import IPPROTO_TCP, TCP_NOTSENT_LOWAT
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.http.admission import Admission
from api.http.gone import GoneTransport
from api.http.heads import LARGEST_HEAD, MOST_HEADERS, framing_of, head_too_large, require_unambiguous
from api.http.problems import Problem
from api.http.turns import Turns
from api.http.unsent import Unsent
from observing.events import RequestRefused
from observing.stream import emit

HEAD_SECONDS = 15.0  # for request line and headers, from the first byte or, on a new connection, from its start
BODY_SECONDS = 300.0  # for the whole body: 8 MiB at 28 KB a second
SEND_SECONDS = 300.0  # for a client to read what was sent to it
LINGER_SECONDS = 2.0
HALF_CLOSED_SECONDS = 10.0  # for answers to a client that sends no more: it may have gone
KERNEL_BYTES = 128 * 1024  # unsent, per connection; by default the kernel buffers megabytes, which we cannot count
READ_AT_ONCE = 100
LARGEST_PIECE = 16 * 1024  # parsed at once: the smallest chunks make it 2,700 calls
BEGUN_AT_ONCE = 10
ENDED_AT_ONCE = 20
MOST_PIPELINED = 32  # requests that wait for the response to the one before them
MOST_LINGERING = 64  # connections that were refused at once, and get to see why


class Guard:
    """State shared by all connections of a process: their number, which idle ones can be closed to make room, and how
    many of them are read, begin a request or are cut off in one turn of the event loop: thousands may be due."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.lingering = 0
        self.unsent = Unsent(admission.bounds)
        self.reading = Turns(READ_AT_ONCE)
        self.beginning = Turns(BEGUN_AT_ONCE)
        self.ending = Turns(ENDED_AT_ONCE)
        self._idle: OrderedDict[GuardedProtocol, None] = OrderedDict()

    def idle(self, connection: GuardedProtocol) -> None:
        """It has sent no whole head, or has got its responses."""
        self._idle[connection] = None

    def busy(self, connection: GuardedProtocol) -> None:
        self._idle.pop(connection, None)

    @property
    def has_idle(self) -> bool:
        """Whether there is a connection that can be closed to make room."""
        return bool(self._idle)

    def make_room(self) -> None:
        """Close the connection that has been idle longest, if there is no room for another one."""
        if self.admission.full and self.has_idle:
            self._idle.popitem(last=False)[0].close_idle()


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on the head of a request, on the time that head and body may take, and on how many
    connections and how much of bodies there may be."""

    def __init__(self, *args: Any, guard: Guard, **options: Any) -> None:
        super().__init__(*args, **options)
        self._guard = guard
        self._client = ""
        self._admitted = False
        self._received: deque[int] = deque()  # bytes of each body whose response is not complete
        self._timer: asyncio.TimerHandle | None = None
        self._begun = False
        self._in_head = True
        self._reframing = False  # a new parser gets to know how long the body is
        self._head_bytes = 0  # received since the last complete head or the last byte of a body
        self._sizes = 0  # of its parts so far
        self._refused: Problem | None = None
        self._hung_up = False
        self._input_ended = False
        self._answering: RequestResponseCycle | None = None  # while `cycle` is the one being read
        self._next: Callable[[], object] | None = None  # begins a request once the response before it has been read
        self._send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NOTSENT_LOWAT, KERNEL_BYTES)
        self._client = self._guard.admission.client_of(self.client[0] if self.client else "")
        self._guard.make_room()
        refusal = self._guard.admission.connect(self._client)
        if refusal is not None:
            self._reject(refusal)
            return
        self._admitted = True
        self._guard.idle(self)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_sending()
        gone = GoneTransport()
        self.transport = self.flow._transport = gone
        for cycle in filter(None, (self._answering, self.cycle)):
            cycle.transport = gone
        self._guard.reading.do(partial(self._end, exc), self._client)  # after the data that arrived before

    def _end(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._leave()
        self._guard.ending.do(partial(self._cut_off, exc), self._client)

    def _cut_off(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._disconnect()
        self.cycle = None  # type: ignore[assignment]  # one that never began refers to this connection

    def _disconnect(self) -> None:
        """Tell the request being answered that its client has gone, and drop those behind it."""
        self.pipeline.clear()
        self._next = None
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.waiting_for_100_continue = False  # nothing can be written any more
            self._answering.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        self._next = partial(self._guard.beginning.do, partial(super()._start_asgi_task, cycle, app), self._client)
        self._begin_next()

    def _begin_next(self) -> None:
        if self._next is not None and not self.flow.write_paused:
            begin, self._next = self._next, None
            begin()

    def pause_writing(self) -> None:
        """The client reads a response more slowly than it is sent."""
        super().pause_writing()
        self._send_timer = self.loop.call_later(SEND_SECONDS, self.transport.abort)
        self._guard.unsent.hold(self.transport, self._client, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client has read nearly all that was buffered."""
        super().resume_writing()
        self._stop_sending()
        self.transport.set_write_buffer_limits()
        self._begin_next()
        self.loop.call_soon(self._hold_rest)

    def _hold_rest(self) -> None:
        """Count and time the end of a response, too: a client that does not read it would keep the connection forever,
        even one that is closed, as long as something is left to send."""
        answering = self._answering
        is_answered = answering is None or answering.response_complete or answering.disconnected
        if (is_answered or self.transport.is_closing()) and self.transport.get_write_buffer_size():
            self.transport.set_write_buffer_limits(high=0)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more. It may have gone, or still wait for answers."""
        self._guard.reading.do(self._end_input, self._client)  # after the data that arrived before
        return True

    def _end_input(self) -> None:
        if self._input_ended or self.transport.is_closing():
            return
        self._input_ended = True
        answering = self._answering
        is_incomplete = self._begun and not self._in_head and answering is self.cycle
        if answering is None or answering.response_complete or answering.disconnected or is_incomplete:
            self._close_after_sending()
            return
        self._stop_timer()
        self._timer = self.loop.call_later(HALF_CLOSED_SECONDS, self._close_after_sending)
        if self._admitted:
            self._guard.idle(self)  # clients that are certainly there have priority

    def _is_answering(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def _close_after_sending(self) -> None:
        self.transport.close()
        self.loop.call_soon(self._hold_rest)

    def _stop_sending(self) -> None:
        self._guard.unsent.release(self.transport)
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def close_idle(self) -> None:
        """Close a connection that is idle: its client connects again when it needs one."""
        self._hung_up = True
        self._stop_timer()
        self._leave()
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # or it would stay open, uncounted, until its client has read the rest
        else:
            self.transport.close()

    def _leave(self) -> None:
        """Count for nothing any more."""
        if self._admitted:
            self._admitted = False
            self._guard.busy(self)
            self._guard.admission.disconnect(self._client)
        while self._received:
            self._guard.admission.release(self._client, self._received.popleft())

    def _reject(self, refusal: Problem) -> None:
        if self._guard.lingering >= MOST_LINGERING:
            self._refused = refusal
            emit(RequestRefused(refusal.status, refusal.code))
            self.transport.abort()
            return
        self._guard.lingering += 1
        self.loop.call_later(LINGER_SECONDS, self._stop_lingering)
        self._refuse(refusal)

    def _stop_lingering(self) -> None:
        self._guard.lingering -= 1

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()  # or the keep-alive timeout could close it before the data is read
        for begin in range(0, len(data), LARGEST_PIECE):
            piece = data[begin : begin + LARGEST_PIECE]
            is_read = self._guard.reading.do(partial(self._read, piece), self._client)
        if not is_read:
            self.transport.pause_reading()  # or whatever the client sends meanwhile would pile up here
            self._guard.reading.do(self._read_on, self._client)

    def _read_on(self) -> None:
        if not self.transport.is_closing() and not self.flow.read_paused:
            self.transport.resume_reading()

    def _read(self, data: bytes) -> None:
        if self._refused is not None or self._hung_up:
            return  # after a refusal, reading goes on for a moment so that the client sees the answer
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        self._parse(data)
        if self._head_bytes > LARGEST_HEAD and self._refused is None:
            self._refuse(head_too_large())
        self._be_idle()

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade(data[upgrade.args[0] :])
            except httptools.HttpParserError:
                self._refuse(self._refused or Problem(400, "malformed_request", "Malformed HTTP/1.1 request."))
                return

    def _without_upgrade(self, rest: bytes) -> bytes:
        """The parser ends a request with `Upgrade` after its head, and would take its body for another request. Clients
        that offer HTTP/2, such as Java's, send these. So a new parser gets a head with this framing, and the rest."""
        framing = framing_of(self.headers)
        if not framing:
            return rest
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._reframing = True
        return b"POST / HTTP/1.1\r\n%b\r\n%b" % (b"".join(b"%b: %b\r\n" % field for field in framing), rest)

    def _be_idle(self) -> None:
        """After the rest of a request that was answered early, or an empty line, nothing else would end it."""
        is_answered = self.cycle is not None and self.cycle.response_complete and not self._begun
        if is_answered and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
            if self._admitted:
                self._guard.idle(self)

    # What the parser finds

    def on_message_begin(self) -> None:
        if self._reframing:
            return
        if len(self.pipeline) >= MOST_PIPELINED:
            self._refused = _too_many_pipelined()
            raise ValueError("too many requests wait")  # stops the parser
        super().on_message_begin()
        if self._timer is None:
            self._expect_head()
        self._begun = self._in_head = True
        self._sizes = 0

    def on_url(self, url: bytes) -> None:
        if not self._reframing:
            super().on_url(url)
            self._sizes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reframing:
            return
        if self._in_head:  # what comes after the body must not be taken for what a proxy has checked
            super().on_header(name, value)
        self._sizes += len(name) + len(value)
        if self._sizes > LARGEST_HEAD or len(self.headers) > MOST_HEADERS:
            self._refused = head_too_large()
            raise ValueError("the head is too large")  # stops the parser, too

    def on_headers_complete(self) -> None:
        if self._reframing:
            self._reframing = False
            return
        require_unambiguous(self.parser.get_http_version(), self.headers)
        super().on_headers_complete()
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        self._guard.busy(self)  # not before: whoever sends a head slowly is hung up on where room is short
        self._received.append(0)
        self._timer = self.loop.call_later(BODY_SECONDS, self._too_slow)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if self._refused is not None or self.cycle.response_complete:
            return
        refusal = self._guard.admission.receive(self._client, len(body))
        if refusal is not None:
            self._refuse(refusal)
            return
        self._received[-1] += len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        if self._received:
            self._guard.admission.release(self._client, self._received.popleft())
        super().on_response_complete()
        self.loop.call_soon(self._hold_rest)
        if self._refused is not None:
            self._hang_up_when_answered()
        elif self._input_ended and not self._is_answering():
            self._close_after_sending()
        elif self._admitted and not self._received and not self._begun:
            self._guard.idle(self)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade() and framing_of(self.headers):
            return  # its body is still to come
        self._stop_timer()
        self._begun, self._in_head = False, True
        self._head_bytes = 0
        super().on_message_complete()

    # Refusals

    def _expect_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused:  # by us, while requests before it are answered, or its body is not yet consumed
            self._timer = self.loop.call_later(BODY_SECONDS, self._too_slow)
            return
        if self._begun:
            self._refuse(Problem(408, "request_timeout", "The request took too long to arrive."))
        else:
            self.transport.close()  # a connection that was never used

    def _refuse(self, problem: Problem) -> None:
        """Answer the request being read after those before it, and hang up."""
        self._refused = problem
        emit(RequestRefused(problem.status, problem.code))
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self._begun and not self._in_head:
            if self._answering is self.cycle:
                self._hang_up(None if self.cycle.response_started else problem)  # a response under way is cut off
                return
            self.pipeline.popleft()  # of requests that wait, the one being read
        self.flow.resume_reading()
        self._hang_up_when_answered()

    def _hang_up_when_answered(self) -> None:
        if not self._is_answering():
            self._hang_up(self._refused)

    def _hang_up(self, last: Problem | None) -> None:
        if self.transport.is_closing():
            return
        if last is not None:
            self.transport.write(last.response())
        self._disconnect()
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_soon(self._hold_rest)
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


def _too_many_pipelined() -> Problem:
    detail = f"More than {MOST_PIPELINED} requests are waiting on this connection: read responses before sending more."
    return Problem(429, "too_many_pipelined", detail)
