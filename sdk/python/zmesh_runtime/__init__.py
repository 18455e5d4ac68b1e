"""The Python runtime of a function: loads the user's code and gives it the zmesh object.

Functions may import the types for their editor: ``from zmesh_runtime import Zmesh``.
"""

from zmesh_runtime.database import Database, Row, TransactionError
from zmesh_runtime.http import Request, Response
from zmesh_runtime.invocations import InvocationError
from zmesh_runtime.kept_files import take as keep_files
from zmesh_runtime.serving import load_once, serve
from zmesh_runtime.warming import preload, prepare
from zmesh_runtime.zmesh import Env, Invocation, Zmesh

__all__ = [
    "Database",
    "Env",
    "Invocation",
    "InvocationError",
    "Request",
    "Response",
    "Row",
    "TransactionError",
    "Zmesh",
    "keep_files",
    "load_once",
    "preload",
    "prepare",
    "serve",
]
