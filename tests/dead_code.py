"""Finds code that nothing uses: `python -m tests.dead_code`, a part of `make lint`.

Vulture knows names only, so what others call by name is listed here with the reason. Fields of classes are left out:
JSON and SQL read them by name.
"""

from __future__ import annotations

import ast
import functools
import sys
from pathlib import Path

from vulture import Vulture
from vulture.core import Item

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = ("api", "cli", "listener", "observing", "sandbox", "sdk/python", "sql", "support", "zmesh")
TEMPLATES = str(REPOSITORY / "cli" / "templates" / "*")  # what a person would write
CALLERS = ("bench", "hatch_build.py")  # what they use is used
DECORATORS = ["@*.command", "@pytest.*", "@click.*", "@*validator", "@*serializer", "@*.callback"]
USED_BY_OTHERS = {
    "a class of a framework calls or reads it": {
        *("pytest_configure", "autocommit", "commands", "nonblocking", "disconnected", "force_exit", "handle_exit"),
        *("model_config", "msg", "receive_router", "redirect_request", "render", "request_body"),
        *(
            "formatMessage",
            "_transport",
            "waiting_for_100_continue",
            "data_received",
            "eof_received",
            "to_asgi_response",
            "formatter_class",
            "write_heading",
            "format_commands",
        ),
    },
    "a setting of a library": {"tempdir", "_name_sequence", "authkey"},
    "Python itself reads it": {
        *(
            "__class__",
            "__package__",
            "__stdout__",
            "__stderr__",
            "dont_write_bytecode",
            "exec_prefix",
            "lastResort",
            "showwarning",
        ),
    },
    "functions of users use it": {
        *("projectId", "queryAll", "queryOne", "rawPath", "rawQuery", "rootPath", "unparsedReason"),
        *("function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb", "aws_request_id"),
        *("log_group_name", "log_stream_name", "client_context", "get_remaining_time_in_millis"),
    },
    "tests of users use it": {"advance", "set_request"},
    "only a type in quotes": {"AbstractLoader"},
    "tests compare metrics and events with the documentation by it": {"observed", "subscribed"},
    "tests compare it with other languages": {"LARGEST_PLANS", "LARGEST_PLAN", "javascript_name"},
}


def main() -> int:
    """The exit status; what is unused is printed."""
    vulture = Vulture(ignore_decorators=DECORATORS, ignore_names=sorted(set().union(*USED_BY_OTHERS.values())))
    vulture.scavenge([str(REPOSITORY / name) for name in (*ROOMS, *CALLERS)], exclude=[TEMPLATES])
    unused = [item for item in vulture.get_unused_code() if _is_ours(item) and not _is_field(item)]
    for item in unused:
        print(f"{item.filename.relative_to(REPOSITORY)}:{item.first_lineno}: unused {item.typ} {item.name}")
    if unused:
        print("Remove it, or add its name with the reason to tests/dead_code.py.", file=sys.stderr)
    return 1 if unused else 0


def _is_ours(item: Item) -> bool:
    return any(item.filename.is_relative_to(REPOSITORY / room) for room in ROOMS)


def _is_field(item: Item) -> bool:
    """Whether it is annotated in the body of a class."""
    return item.typ == "variable" and (item.name, item.first_lineno) in _fields_in(item.filename)


@functools.cache
def _fields_in(file: Path) -> set[tuple[str, int]]:
    classes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef)]
    fields = [line.target for node in classes for line in node.body if isinstance(line, ast.AnnAssign)]
    return {(field.id, field.lineno) for field in fields if isinstance(field, ast.Name)}


if __name__ == "__main__":
    sys.exit(main())
