"""Heads of HTTP/1.1 messages, the first line and the fields: read strictly, since hostile code may have sent them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Container
from dataclasses import dataclass

_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\0]*)")  # read in one pass, whatever it holds
_LINE = re.compile(r"[^\r\n\0]+")
_LENGTH = re.compile(r"[0-9]{1,18}")
_STATUS = re.compile(r"HTTP/1\.[01] ([0-9]{3})(?: .*)?")


class HeadError(Exception):
    """It is not a head of HTTP/1.1, or too long."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line, and names and values of the fields in their order."""

    line: str
    fields: tuple[tuple[str, str], ...]

    @property
    def status(self) -> int | None:
        """That of a response."""
        found = _STATUS.fullmatch(self.line)
        return int(found[1]) if found else None

    def value(self, name: str) -> str:
        """The value of the first such field, or nothing."""
        return next((value for key, value in self.fields if key.lower() == name), "")

    def length(self) -> int | None:
        """How long the body of a request is, in bytes; None where only its content says so. Raises HeadError."""
        fields = {(name.lower(), value) for name, value in self.fields}
        if any(name == "transfer-encoding" for name, _ in fields):
            return None
        lengths = {value for name, value in fields if name == "content-length"} or {"0"}
        if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            raise HeadError("ambiguous length")
        return int(lengths.pop())

    def encoded(self, line: str, without: Container[str], *more: tuple[str, str]) -> bytes:
        """The head with another first line, without some fields (named in lower case), and with others added."""
        kept = [*((key, value) for key, value in self.fields if key.lower() not in without), *more]
        return "".join([f"{line}\r\n", *(f"{key}: {value}\r\n" for key, value in kept), "\r\n"]).encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head:
    """The next head. Raises HeadError, OSError, and IncompleteReadError where the connection ended."""
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError as error:
        raise HeadError("too long") from error
    line, *rest = text[:-4].split("\r\n")
    fields = [_FIELD.fullmatch(one) for one in rest]
    if not _LINE.fullmatch(line) or None in fields:
        raise HeadError("malformed")
    return Head(line, tuple((found[1], found[2].strip(" \t")) for found in fields if found))
