"""User code: compiled, and executed in a module of its own. What of the module is called, handlers.py decides."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import io
import linecache
import os
import sys
import types
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath

from zmesh_runtime import own_modules, packages
from zmesh_runtime.failures import syntax_failure

MODULE_NAME = "zmesh_function"
# A program finds its own modules first, but for those that the interpreter has loaded to start it.
LOADED_BY_INTERPRETER = {"encodings", "warnings"}
_source = ""
_module_name = MODULE_NAME


def load(code: str, filename: str) -> types.ModuleType:
    """Execute a function that is a single file."""
    module = types.ModuleType(MODULE_NAME)
    _execute(module, code, filename, os.path.abspath(filename))
    return module


def load_from_folder(code: str, filename: str, others: Iterable[str], *, in_place: bool = False) -> types.ModuleType:
    """Execute the entry file of a function that is a folder; it and the others are in the working directory. With
    `in_place` they are compiled under their full paths, by which debuggers know them."""
    global _module_name
    root, file, files = os.getcwd(), os.path.abspath(filename), {filename, *others}
    sys.dont_write_bytecode = True  # nobody would read it, and listings show the function's own files
    own_modules.install(root, shown_from=None if in_place else root)
    folder = os.path.dirname(file)
    if folder != root:
        sys.path.insert(0, folder)  # where a program finds its own modules
    _unload_shadowed(files)
    enter_folder(filename, files)
    package = _package_of(filename, files)
    name = _name_of(filename, package)
    if _is_regular(package, files):
        importlib.import_module(package)
        loaded = sys.modules.get(name)
        if loaded is not None and loaded.__file__ == file:
            _module_name = name
            return loaded  # it is the package, or was imported by it
    module = types.ModuleType(MODULE_NAME if name in sys.modules else name)
    module.__package__ = package
    try:
        _execute(module, code, file if in_place else filename, file)
    except ImportError as error:
        if not package and error.msg == "attempted relative import with no known parent package":
            error.msg += f': {filename} is in no package, so write "import x" instead of "from . import x"'
        raise
    if _is_regular(package, files):
        setattr(sys.modules[package], name.rpartition(".")[2], module)  # as if it had been imported
    return module


def enter_folder(filename: str, files: Iterable[str]) -> None:
    """Work in the function's own folder, from that of all its files."""
    os.chdir(_own_folder(filename, files))


def _own_folder(entry_file: str, files: Iterable[str]) -> str:
    """The first folder of the entry file, if shared ones stand beside it: those whose names begin with _."""
    first, slash, _ = entry_file.partition("/")
    has_shared = any(file.startswith("_") and "/" in file for file in files)
    return first if slash and has_shared and not first.startswith("_") else "."


def _execute(module: types.ModuleType, code: str, filename: str, file: str) -> None:
    global _source, _module_name
    code = code.removeprefix("\ufeff")  # a byte order mark, as some editors write it
    try:
        compiled = compile(code, filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise syntax_failure(error) from None
    _source, _module_name = code, module.__name__
    # Python ends lines as text files do, and not where str.splitlines() does as well: at form feeds, U+2028 and others.
    linecache.cache[filename] = (len(code), None, io.StringIO(code, newline=None).readlines(), filename)
    module.__file__ = file
    module.__dict__["__builtins__"] = builtins
    sys.modules[module.__name__] = sys.modules["__main__"] = module
    exec(compiled, module.__dict__)  # noqa: S102 - what this process is for


def _package_of(filename: str, files: Collection[str]) -> str:
    """The package that the module belongs to by its folders; "" where these can be none."""
    folders = filename.split("/")[:-1]
    package = ".".join(folders)
    taken = bool(folders) and folders[0] in sys.stdlib_module_names and not _is_regular(package, files)
    return "" if taken or not all(folder.isidentifier() for folder in folders) else package


def _name_of(filename: str, package: str) -> str:
    stem = PurePosixPath(filename).stem
    if not package:
        return stem
    return package if stem == "__init__" else f"{package}.{stem}"


def _is_regular(package: str, files: Collection[str]) -> bool:
    """Whether importing the package executes something."""
    folders = package.split(".") if package else []
    return any("/".join([*folders[:end], "__init__.py"]) in files for end in range(1, len(folders) + 1))


def _unload_shadowed(files: Iterable[str]) -> None:
    """Have the function's own modules found before those of Python with the same names that the runtime has loaded, and
    before packages that its template has imported."""
    paths = [file.split("/") for file in files if file.endswith(".py")]
    names = {path[0].removesuffix(".py") for path in paths if len(path) == 1 or path[1:] == ["__init__.py"]}
    loaded = {name for name in names if name in sys.stdlib_module_names or packages.has_imported(name)}
    for name in loaded.intersection(sys.modules) - LOADED_BY_INTERPRETER:
        if hasattr(sys.modules[name], "__file__") and sys.modules[name].__spec__.origin != "frozen":  # type: ignore[union-attr]
            for module in [one for one in sys.modules if one.partition(".")[0] == name]:
                del sys.modules[module]


def source() -> str:
    """The source text of the loaded module."""
    return _source


def module_name() -> str:
    """The name of the loaded module."""
    return _module_name


@contextlib.contextmanager
def undone(filename: str) -> Iterator[None]:
    """Undo what load() leaves in the interpreter, where a module of the function's may be loaded already."""
    global _source, _module_name
    source, name = _source, _module_name
    modules = {one: sys.modules.get(one) for one in (MODULE_NAME, "__main__")}
    try:
        yield
    finally:
        _source, _module_name = source, name
        linecache.cache.pop(filename, None)
        for one, module in modules.items():
            if module is None:
                sys.modules.pop(one, None)
            else:
                sys.modules[one] = module
