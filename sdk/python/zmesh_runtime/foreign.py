"""Recognizes applications of web frameworks among a module's objects, by the parameters that their standards name."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

from zmesh_runtime.asgi import AsgiHandler
from zmesh_runtime.wsgi import WsgiHandler

USUAL_NAMES = ("app", "application")
WITH_SERVERS = {"aiohttp", "tornado"}  # frameworks whose applications run only in their own servers


def application_in(module: types.ModuleType) -> Callable[..., Any] | None:
    """A handler for the application with one of the usual names."""
    found = (as_application(module.__dict__.get(name)) for name in USUAL_NAMES)
    return next((one for one in found if one is not None), None)


def application_elsewhere(module: types.ModuleType) -> str | None:
    """The name of an application that has none of the usual names."""
    found = (name for name, value in vars(module).items() if not isinstance(value, type) and as_application(value))
    return next(found, None)


def framework_with_server(value: Any) -> str | None:
    """The framework of an application that follows neither standard."""
    names = {base.__module__.partition(".")[0] for base in type(value).__mro__ if base.__name__ == "Application"}
    return next(iter(names & WITH_SERVERS), None)


def as_application(value: Any) -> Callable[..., Any] | None:
    """A handler for an ASGI or WSGI application; None for anything else."""
    match _parameters(value)[1:3]:
        case ["receive", "send"]:
            return AsgiHandler(value)
        case ["start_response", *_]:
            return WsgiHandler(value)
    return None


def _parameters(value: Any) -> list[str]:
    if isinstance(value, types.FunctionType) and not hasattr(value, "__wrapped__"):
        return list(value.__code__.co_varnames[: value.__code__.co_argcount])  # inspect is slow in a forked process
    if not callable(value):
        return []
    try:
        return list(inspect.signature(value).parameters)
    except Exception:  # not only what inspect raises: proxies such as Flask's `request` may raise anything
        return []
