"""What attacks in Python share: text put before the body of a handler."""

from __future__ import annotations

SYSCALLS = '''
import ctypes, errno, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def syscall(number, *values):
    """The name of the error, or "done"."""
    ctypes.set_errno(0)
    converted = [ctypes.c_char_p(v) if isinstance(v, (bytes, type(None))) else ctypes.c_long(v) for v in values]
    if libc.syscall(ctypes.c_long(number), *converted) >= 0:
        return "done"
    return errno.errorcode[ctypes.get_errno()]

def error_of(attempt):
    """The name of the error that an attempt ends with, or "done"."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def ending_of(attempt):
    """How a child that tries this ends: the number of its signal, or minus its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
        finally:
            os._exit(7)
    status = os.waitpid(pid, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)

def machine_code(code):
    """A function of no arguments made of these bytes."""
    import mmap
    memory = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
    memory.write(code)
    machine_code.kept = memory
    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
'''


def python(body: str) -> str:
    """A module whose handler may use what is above."""
    import textwrap

    return SYSCALLS + "\ndef handler(payload, zmesh):\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
