"""The Python process that runs are forked from: a fork of the template, with the runtime loaded and warm.

Where there is no native code, the template itself is the one, and each run's supervisor forks in its stead.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import resource
import signal
import site
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from sandbox.confinement import kernel
from sandbox.confinement.limits import limiter_of_this_process
from sandbox.confinement.plan import Plan
from sandbox.confinement.root import FALLBACKS, PACKAGES, WORKSPACE
from sandbox.native import PYTHON_LIBRARY
from sandbox.protocol.table import CHANNEL, CODE, ORDERS
from sandbox.template.run_process import environment


class Preload(NamedTuple):
    """What a template of an image imports: modules of the image, and then the code in a file."""

    image: str | None
    names: Sequence[str]
    code: int | None


def load_runtime(packages: str) -> Any:
    """The runtime, ready for runs, in an interpreter that imports from this folder beside the standard library.

    The template was started without `site`, so nothing of the platform's virtual environment has been loaded.
    """
    sys.path += [packages, f"{packages}/{FALLBACKS}"]
    sys.executable = sys._base_executable  # type: ignore[attr-defined]  # the virtual environment is not there for runs
    sys.prefix, sys.exec_prefix = sys.base_prefix, sys.base_exec_prefix
    for add_builtins in (site.setquit, site.setcopyright, site.sethelper):
        add_builtins()
    runtime = importlib.import_module("zmesh_runtime")
    runtime.prepare()
    gc.collect()
    gc.freeze()  # so that a collection in a run does not copy every page of the template
    return runtime


def start() -> tuple[int, socket.socket]:
    """Fork the process; its number, and where to order runs from it. Raises OSError when it cannot be used."""
    pid, orders = fork()
    said = orders.recv(4096)
    if said != b"ready":
        raise OSError(f"the Python template did not start: {said.decode('utf-8', 'replace')}")
    return pid, orders


def fork(confinement: Plan | None = None, preload: Preload | None = None) -> tuple[int, socket.socket]:
    """Fork the process, which says that it is ready on the socket that takes its orders. With a `confinement`, it
    carries that out, says "loaded", imports packages and says "imported"; it needs an answer to each to go on."""
    orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        _become_template(theirs, confinement, preload)
    theirs.close()
    return pid, orders


def _become_template(orders: socket.socket, confinement: Plan | None, preload: Preload | None) -> NoReturn:
    """Serve orders; what comes after is a run."""
    try:
        kernel.die_with_parent(signal.SIGKILL)
        kernel.set_name("python")
        os.dup2(os.dup(orders.detach()), ORDERS)
        if preload is not None and preload.code is not None:
            os.dup2(preload.code, CODE)
            os.closerange(CODE + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        else:
            os.closerange(ORDERS + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails with EFBIG instead
        os.environ.clear()
        os.environ.update(environment(WORKSPACE))
        runtime = load_runtime(PACKAGES)
        if confinement is not None and preload is not None:
            _import_packages(runtime, confinement, preload)
        python = ctypes.pythonapi
        serve_forks = ctypes.PyDLL(PYTHON_LIBRARY).serve_forks
        for name in [name for name in sys.modules if name.partition(".")[0] == "sandbox"]:
            del sys.modules[name]
        python.PyOS_BeforeFork()
        serve_forks(ORDERS)
        python.PyOS_AfterFork_Child()
        runtime.serve(CHANNEL, limiter_of_this_process)
    except OSError as error:
        os.write(ORDERS, kernel.explain(error).encode())
    except BaseException:
        text = traceback.format_exc()
        os.write(2, text.encode())
        os.write(ORDERS, text[-2000:].encode())
    finally:
        os._exit(99)


def _import_packages(runtime: Any, confinement: Plan, preload: Preload) -> None:
    for stream in (1, 2):
        os.dup2(0, stream)  # nobody reads what packages print
    confinement.carry_out()
    _say_and_wait(b"loaded")
    why = runtime.preload(preload.image, preload.names)
    if why is None and preload.code is not None:
        os.chdir(WORKSPACE)
        why = runtime.load_once(CODE)
    if why is not None:
        os.write(ORDERS, f"failed: {why}".encode()[:4000])
        os._exit(0)
    runtime.keep_files(WORKSPACE)
    _say_and_wait(b"imported")


def _say_and_wait(word: bytes) -> None:
    os.write(ORDERS, word)
    if os.read(ORDERS, 64) != b"go":
        os._exit(0)
