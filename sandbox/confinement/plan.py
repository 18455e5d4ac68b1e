"""System calls recorded in order, to be carried out later: here through ctypes, or by a template's native code.

Whoever makes a plan has all the knowledge; carrying it out only takes making system calls.
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass, field

from sandbox.confinement.kernel import SYSTEM_CALLS

# The layout that confinement/plan.c reads.
_HEAD = struct.Struct("=IIII")
_STEP = struct.Struct("=q6q6B2xi4x")
_POINTER = struct.Struct("=II")
_VALUE, _ADDRESS, _RESULT = range(3)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the plan's data; as an argument, its address."""

    at: int

    def __add__(self, distance: int) -> Place:
        return Place(self.at + distance)


@dataclass(frozen=True, slots=True)
class Result:
    """What an earlier call returned, as an argument of a later one."""

    at: int


Argument = int | str | bytes | Place | Result


@dataclass(slots=True)
class Plan:
    """Calls in order, and the data they point to. If a call fails, the process ends."""

    _steps: list[tuple[int, list[int], list[int], int]] = field(default_factory=list)
    _pointers: list[tuple[int, int]] = field(default_factory=list)
    _data: bytearray = field(default_factory=bytearray)

    def call(self, name: str, *arguments: Argument, into: Place | None = None) -> Result:
        """Add a system call; text and bytes are passed by address. The result is stored `into` a place."""
        resolved = [self._resolve(argument) for argument in arguments]
        resolved += [(_VALUE, 0)] * (6 - len(resolved))
        result = (into or self.put(bytes(4))).at
        kinds, values = [kind for kind, _ in resolved], [value for _, value in resolved]
        self._steps.append((SYSTEM_CALLS[name], values, kinds, result))
        return Result(result)

    def put(self, data: bytes) -> Place:
        """Add data, and return its place."""
        self._data += bytes(-len(self._data) % 8)
        place = Place(len(self._data))
        self._data += data
        return place

    def point(self, place: Place, target: Place) -> None:
        """Store the address of `target` at `place`."""
        self._pointers.append((place.at, target.at))

    def encode(self) -> bytes:
        """The form that native code takes."""
        return b"".join(
            (
                _HEAD.pack(len(self._steps), len(self._pointers), len(self._data) + -len(self._data) % 8, 0),
                *(_STEP.pack(number, *values, *kinds, result) for number, values, kinds, result in self._steps),
                *(_POINTER.pack(*pointer) for pointer in self._pointers),
                self._data + bytes(-len(self._data) % 8),
            )
        )

    def carry_out(self) -> None:
        """Apply all calls to this process. Raises OSError at the first one that fails."""
        data = ctypes.create_string_buffer(bytes(self._data), len(self._data))
        base = ctypes.addressof(data)
        for at, target in self._pointers:
            struct.pack_into("=Q", data, at, base + target)
        for number, values, kinds, result_at in self._steps:
            arguments = list(values)
            for position, kind in enumerate(kinds):
                if kind == _ADDRESS:
                    arguments[position] += base
                elif kind == _RESULT:
                    (arguments[position],) = struct.unpack_from("=i", data, values[position])
            result = _libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
            if result < 0:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error), f"confinement, system call {number}")
            struct.pack_into("=i", data, result_at, result)

    def _resolve(self, argument: Argument) -> tuple[int, int]:
        match argument:
            case Place(at):
                return _ADDRESS, at
            case Result(at):
                return _RESULT, at
            case str():
                return _ADDRESS, self.put(os.fsencode(argument) + b"\0").at
            case bytes():
                return _ADDRESS, self.put(argument).at
        return _VALUE, argument
