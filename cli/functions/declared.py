"""Functions as a project folder declares them: which files and folders they are, and with which settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.errors import CliError, did_you_mean
from cli.functions.deploying import is_function_or_file, read_function
from cli.functions.folders import SETTINGS, read_folder
from cli.manifest import (
    FunctionSettings,
    ProjectFile,
    Shares,
    check_inside,
    is_project,
    read_function_file,
    read_project_file,
)

FUNCTIONS = "functions"
OF_PROJECTS = "secrets"  # only the deployment of a whole project checks that they are set
OF_RUNS = ("entry_point", "style", "timeout_ms", "memory_mb", "env", "network")
Function = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Declared:
    """A function with what is declared of it: `settings` as the API calls them, those of the project over those of the
    function's own folder."""

    code: Function
    settings: Mapping[str, Any]
    aliases: Mapping[str, Shares] = field(default_factory=dict)
    in_project: bool = True

    @property
    def function(self) -> Function:
        """All that can be deployed without the rest of the project."""
        return {**self.code, **{name: value for name, value in self.settings.items() if name != OF_PROJECTS}}

    @property
    def settings_of_runs(self) -> Mapping[str, Any]:
        """What a run of it is like; in a project, what is left out has its default."""
        known = {_api_name(name): default for name, default in _defaults(OF_RUNS).items()}
        declared = {name: value for name, value in self.settings.items() if name in known}
        return {**known, **declared} if self.in_project else declared


def declared_function(source: Path, name: str | None, settings: FunctionSettings) -> Declared:
    """The function of a file or folder, with these settings of its project. Raises CliError."""
    own = read_function_file(source) if source.is_dir() else FunctionSettings()
    with_entry = settings.entry is not None and source.is_dir()
    code = read_folder(source, name, settings.entry) if with_entry else read_function(source, name)
    return Declared(code, {**own.fields(), **settings.fields()}, {**own.aliases, **settings.aliases})


def read_declared(source: Path, name: str | None = None) -> Declared:
    """The function of a file or folder, with what the project around it declares of it, or of `name`. Raises
    CliError."""
    root = next((folder for folder in source.absolute().parents if is_project(folder)), None)
    file = read_project_file(root) if root else ProjectFile()
    known = name or (_name_in_project(root, file, source) if root else None)
    if root is None or known is None or not (known in file.functions or _is_in_functions(root, source)):
        alone = declared_function(source, name, FunctionSettings())
        return Declared(alone.code, alone.settings, in_project=False)
    return declared_function(source, known, file.functions.get(known, FunctionSettings()))


def _name_in_project(root: Path, file: ProjectFile, source: Path) -> str | None:
    for name, settings in file.functions.items():
        if settings.path is not None and (root / settings.path).resolve() == source.resolve():
            return name
    if not _is_in_functions(root, source):
        return None
    path = _as_named(source)
    return path.name if path.is_dir() else path.stem


def _is_in_functions(root: Path, source: Path) -> bool:
    return _as_named(source).parent.resolve() == (root / FUNCTIONS).resolve()


def _as_named(source: Path) -> Path:
    """The path without . and .., but with links kept: what they lead to may have another name."""
    return Path(os.path.abspath(source))


def read_functions(sources: Sequence[Path], name: str | None = None) -> dict[Path, Function]:
    """What each file or folder is as a function, with its settings. Raises CliError, also where two are of one
    function."""
    functions = {source: read_declared(source, name).function for source in sources}
    first: dict[str, Path] = {}
    for file, function in functions.items():
        other = first.setdefault(function["name"], file)
        if other != file:
            raise CliError(
                f'{other} and {file} both define the function "{function["name"]}". Nothing was deployed.',
                code="name_taken",
                hint="Rename one of them, or deploy it alone with --name.",
            )
    return functions


def with_resets(function: Mapping[str, Any], before: Mapping[str, Any]) -> Function:
    """A function to deploy, with the default of each setting that was declared `before` and is not any more."""
    defaults = {_api_name(name): value for name, value in _defaults(FunctionSettings.model_fields).items()}
    gone = {name: defaults[name] for name in before.keys() - function.keys() if name in defaults}
    variables = {**dict.fromkeys(before.get("env_vars", {})), **function.get("env_vars", {})}  # None removes one
    return {**function, **gone, **({"env_vars": variables} if variables else {})}


def _defaults(names: Any) -> dict[str, Any]:
    return {name: FunctionSettings.model_fields[name].get_default() for name in names}


def _api_name(name: str) -> str:
    return "env_vars" if name == "env" else name


def sources_of_functions(root: Path, file: ProjectFile) -> dict[str, Path]:
    """The file or folder of each function, by name. Raises CliError."""
    found, without_code = find_sources(root, file)
    if without_code:
        raise without_code[0]
    return found


def find_sources(root: Path, file: ProjectFile) -> tuple[dict[str, Path], list[CliError]]:
    """The file or folder of each function, by name: those in functions/, and those whose path is declared. Also an
    error for each function that is declared but has no code. Raises CliError if two have the same name."""
    declared = {name: root / settings.path for name, settings in file.functions.items() if settings.path}
    taken = {path.resolve() for path in declared.values()}
    folder = root / FUNCTIONS
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        name = path.name if path.is_dir() else path.stem
        is_one = is_function_or_file(path) or (path.is_dir() and name in file.functions and file.functions[name].entry)
        if path.resolve() in taken or not is_one:
            continue
        if other := found.get(name) or declared.get(name):
            raise CliError(
                f'{other} and {path} both define the function "{name}".',
                code="name_taken",
                hint="Rename one of them.",
            )
        found[name] = path
    for path in (*found.values(), *declared.values()):
        check_inside(root, path)
    without_code = [name for name in file.functions if name not in found and name not in declared]
    return found | declared, [_no_code(root, name, found) for name in without_code]


def _no_code(root: Path, name: str, found: Mapping[str, Path]) -> CliError:
    folder = root / FUNCTIONS
    return CliError(
        f'{root / SETTINGS}: [functions.{name}] has no code: there is no file or folder "{name}" in {folder}.',
        code="file_not_found",
        hint=did_you_mean(name, found) or "Add it, or set its location: path = …",
    )
