"""The handler of a loaded module: found by name, and called."""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Awaitable, Callable
from typing import Any

from zmesh_runtime import foreign, lambdas
from zmesh_runtime.failures import Failure
from zmesh_runtime.zmesh import Zmesh

Handler = Callable[..., Any]
_loop: asyncio.AbstractEventLoop | None = None


def handler_of(module: types.ModuleType, job: dict[str, Any]) -> Handler:
    """What of a loaded module the entry point names, or else its ASGI or WSGI application."""
    entry_point = job["entry_point"]
    found = module.__dict__.get(entry_point)
    handler: Handler | None
    if job.get("style") == "lambda":
        handler = lambdas.LambdaHandler(found, job["limits"]) if callable(found) else None
    elif foreign.framework_with_server(found):
        handler = None
    else:
        handler = foreign.as_application(found) or (found if callable(found) else foreign.application_in(module))
    if handler is None:
        raise Failure("entry_point_missing", _missing(module, entry_point, found))
    return handler


def call(handler: Handler, payload: Any, zmesh: Zmesh) -> Any:
    """The handler's result, awaited when it is awaitable."""
    positional, named = _arguments(handler, payload, zmesh)
    result = handler(*positional, **named)
    return awaited(result) if hasattr(result, "__await__") else result


def awaited(result: Awaitable[Any]) -> Any:
    """What comes of an awaitable, in the one event loop of this process."""
    global _loop
    if _loop is None:
        _loop = asyncio.new_event_loop()
        asyncio.set_event_loop(_loop)
    return _loop.run_until_complete(_await(result))


async def _await(result: Awaitable[Any]) -> Any:
    return await result


Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def _arguments(handler: Handler, payload: Any, zmesh: Zmesh) -> Arguments:
    """As many of (payload, zmesh) as the handler takes, by name where it takes them only so."""
    both = (payload, zmesh)
    if isinstance(handler, types.FunctionType) and _takes_two(handler.__code__):
        return both, {}  # nearly every handler; inspect costs half a millisecond in a forked process
    try:
        signature = inspect.signature(handler, follow_wrapped=False)
        if _passes_on(signature):
            signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return both, {}
    named = {
        name: value
        for name, value in (("payload", payload), ("zmesh", zmesh))
        if name in signature.parameters and signature.parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    }
    rest = tuple(value for name, value in (("payload", payload), ("zmesh", zmesh)) if name not in named)
    return (rest if _passes_on(signature) else rest[: _positional(signature)]), named


def _takes_two(code: types.CodeType) -> bool:
    return code.co_argcount == 2 and code.co_kwonlyargcount == 0


def _passes_on(signature: inspect.Signature) -> bool:
    """Whether it takes any number of positional arguments, as a decorator's wrapper does."""
    return any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in signature.parameters.values())


def _positional(signature: inspect.Signature) -> int:
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    return sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)


def _missing(module: types.ModuleType, entry_point: str, found: Any) -> str:
    for name in (entry_point, *foreign.USUAL_NAMES):
        if framework := foreign.framework_with_server(vars(module).get(name)):
            return (
                f'"{name}" is an application of {framework}, which runs only in its own server: a function can be '
                "an ASGI or WSGI application, such as one of Starlette, FastAPI or Flask"
            )
    if found is not None:
        return f'"{entry_point}" is not a function (got {type(found).__name__})'
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    if (other := foreign.application_elsewhere(module)) is not None:
        hint = f'to run the application "{other}", name it app, or deploy with --entry-point {other}'
        return f'the code defines no function "{entry_point}"; {hint}'
    others = f"; it defines {', '.join(own[:10])}" if own else ""
    return f'the code defines no function "{entry_point}"{others}'
