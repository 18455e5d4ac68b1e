"""Which packages a function asks for, by the files beside its code or by the code itself.

API and command line find the manifest with the same function, so that both know whether a build is needed.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from packaging.utils import canonicalize_name

from support.locks import (
    LOCKS,
    NO_ADDRESSES,
    NPM_LOCK,
    NPM_NAME,
    NPM_RANGE,
    REQUIREMENTS_LOCK,
    UV_LOCK,
    ManifestError,
    check_requirements_lock,
    npm_lock,
    npm_lock_for,
    read_json,
    requirements_lock,
    uv_lock,
)

LARGEST_MANIFEST = 256 * 1024  # characters
LARGEST_LOCK = 2 * 1024 * 1024
MOST_PACKAGES = 1000
REGISTRIES = "registries"  # hosts, one a line

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*[ \t]*(?:\[[^\]]*\][ \t]*)?(?:$|[;<>=!~( \t])")
_HASH = re.compile(r"--hash[= ]sha(?:256|384|512):[0-9a-f]+")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_SCRIPT_START, _SCRIPT_END = "# /// script", "# ///"
_SCRIPT = re.compile(r"\.[cm]?[jt]sx?$")
_NPM = "npm:"
_MOST_NPM = 10_000  # places in the code where a package may be named
_BEFORE_NPM = re.compile(r"""\b(?:from|import|require)\s{0,20}+(?:\(\s{0,20})?["']$""")
_NPM_SPECIFIER = re.compile(r"""/?((?:@[\w.~-]{1,214}+/)?[\w.~-]{1,214}+)(?:@([^"'/\s]{1,200}+))?["'/]""")
_LONGEST_BEFORE_NPM = 50
DENO = ("deno.json", "deno.jsonc")
_NPM_TARGET = re.compile(r"npm:/?((?:@[\w.~-]+/)?[\w.~-]+)(?:@([^/]+))?(/.*)?")
_JSON_TEXT = r'("[^"\\]*+(?:\\.[^"\\]*+)*+"?)'
_JSON_COMMENT = re.compile(rf"{_JSON_TEXT}|//[^\n]*+|/\*(?:.*?\*/|.*)", re.DOTALL)
_JSON_COMMA = re.compile(rf"{_JSON_TEXT}|,(?=\s*+[\]}}])", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is to be installed: `files` are those that the installer of the runtime reads, and REGISTRIES, where its
    lock names any but the public ones. `requirements` are those of a Python manifest itself, without its lock."""

    runtime: str
    source: str
    files: dict[str, str]
    requirements: tuple[str, ...] = ()
    lock: str | None = None  # the file that is its lock

    @property
    def hash(self) -> str:
        """Equal for manifests that ask for the same."""
        return hashlib.sha256(json.dumps([self.runtime, self.files], sort_keys=True).encode()).hexdigest()


def manifest_of(language: str, code: str, files: Mapping[str, Any]) -> Manifest | None:
    """The manifest of a function; None where it asks for no package. Raises ManifestError."""
    return _of_python(code, files) if language == "python" else _of_node(code, files)


def lock_file(manifest: Manifest, files: Mapping[str, Any], lock: str) -> tuple[str, str]:
    """Name and content of the file that keeps what a build of this manifest locked, beside these files. Raises
    ManifestError."""
    if manifest.runtime == "python":
        return REQUIREMENTS_LOCK, requirements_lock(lock, manifest.requirements)
    return NPM_LOCK, npm_lock_for(_text(files, "package.json"), lock)


# In a process of its own


def is_costly(language: str, code: str, files: Mapping[str, Any]) -> bool:
    """Whether reading the manifest can take longer than a server's own process may be kept busy."""
    if language == "python":
        return not files.keys().isdisjoint({"pyproject.toml", UV_LOCK, REQUIREMENTS_LOCK}) or _SCRIPT_START in code
    return NPM_LOCK in files


def relevant_files(language: str, files: Mapping[str, Any]) -> dict[str, Any]:
    """Those in which packages are named."""
    named = {"requirements.txt", "pyproject.toml", "package.json", *DENO, *LOCKS}
    return {
        name: content if isinstance(content, str) else False  # no text, which is an error
        for name, content in files.items()
        if name in named or (language != "python" and _SCRIPT.search(name) and isinstance(content, str))
    }


def main() -> None:
    """Read language, code and files from standard input, and print what result_of() reads."""
    language, code, files = json.load(sys.stdin.buffer)
    try:
        manifest = manifest_of(language, code, files)
        found: dict[str, Any] = {"manifest": None if manifest is None else asdict(manifest)}
    except ManifestError as error:
        found = {"error": str(error)}
    json.dump(found, sys.stdout)


def result_of(output: bytes) -> Manifest | None:
    """The manifest that main() has found. Raises ManifestError."""
    found = json.loads(output)
    if "error" in found:
        raise ManifestError(found["error"])
    manifest = found["manifest"]
    return None if manifest is None else Manifest(**{**manifest, "requirements": tuple(manifest["requirements"])})


def _text(files: Mapping[str, Any], name: str, limit: int = LARGEST_MANIFEST) -> str | None:
    text = files.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise ManifestError(f"{name} is not a text file")
    if len(text) > limit:
        raise ManifestError(f"{name} is larger than {limit // 1024} KiB")
    return text


# Python


def _of_python(code: str, files: Mapping[str, Any]) -> Manifest | None:
    project = _text(files, "pyproject.toml")
    for source, requirements in (
        ("requirements.txt", _requirements(_text(files, "requirements.txt"))),
        ("pyproject.toml", _project_dependencies(project)),
        ("the script metadata", _script_dependencies(code)),
    ):
        if requirements:
            if len(requirements) > MOST_PACKAGES:
                raise ManifestError(f"{source} lists more than {MOST_PACKAGES} packages")
            for requirement in requirements:
                _check_requirement(source, requirement)
            return _locked_python(source, requirements, files)
    if project is not None:
        _check_lists_elsewhere(_toml("pyproject.toml", project))
    return None


def _check_lists_elsewhere(project: dict[str, Any]) -> None:
    """Refuse lists of packages that are not read, rather than ignore them silently."""
    standard, tool = project.get("project"), project.get("tool")
    poetry = tool.get("poetry") if isinstance(tool, dict) else None
    listed = poetry.get("dependencies") if isinstance(poetry, dict) else None
    hint = "list the packages in dependencies of [project]"
    if isinstance(listed, dict) and listed.keys() - {"python"}:
        raise ManifestError(f"pyproject.toml: [tool.poetry.dependencies] is not read: {hint}, as Poetry 2 does")
    dynamic = standard.get("dynamic") if isinstance(standard, dict) else None
    if isinstance(dynamic, list) and "dependencies" in dynamic:
        raise ManifestError(f"pyproject.toml: dynamic dependencies are not read: {hint}")


def _locked_python(source: str, requirements: list[str], files: Mapping[str, Any]) -> Manifest:
    uv = _text(files, UV_LOCK, LARGEST_LOCK) if source == "pyproject.toml" else None
    own = _text(files, REQUIREMENTS_LOCK, LARGEST_LOCK)
    if uv is not None and own is not None:
        raise ManifestError(f"{UV_LOCK} and {REQUIREMENTS_LOCK} are both there: delete one of them")
    texts, lock = {"requirements.txt": "\n".join(requirements) + "\n"}, None
    if uv is not None:
        lock, locked = UV_LOCK, uv_lock(uv, requirements)
        for line in locked.text.splitlines():  # its names, versions and markers can hold anything
            _check_requirement(UV_LOCK, line)
        texts = {"requirements.txt": locked.text, **_registries(locked.registries)}
    elif own is not None:
        lock, pins = REQUIREMENTS_LOCK, _requirements(own)
        for pin in pins:
            _check_requirement(REQUIREMENTS_LOCK, pin)
        check_requirements_lock(own, pins, source, requirements)
        texts = {"requirements.txt": "\n".join(pins) + "\n"}
    elif source == "pyproject.toml":
        _check_uv_sources(files["pyproject.toml"], requirements)
    return Manifest("python", source, texts, tuple(requirements), lock)


def _registries(hosts: frozenset[str]) -> dict[str, str]:
    return {REGISTRIES: "\n".join(sorted(hosts))} if hosts else {}


def _check_uv_sources(text: str, requirements: list[str]) -> None:
    """A package that uv would take from elsewhere must not be looked up in the registry of all others."""
    tool = _toml("pyproject.toml", text).get("tool")
    uv = tool.get("uv") if isinstance(tool, dict) else None
    sources = uv.get("sources") if isinstance(uv, dict) else None
    elsewhere = set(map(canonicalize_name, sources)) if isinstance(sources, dict) else set()
    for requirement in requirements:
        name = canonicalize_name(re.split(r"[^A-Za-z0-9._-]", requirement)[0])
        if name in elsewhere:
            hint = (
                f"name the registry of the project: zmesh registries set python URL --packages {name}, and run uv lock"
            )
            raise ManifestError(f"pyproject.toml: [tool.uv.sources] of {name} counts only with a {UV_LOCK}: {hint}")


def _requirements(text: str | None) -> list[str]:
    """The lines of requirements.txt, without comments, and joined where they end in a backslash."""
    lines: list[str] = []
    words: list[str] = []  # of the line that is joined
    for line in [*(text or "").removeprefix("\ufeff").splitlines(), ""]:
        line = _COMMENT.sub("", line).rstrip()
        words += line.removesuffix("\\").split()
        if not line.endswith("\\") and words:
            lines.append(" ".join(words))
            words = []
    return lines


def _check_requirement(source: str, line: str) -> None:
    wanted = _HASH.sub("", line)
    if line.startswith("-"):
        hint = "list the packages themselves; registries are settings of the listener"
        raise ManifestError(f'{source}: the option "{line.split()[0][:100]}" is not supported: {hint}')
    if not _REQUIREMENT.match(line) or "@" in wanted.partition(";")[0] or "--" in wanted or "${" in wanted:
        hint = 'give name and version, such as "requests>=2.31"; addresses, paths and options are not supported'
        raise ManifestError(f'{source}: "{line[:100]}" is not a requirement of a package in a registry: {hint}')


def _toml(source: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers with too many digits
        raise ManifestError(f"{source} is not valid TOML: {error}") from None


def _project_dependencies(text: str | None) -> list[str]:
    if text is None:
        return []
    project = _toml("pyproject.toml", text).get("project", {})
    return _strings("pyproject.toml", project.get("dependencies", []) if isinstance(project, dict) else [])


def _script_dependencies(code: str) -> list[str]:
    """PEP 723: a comment block `# /// script` with TOML in it."""
    lines = [line.rstrip() for line in code.splitlines()] if _SCRIPT_START in code else []
    if _SCRIPT_START not in lines:
        return []
    start = lines.index(_SCRIPT_START) + 1
    stop = next((n for n in range(start, len(lines)) if not lines[n].startswith("#")), len(lines))
    end = next((n for n in reversed(range(start, stop)) if lines[n] == _SCRIPT_END), None)
    if end is None:
        raise ManifestError(f'the script metadata has no end: close the block with a line "{_SCRIPT_END}"')
    if _SCRIPT_START in lines[start:]:
        raise ManifestError("the code has more than one block of script metadata")
    text = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines[start:end])
    if len(text) > LARGEST_MANIFEST:
        raise ManifestError(f"the script metadata is larger than {LARGEST_MANIFEST // 1024} KiB")
    return _strings("the script metadata", _toml("the script metadata", text).get("dependencies", []))


def _strings(source: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ManifestError(f"{source}: dependencies must be a list of strings")
    return [" ".join(item.split()) for item in value]


# JavaScript and TypeScript


def _of_node(code: str, files: Mapping[str, Any]) -> Manifest | None:
    wanted, optional = _package_dependencies(_text(files, "package.json"))
    mapped = [*_mapped_by_deno(files)]
    source = "package.json" if wanted or optional else DENO[0] if mapped else "npm: imports"
    for name, version in (*mapped, *_npm_imports(code, files)):
        if wanted.setdefault(name, version or "*") != version and version:
            raise ManifestError(f'the version of {name} is given twice: "{wanted[name]}" and "{version}"')
    if not wanted and not optional:
        return None
    if len(wanted) + len(optional) > MOST_PACKAGES:
        raise ManifestError(f"{source} lists more than {MOST_PACKAGES} packages")
    for name, version in (*wanted.items(), *optional.items()):
        _check_npm(source, name, version)
    package: dict[str, Any] = {"name": "function", "version": "0.0.0", "private": True, "dependencies": wanted}
    if optional:
        package["optionalDependencies"] = optional
    texts = {"package.json": json.dumps(package, sort_keys=True)}
    if (text := _text(files, NPM_LOCK, LARGEST_LOCK)) is None:
        return Manifest("node", source, texts)
    lock = npm_lock(text, package)
    return Manifest("node", source, {**texts, NPM_LOCK: lock.text, **_registries(lock.registries)}, lock=NPM_LOCK)


def _package_dependencies(text: str | None) -> tuple[dict[str, str], dict[str, str]]:
    if text is None:
        return {}, {}
    package = read_json("package.json", text)
    found: list[dict[str, str]] = []
    for section in ("dependencies", "optionalDependencies"):
        listed = package.get(section) or {}
        if not isinstance(listed, dict) or not all(isinstance(version, str) for version in listed.values()):
            raise ManifestError(f"package.json: {section} must be an object of versions by name")
        found.append(dict(sorted(listed.items())))
    return found[0], found[1]


def _mapped_by_deno(files: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and version of each npm package in the import map of Deno's configuration. Other targets are not refused
    here, since the code may import only types from them."""
    for file in DENO:
        if (text := _text(files, file)) is None:
            continue
        mapped = read_json(file, _without_comments(text)).get("imports")
        for name, target in sorted(mapped.items()) if isinstance(mapped, dict) else ():
            if isinstance(target, str) and (found := _NPM_TARGET.fullmatch(target)):
                yield _mapped(file, name.removesuffix("/"), found[1], found[2] or "*", found[3])


def _mapped(file: str, name: str, package: str, version: str, path: str | None) -> tuple[str, str]:
    if path not in (None, "/"):
        hint = f'import "npm:{package}@{version}{path}" in the code'
        raise ManifestError(f'{file}: "{name}" is mapped to a path in a package, which is not supported: {hint}')
    return name, version if name == package else f"npm:{package}@{version}"


def _without_comments(text: str) -> str:
    """JSON of a file that may have comments, and commas before closing brackets, as Deno allows."""
    plain = _JSON_COMMENT.sub(lambda found: found[1] or " ", text)
    return _JSON_COMMA.sub(lambda found: found[1] or "", plain)


def _npm_imports(code: str, files: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and version of each `npm:name@version` that the code imports."""
    scripts = (text for name, text in sorted(files.items()) if _SCRIPT.search(name))
    texts = [text for text in (code, *scripts) if isinstance(text, str)]
    if sum(text.count(_NPM) for text in texts) > _MOST_NPM:
        raise ManifestError(f'the code contains "{_NPM}" more than {_MOST_NPM:,} times')
    yield from sorted({match for text in texts for match in _npm_specifiers(text)})


def _npm_specifiers(text: str) -> Iterator[tuple[str, str]]:
    """Looked for from each `npm:` on: a search of all the text takes seconds where much is alike."""
    at = -1
    while (at := text.find(_NPM, at + 1)) >= 0:
        if not _BEFORE_NPM.search(text[max(0, at - _LONGEST_BEFORE_NPM) : at]):
            continue
        if found := _NPM_SPECIFIER.match(text, at + len(_NPM)):
            yield found[1], found[2] or ""


def _check_npm(source: str, name: str, version: str) -> None:
    if not NPM_NAME.fullmatch(name) or len(name) > 214:
        raise ManifestError(f'{source}: "{name[:100]}" is not a name of a package')
    wanted = version
    if version.startswith("npm:"):  # an alias
        other, _, wanted = version[4:].rpartition("@")
        if not NPM_NAME.fullmatch(other):
            raise ManifestError(f'{source}: "{version[:100]}" is not an alias of a package')
    if not NPM_RANGE.fullmatch(wanted):
        raise ManifestError(f'{source}: {name}: "{version[:100]}" is not a version in a registry: {NO_ADDRESSES}')


if __name__ == "__main__":
    main()
