"""User code: compiled, executed in a module of its own, and its handler called."""

from __future__ import annotations

import asyncio
import inspect
import linecache
import sys
import types
from collections.abc import Awaitable, Callable
from typing import Any

from zmesh_runtime.failures import Failure, syntax_failure
from zmesh_runtime.zmesh import Zmesh

MODULE_NAME = "zmesh_function"
Handler = Callable[..., Any]
_loop: asyncio.AbstractEventLoop | None = None


def load(code: str, filename: str, entry_point: str) -> Handler:
    """Execute the code and return the function named by the entry point."""
    try:
        compiled = compile(code, filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise syntax_failure(error) from None
    linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
    module = types.ModuleType(MODULE_NAME)
    module.__file__ = filename
    sys.modules[MODULE_NAME] = module
    exec(compiled, module.__dict__)  # noqa: S102 - what this process is for
    handler = module.__dict__.get(entry_point)
    if not callable(handler):
        raise Failure("entry_point_missing", _missing(module, entry_point, handler))
    return handler  # type: ignore[no-any-return]


def forget(filename: str) -> None:
    """Undo what load() left in the interpreter."""
    linecache.cache.pop(filename, None)
    sys.modules.pop(MODULE_NAME, None)


def call(handler: Handler, payload: Any, zmesh: Zmesh) -> Any:
    """The handler's result, awaited when it is awaitable."""
    result = handler(*_arguments(handler, payload, zmesh))
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


def _arguments(handler: Handler, payload: Any, zmesh: Zmesh) -> tuple[Any, ...]:
    """As many of (payload, zmesh) as the handler takes."""
    if isinstance(handler, types.FunctionType) and handler.__code__.co_argcount == 2:
        return payload, zmesh  # nearly every handler; inspect costs half a millisecond in a forked process
    try:
        taken = _positional(inspect.signature(handler, follow_wrapped=False))
        if taken is None:  # a decorator that passes on what it gets
            taken = _positional(inspect.signature(handler))
    except (TypeError, ValueError):
        return payload, zmesh
    return (payload, zmesh)[:taken]


def _positional(signature: inspect.Signature) -> int | None:
    """How many positional arguments fit; None is any number."""
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return None
    return sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)


def _missing(module: types.ModuleType, entry_point: str, found: Any) -> str:
    if found is not None:
        return f'"{entry_point}" is no function, but of type {type(found).__name__}'
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == MODULE_NAME]
    others = f"; it defines {', '.join(own[:10])}" if own else ""
    return f'the code defines no function "{entry_point}"{others}'
