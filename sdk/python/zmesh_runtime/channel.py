"""The socket between a run and its sandbox: frames of one type byte, four bytes of length, and a body."""

from __future__ import annotations

import contextlib
import os
import struct
import threading

from zmesh_runtime import network, sessions
from zmesh_runtime.frames import ATTACHMENT, HEAD, STREAM

_HEAD = struct.Struct(HEAD)


class Closed(Exception):
    """The sandbox closed the channel before it sent a job."""


class Channel:
    """Receives the job, and sends log lines and the one final frame."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._fd = fd
        self._streams = False
        self._lock = threading.Lock()
        self._asking = threading.Lock()  # each answer is for who asked

    def receive(self) -> tuple[bytes, bytes]:
        """The next frame: its type and its body."""
        kind, length = _HEAD.unpack(self._read(_HEAD.size))
        return kind, bytes(self._read(length))

    def send(self, kind: bytes, body: bytes) -> None:
        """Send one frame whole; if the sandbox is gone, there is nobody left to tell."""
        self._streams = self._streams or kind == STREAM
        with self._lock:
            try:
                self._write(_HEAD.pack(kind, len(body)))
                self._write(body)
            except OSError:
                pass

    def take_session(self) -> sessions.Taken | None:
        """A session with the project's database that the platform has signed in, if it has one."""
        if self._streams and not network.is_off():
            return None  # while a stream waits for its reader, nothing is answered
        with self._asking:
            self.send(ATTACHMENT, b"")
            return sessions.answer_on(self._fd)

    def wait_for_end(self) -> None:
        """After the final frame: the sandbox ends this process as soon as it has read its resource usage."""
        with contextlib.suppress(OSError):
            while os.read(self._fd, 4096):
                pass

    def leave_to_parent(self) -> None:
        """In a process that user code forked: close the socket, which stays the parent's."""
        self._lock = threading.Lock()  # a thread that was not forked may hold the old one
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, self._fd, inheritable=False)
        os.close(null)

    def _read(self, length: int) -> bytearray:
        data = bytearray(length)
        view = memoryview(data)
        while view:
            count = os.readv(self._fd, [view])
            if count == 0:
                raise Closed
            view = view[count:]
        return data

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
