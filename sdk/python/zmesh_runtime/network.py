"""Runs without network access: the sandbox refuses every socket that leads out of the run, and errors name the rule."""

from __future__ import annotations

import errno
import functools
import os
import socket
from collections.abc import Callable
from typing import Any

RULE = "network access is off for this function (network: none)"
NO_SESSION = (
    f"{RULE}, and the platform has no database session to hand over: the server requires TLS, "
    "the project has used up its connections, or the server cannot be reached"
)
_REFUSED = errno.ENETDOWN
# What libraries written in C say of a refused socket, and of a name that nothing could be asked for.
_SIGNS = (os.strerror(_REFUSED), "name resolution", "translate host name", "connection is bad: no error details")
_LOOKUPS = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo")
_off = False


def is_off() -> bool:
    """Whether this run has no network."""
    return _off


def turn_off() -> None:
    """Have errors of Python's own sockets name the rule. The sandbox has refused all that from the start."""
    global _off
    _off = True
    for name in _LOOKUPS:
        setattr(socket, name, _explained(getattr(socket, name)))
    socket.socket.__init__ = _explained(socket.socket.__init__)  # type: ignore[method-assign]


def explained(message: str, error: BaseException) -> str:
    """The message, with the rule where a refused socket may be behind the error."""
    if not _off or RULE in message or not any(map(_shows_refusal, _chain(error))):
        return message
    return f"{message} ({RULE})"


def _explained(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def explained(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except socket.gaierror as error:
            raise socket.gaierror(error.errno, RULE) from None
        except OSError as error:
            if error.errno != _REFUSED:
                raise
            raise OSError(_REFUSED, RULE) from None

    return explained


def _shows_refusal(error: BaseException) -> bool:
    if isinstance(error, OSError) and (error.errno == _REFUSED or isinstance(error, socket.gaierror)):
        return True
    try:
        text = str(error)
    except Exception:
        return False
    return RULE in text or any(sign in text for sign in _SIGNS)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ())]
    return found
