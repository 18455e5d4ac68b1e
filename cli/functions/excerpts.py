"""Errors of a run with the lines of the author's files where they arose."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from cli.errors import CliError
from cli.output import progress, style

CONTEXT = 2  # lines before the one that failed
LONGEST_LINE = 200
MOST_FRAMES = 10
_PYTHON = re.compile(r'^ *File "(?P<path>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<where>\S+))?$')
_JAVASCRIPT = re.compile(
    r"^ +at (?:(?:async )?(?P<where>[^(\n]+) \()?(?:async )?(?P<path>[^()\n:]+):(?P<line>\d+):(?P<column>\d+)\)?$"
)
_SYNTAX_ERROR = re.compile(r"^(?P<path>[^\s:][^:\n]*):(?P<line>\d+)$")
_CARETS = re.compile(r"^(?P<before>[ \t]*)(?P<carets>[~^]+) *$")
SUFFIXES = {"python": "py", "javascript": "js", "typescript": "ts"}
Texts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """A place in the author's files, with the columns that are meant, where those are known."""

    path: str
    line: int
    where: str = ""
    column: int | None = None
    carets: str = "^"


def frames_of(stack: str, files: Texts) -> list[Frame]:
    """The places of a stack that are in these files, the innermost first."""
    lines = stack.splitlines()
    found: list[Frame] = []
    innermost_last = False
    for number, line in enumerate(lines):
        match = _PYTHON.match(line) or _JAVASCRIPT.match(line) or _SYNTAX_ERROR.match(line)
        if match is None or not isinstance(files.get(match["path"]), str):
            continue
        innermost_last |= match.re is _PYTHON
        parts = match.groupdict()
        frame = Frame(match["path"], int(match["line"]), (parts.get("where") or "").strip())
        found.append(_with_columns(frame, parts.get("column"), lines[number + 1 :], files))
    return found[::-1] if innermost_last else found


def _with_columns(frame: Frame, column: str | None, below: Sequence[str], files: Texts) -> Frame:
    if column is not None:
        return Frame(frame.path, frame.line, frame.where, int(column))
    source = _line(files[frame.path], frame.line)
    # Carets stand below a copy of the line, which Python indents in its own way.
    for shown, carets in pairwise(below):
        match = _CARETS.match(carets)
        if match and shown.strip() == source.strip():
            indented = len(source) - len(source.lstrip()) - (len(shown) - len(shown.lstrip()))
            return Frame(frame.path, frame.line, frame.where, len(match["before"]) + indented + 1, match["carets"])
        if _PYTHON.match(shown):
            break
    return frame


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number - 1] if 0 < number <= len(lines) else ""


def excerpt(frame: Frame, text: str, shown_path: str) -> list[str]:
    """The place, and the lines around it with carets below the columns that are meant."""
    column = f":{frame.column}" if frame.column else ""
    said = [f"  {style(f'{shown_path}:{frame.line}{column}', fg='cyan')}"]
    width = len(str(frame.line))
    for number in range(max(1, frame.line - CONTEXT), frame.line + 1):
        line = _line(text, number).replace("\t", " ")[:LONGEST_LINE]
        gutter = style(f"{number:>{width}} │", dim=True)
        if number < frame.line:
            said.append(f"    {gutter} {style(line, dim=True)}".rstrip())
        else:
            said.append(f"  {style('›', fg='red', bold=True)} {gutter} {line}".rstrip())
    if frame.column and frame.column + len(frame.carets) <= LONGEST_LINE:
        before = " " * (frame.column - 1)
        said.append(f"    {' ' * width} {style('│', dim=True)} {before}{style(frame.carets, fg='red', bold=True)}")
    return said


def texts_of(function: Mapping[str, Any], slug: str) -> Texts:
    """Its files by the paths that errors name."""
    return function["files"] or {f"{slug}.{SUFFIXES[function['language']]}": function["code"]}


def located(place: str, source: Path, function: Mapping[str, Any]) -> str:
    """The place of a syntax error in a function, shown as lines of the author's file if it names one."""
    name = function["name"]
    texts = {**texts_of(function, name), **texts_of(function, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"))}
    frames = frames_of(place, texts)
    if not frames:
        return place
    path = shown_path(source, frames[0].path) if function["files"] else str(source)
    return "\n".join(excerpt(frames[0], texts[frames[0].path], path))


def located_in(error: CliError, functions: Mapping[Path, Mapping[str, Any]]) -> str:
    """The same for an error whose message begins with the name of one of these functions."""
    for source, function in functions.items():
        if error.message.startswith(f'"{function["name"]}":'):
            return located(error.place, source, function)
    return error.place


def show_error(error: Mapping[str, Any], files: Texts, source: Path) -> None:
    """Type and message, where in the files of `source` it arose, and from where that was called."""
    message = error["message"].rstrip()
    progress(f"{style(error['type'], fg='red', bold=True)}: {message}".rstrip(": "))
    stack = (error.get("stack") or "").rstrip()
    frames = frames_of(stack, files)
    if not frames:
        if stack and stack not in (message, f"{error['type']}: {message}"):
            progress(style(stack, dim=True))
        return
    first, *callers = frames
    for line in excerpt(first, files[first.path], shown_path(source, first.path)):
        progress(line)
    for frame in callers[:MOST_FRAMES]:
        where = f" in {frame.where}" if frame.where else ""
        progress(style(f"  called from {shown_path(source, frame.path)}:{frame.line}{where}", dim=True))
    for line in stack.splitlines():
        if line.startswith(("caused by:", "Caused by:")):
            progress(style(f"  {line}", dim=True))


def shown_path(source: Path, path: str) -> str:
    """A path among the files of a function as the author's shell and editor know it."""
    for folder in (source, source.parent):
        if (folder / path).is_file():
            return str(folder / path)
    return path
