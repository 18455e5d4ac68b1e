"""Reports which functions cannot load: parses their code without executing it.

Started by the API as a process of its own; reads a JSON list of {filename, entry_point, code, files} from standard
input, and writes a JSON list with null or {type, message, stack} for each. Of the files of a folder, path → text or
{base64}, those are parsed that the entry file imports, and what they import.
"""

from __future__ import annotations

import ast
import difflib
import json
import posixpath
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

USUAL_NAMES = {"app", "application"}  # of an ASGI or WSGI application
APPLICATIONS = {
    *("FastAPI", "Flask", "Litestar", "Quart", "Sanic", "Starlette", "Bottle"),
    *("get_asgi_application", "get_wsgi_application"),
}
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


def fault_of(filename: str, entry_point: str, code: str, files: dict[str, Any]) -> dict[str, Any] | None:
    """Why the code cannot load; None where it can, or where that does not show without running it."""
    texts = {path: text for path, text in files.items() if path.endswith(".py") and isinstance(text, str)}
    trees: dict[str, ast.Module] = {}
    waiting = [filename]
    try:
        while waiting:
            path = waiting.pop()
            trees[path] = _parsed(path, code if path == filename else texts[path])
            if (fault := _missing_import(path, trees[path], {filename, *files})) is not None:
                return fault
            imported = _imported(path, trees[path], [posixpath.dirname(filename), ""])
            waiting += {file for file in imported if file in texts and file not in trees}
    except (SyntaxError, ValueError) as error:
        stack = "".join(traceback.format_exception_only(error))
        return {"type": "syntax_error", "message": str(error), "stack": stack}
    except (RecursionError, MemoryError):
        return None  # a function may have more of both
    return _fault_of_entry_point(trees[filename], entry_point)


def _parsed(path: str, code: str) -> ast.Module:
    tree = ast.parse(code.removeprefix("\ufeff"), path)
    compile(tree, path, "exec", dont_inherit=True)
    return tree


def _imported(path: str, tree: ast.Module, roots: list[str]) -> Iterator[str]:
    """Paths of the files that a module may import, if they are there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names, bases = [alias.name for alias in node.names], roots
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [module, *(f"{module}.{alias.name}".lstrip(".") for alias in node.names)]
            bases = [posixpath.join(path, *[".."] * node.level)] if node.level else roots
        else:
            continue
        for base in bases:
            for name in filter(None, names):
                parts = name.split(".")
                for end in range(1, len(parts) + 1):
                    stem = posixpath.normpath(posixpath.join(base, *parts[:end]))
                    yield from (f"{stem}.py", f"{stem}/__init__.py")


def _missing_import(path: str, tree: ast.Module, files: set[str]) -> dict[str, Any] | None:
    """A relative import at the top level, where nothing catches its error, that no file of the function can be."""
    folders = {posixpath.dirname(file) for file in files}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        shown = "." * node.level + (node.module or "")
        if "/" not in path:
            why = f'{path} is in no package: write "import x" instead of "from . import x"'
        else:
            base = posixpath.normpath(posixpath.join(path, *[".."] * node.level, *(node.module or "").split(".")))
            found = any(file.startswith((f"{base}.", f"{base}/")) for file in files) or base in folders
            if found or not node.module:
                continue
            why = "no file of the function has this path"
        message = f"{path}:{node.lineno} imports {shown}, which is not there ({why})"
        return {"type": "import_not_found", "message": message, "stack": f'File "{path}", line {node.lineno}'}
    return None


def _fault_of_entry_point(tree: ast.Module, entry_point: str) -> dict[str, Any] | None:
    if not _is_missing(tree, entry_point):
        return None
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    meant = difflib.get_close_matches(entry_point, functions, 1, 0.6)
    hint = f"; did you mean {meant[0]}?" if meant else f"; it has {', '.join(functions[:10])}" if functions else ""
    if (name := _application(tree)) is not None:
        hint = f'; to run the application "{name}", name it app, or deploy with --entry-point {name}'
    message = f'the code has no function "{entry_point}"{hint}'
    return {"type": "entry_point_missing", "message": message, "stack": None}


def _application(tree: ast.Module) -> str | None:
    """The first top-level name that is assigned an application of a web framework, as the called name tells."""
    for node in tree.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id=made) | ast.Attribute(attr=made))
            ):
                if made in APPLICATIONS:
                    return name
    return None


def _is_missing(tree: ast.Module, entry_point: str) -> bool:
    """Whether it is certain that no name in the module is the entry point."""
    names = {name for node in ast.walk(tree) for name in _names(node)}
    return not names & {entry_point, *USUAL_NAMES, "*", *DYNAMIC}


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
    faults = [fault_of(job["filename"], job["entry_point"], job["code"], job.get("files", {})) for job in jobs]
    json.dump(
        [fault and {name: text and text[:LARGEST_TEXT] for name, text in fault.items()} for fault in faults], sys.stdout
    )


if __name__ == "__main__":
    main()
