"""From an exception to the error that the caller sees: its type, its message and the user's own lines."""

from __future__ import annotations

import errno
import json
import re
import traceback
from types import TracebackType
from typing import NamedTuple

from zmesh_runtime import network, own_modules

MAX_MESSAGE = 16 * 1024
MAX_STACK = 64 * 1024
_NO_PACKAGE = (
    "packages are named in requirements.txt, in [project] of pyproject.toml, or in the code as script metadata"
)
# What the dynamic linker says if a library does not fit into the rest of the address space.
_NO_ROOM_FOR_LIBRARY = re.compile(
    r"failed to map segment|cannot map zero-fill pages|cannot allocate memory(?! in static TLS)", re.IGNORECASE
)
_MORE_MEMORY = "raise memory_mb: native libraries count in full when they are loaded"
_LIMIT_OF_ERRNO = {
    errno.EFBIG: "file_size_limit",
    errno.ENOSPC: "workspace_limit",
    errno.EDQUOT: "workspace_limit",
    errno.EMFILE: "open_files_limit",
    errno.ENFILE: "open_files_limit",
    errno.ENOMEM: "memory_limit",
}


class Failure(Exception):
    """A run that ends without a result."""

    def __init__(self, type: str, message: str, stack: str | None = None) -> None:
        super().__init__(message)
        self.type = type
        self.message = message
        self.stack = stack

    def frame(self) -> bytes:
        """The body of the frame that carries it to the sandbox."""
        error = {
            "type": self.type,
            "message": _cut(self.message, MAX_MESSAGE),
            "stack": None if self.stack is None else _cut(self.stack, MAX_STACK),
        }
        return json.dumps(error).encode()


class Code(NamedTuple):
    """Where the user's code is: its file, and the folder of all its files, if there are several."""

    filename: str
    folder: str | None

    def owns(self, filename: str) -> bool:
        """Whether a file is of the user's."""
        if filename == self.filename or own_modules.has_compiled(filename):
            return True
        return self.folder is not None and filename.startswith(f"{self.folder}/")

    def shown(self, text: str) -> str:
        """The text with each file named by its path in the folder."""
        return text if self.folder is None else text.replace(f'File "{self.folder}/', 'File "')


def failure_of(error: BaseException, code: Code) -> Failure:
    """What the caller learns of an exception that left the user's code."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, MemoryError):
        return out_of_memory(error, code)
    if isinstance(error, SyntaxError) and code.owns(error.filename or ""):
        kind = "syntax_error"
    else:
        kind = limit_hit(error) or type(error).__name__
    return Failure(kind, network.explained(_explained(error), error), user_stack(error, code))


def syntax_failure(error: Exception) -> Failure:
    """Code that does not compile."""
    return Failure("syntax_error", _message(error), "".join(traceback.format_exception_only(error)))


def out_of_memory(error: MemoryError, code: Code) -> Failure:
    """Name the lines first, then let go of what the frames hold, then describe: each step needs a little memory."""
    places: list[str] = []
    cause: BaseException | None = error
    # Our own code can run out of memory while it passes on the user's error, which is then the context of this one.
    while cause is not None and not places:
        _append_places(places, cause.__traceback__, code)
        cause = cause.__context__
    _release(error)
    stack = "\n".join(["Traceback (most recent call last):", *places, "MemoryError"])
    return Failure("memory_limit", "the function's memory limit is used up", stack)


def _append_places(places: list[str], trace: TracebackType | None, code: Code) -> None:
    while trace is not None and len(places) < 50:
        running = trace.tb_frame.f_code
        if code.owns(running.co_filename):
            places.append(code.shown(f'  File "{running.co_filename}", line {trace.tb_lineno}, in {running.co_name}'))
        trace = trace.tb_next


def user_stack(error: BaseException, code: Code) -> str:
    """The traceback with the lines of the user's code only, causes included."""
    described = traceback.TracebackException.from_exception(error, lookup_lines=False, compact=True)
    _keep_user_frames(described, code)
    return code.shown("".join(described.format()).rstrip("\n"))


def _keep_user_frames(described: traceback.TracebackException, code: Code) -> None:
    waiting = [described]
    while waiting:
        one = waiting.pop()
        one.stack[:] = [frame for frame in one.stack if code.owns(frame.filename)]
        others = [one.__cause__, one.__context__, *(one.exceptions or [])]
        waiting += [other for other in others if other is not None]


def _release(error: BaseException) -> None:
    trace: TracebackType | None = error.__traceback__
    error.__traceback__ = None
    error.__context__ = error.__cause__ = None
    traceback.clear_frames(trace)


def _message(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "sys.exit() was called" if error.code is None else f"sys.exit({error.code!r}) was called"
    try:
        return str(error)
    except Exception:
        return f"<{type(error).__name__} whose text could not be read>"


def _explained(error: BaseException) -> str:
    """Its message, with a hint where a package is missing or too large."""
    if isinstance(error, ImportError) and limit_hit(error) == "memory_limit":
        return f"{_message(error)} ({_MORE_MEMORY})"
    is_missing = isinstance(error, ModuleNotFoundError) and error.name and "." not in error.name
    return f"{_message(error)} ({_NO_PACKAGE})" if is_missing else _message(error)


def limit_hit(error: BaseException) -> str | None:
    """The name of the limit that caused it, if one did."""
    if isinstance(error, (ImportError, OSError)) and _NO_ROOM_FOR_LIBRARY.search(_message(error)):
        return "memory_limit"
    if isinstance(error, OSError):
        if error.errno == errno.EAGAIN and _came_from_fork(error):
            return "process_limit"
        return _LIMIT_OF_ERRNO.get(error.errno or 0)
    if isinstance(error, RuntimeError) and "can't start new thread" in error.args:
        return "process_limit"
    return None


def _came_from_fork(error: OSError) -> bool:
    """EAGAIN is also what non-blocking sockets say, so look at the innermost line."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and ("fork" in (frames[-1].line or "") or frames[-1].filename.endswith("subprocess.py"))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]} … [cut: {len(text)} characters]"
