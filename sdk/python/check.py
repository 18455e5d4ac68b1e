"""Says which functions cannot load: parses their code, and executes none of it.

Started by the API as a process of its own; reads a JSON list of {filename, entry_point, code} from standard input,
and writes a JSON list with null or {type, message, stack} for each.
"""

from __future__ import annotations

import ast
import difflib
import json
import sys
import traceback
import warnings
from typing import Any

LARGEST_TEXT = 8 * 1024  # of a message, which has the line of the code in it
# With these, a module may define names that do not occur in its text.
DYNAMIC = {
    "globals",
    "locals",
    "vars",
    "exec",
    "eval",
    "compile",
    "setattr",
    "sys",
    "inspect",
    "__dict__",
    "__import__",
}


def fault_of(filename: str, entry_point: str, code: str) -> dict[str, Any] | None:
    """Why the code cannot load; None where it can, or where that does not show without running it."""
    try:
        tree = ast.parse(code.removeprefix("\ufeff"), filename)
        compile(tree, filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        stack = "".join(traceback.format_exception_only(error))
        return {"type": "syntax_error", "message": str(error), "stack": stack}
    except (RecursionError, MemoryError):
        return None  # a function may have more of both
    if not _is_missing(tree, entry_point):
        return None
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    meant = difflib.get_close_matches(entry_point, functions, 1, 0.6)
    hint = f"; did you mean {meant[0]}?" if meant else f"; it has {', '.join(functions[:10])}" if functions else ""
    message = f'the code has no function "{entry_point}"{hint}'
    return {"type": "entry_point_missing", "message": message, "stack": None}


def _is_missing(tree: ast.Module, entry_point: str) -> bool:
    """Whether it is certain that no name of the module is the entry point."""
    names = {name for node in ast.walk(tree) for name in _names(node)}
    return not names & {entry_point, "*", *DYNAMIC}


def _names(node: ast.AST) -> list[str]:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return [name]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.ExceptHandler(name=str(name)):
            return [name]
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return [part for alias in aliases for part in (alias.asname or alias.name).split(".")]
        case ast.MatchMapping(rest=str(name)):
            return [name]
    return []


def main() -> None:
    """Read jobs from standard input and write the faults."""
    warnings.simplefilter("ignore")
    jobs = json.load(sys.stdin)
    faults = [fault_of(job["filename"], job["entry_point"], job["code"]) for job in jobs]
    json.dump(
        [fault and {name: text and text[:LARGEST_TEXT] for name, text in fault.items()} for fault in faults], sys.stdout
    )


if __name__ == "__main__":
    main()
