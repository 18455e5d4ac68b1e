"""What a build connects to: its own proxy in the listener, and nothing else.

Landlock limits the build to the port of that proxy, though at any host. So what it starts is under a filter as well,
which has each connect(2) wait for this process, and this process connects to the proxy instead. No address that a
process of the build names is ever connected to.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import select
import socket
import struct
import subprocess
import threading
from base64 import b64decode
from typing import Any

# Landlock, https://docs.kernel.org/userspace-api/landlock.html. Its system calls have the same numbers everywhere.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
CONNECT_TCP, NET_PORT, PORTS_SINCE = 2, 2, 4
# seccomp, https://docs.kernel.org/userspace-api/seccomp_filter.html
SECCOMP = {"x86_64": 317, "aarch64": 277}
SET_MODE_FILTER, NEW_LISTENER = 1, 8
RECEIVE, ANSWER, ADD_DESCRIPTOR = 0xC0502100, 0xC0182101, 0x40182103
NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, thread, flags; number, architecture, where, arguments
IN_PLACE = 1
REPLACES_SINCE = (5, 9)  # Linux, for ADD_DESCRIPTOR
ALLOWED, NOTIFIED = b"a", b"n"
LONGEST_ADDRESS = 128


class Network:
    """The proxy of a build, and two filters for what it starts: one makes each connection wait, one only allows TCP."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._port = int(settings["port"])
        self._filters = [b64decode(settings[name]) for name in ("notifying", "allowing")]
        self.limited = limit_ports([self._port])
        names = ("HTTPS_PROXY", "HTTP_PROXY")
        self.variables = {name: settings["url"] for upper in names for name in (upper, upper.lower())}

    def start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        """Start a program that can connect to the proxy only."""
        ours, theirs = socket.socketpair()
        with ours:
            started = subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                preexec_fn=lambda: self._enter(theirs),
            )
            theirs.close()
            kind, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        if kind == NOTIFIED:
            threading.Thread(target=self._serve, args=descriptors, daemon=True).start()
        elif not self.limited:
            print("The kernel of this listener cannot limit which hosts builds connect to")
        return started

    def _enter(self, tell: socket.socket) -> None:
        """Called in the new process, before its program. Only Landlock is left where descriptors cannot be inspected,
        as without namespaces, where another filter already has a listener, and before Linux 5.9."""
        notifying, allowing = self._filters
        try:
            open(f"/proc/{os.getpid()}/fdinfo/0").close()
            descriptor = add_filter(notifying, NEW_LISTENER) if kernel() >= REPLACES_SINCE else None
        except OSError:
            descriptor = None
        if descriptor is None:
            add_filter(allowing, 0)
            tell.send(ALLOWED)
        else:
            socket.send_fds(tell, [NOTIFIED], [descriptor])
            os.close(descriptor)

    def _serve(self, descriptor: int) -> None:
        """Connect for the processes under the filter, until there are none."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll()):
            message = bytearray(NOTIFICATION.size)
            with contextlib.suppress(OSError):  # whoever asked is gone
                fcntl.ioctl(descriptor, RECEIVE, message)
                id, thread, _, _, _, _, target, address, length, *_ = NOTIFICATION.unpack(message)
                error = self._connect(descriptor, id, thread, target & 0xFFFFFFFF, (address, length & 0xFFFFFFFF))
                fcntl.ioctl(descriptor, ANSWER, struct.pack("=QqiI", id, 0, -error, 0))
        os.close(descriptor)

    def _connect(self, descriptor: int, id: int, thread: int, target: int, address: tuple[int, int]) -> int:
        """Put a connection to the proxy in the place of a socket; an error number if the address is not the proxy's.

        The address may change meanwhile, but it only decides about the error."""
        try:
            if named := self._named(thread, *address):
                return named
            with open(f"/proc/{thread}/fdinfo/{target}") as info:
                flags = int(re.findall(r"flags:\s*([0-7]+)", info.read())[0], 8)
            with socket.create_connection(("127.0.0.1", self._port)) as connection:
                connection.setblocking(not flags & os.O_NONBLOCK)
                added = struct.pack("=QIIII", id, IN_PLACE, connection.fileno(), target, flags & os.O_CLOEXEC)
                fcntl.ioctl(descriptor, ADD_DESCRIPTOR, added)
        except OSError as error:
            return error.errno or errno.ECONNREFUSED
        return 0

    def _named(self, thread: int, place: int, length: int) -> int:
        """EACCES for an address that is not the proxy's; 0 if it is, or cannot be read."""
        try:
            with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
                memory.seek(place)
                address = memory.read(min(length, LONGEST_ADDRESS))
        except (OSError, ValueError, OverflowError):
            return 0
        port, ip = address[2:4], address[8:24] if address[:2] == struct.pack("=H", socket.AF_INET6) else address[4:8]
        own = port == self._port.to_bytes(2) and ip in (b"\x7f\0\0\1", bytes(10) + b"\xff\xff\x7f\0\0\1")
        return 0 if own else errno.EACCES


def kernel() -> tuple[int, int]:
    """The version of Linux."""
    major, minor = re.findall(r"\d+", os.uname().release)[:2]
    return int(major), int(minor)


def add_filter(program: bytes, flags: int) -> int:
    """Put this process and its children under a filter, for good. Returns the descriptor of its listener, if any."""
    instructions = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("=H6xQ", len(program) // 8, ctypes.addressof(instructions))
    return _syscall(SECCOMP[os.uname().machine], SET_MODE_FILTER, flags, head)


def limit_ports(ports: list[int]) -> bool:
    """From here on, this process and its children connect to no other TCP port: not to services of the host, such as
    PostgreSQL. False where Landlock cannot limit that (before Linux 6.7)."""
    try:
        version = _syscall(CREATE_RULESET, None, 0, 1)
    except OSError:
        return False
    if version < PORTS_SINCE:
        return False
    attributes = struct.pack("QQ", 0, CONNECT_TCP)
    ruleset = _syscall(CREATE_RULESET, attributes, len(attributes), 0)
    for port in ports:
        _syscall(ADD_RULE, ruleset, NET_PORT, struct.pack("QQ", CONNECT_TCP, port), 0)
    _syscall(RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return True


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    """Raises OSError."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    result = syscall(ctypes.c_long(number), *(ctypes.c_long(one) if isinstance(one, int) else one for one in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}: {os.strerror(ctypes.get_errno())}")
    return int(result)
