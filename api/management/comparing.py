"""Diffs between versions of a function's code and files, in bounded time."""

from __future__ import annotations

import base64
import time
from difflib import Match, SequenceMatcher
from typing import Literal
from uuid import UUID

import msgspec

from api.http.problems import invalid
from api.management.models.files import FileChange
from api.management.turns import ProjectTurns
from support.executors import Executor

SECONDS = 2.0  # then what is left is shown as replaced
CONTEXT = 3  # lines around a change
AT_ONCE_OF_A_PROJECT = 2
MOST_LINES = 20_000  # of code, or of files that are compared at once
MOST_CHARACTERS = 4 * 1024 * 1024
Action = Literal["added", "removed", "changed"]
_COMPARING = Executor("comparing", 1, most_waiting=16)


class Comparisons:
    """Unified diffs, computed in a separate thread, a few at once for each project."""

    def __init__(self) -> None:
        self._turns = ProjectTurns(
            "too_many_comparisons", "comparisons", at_once=AT_ONCE_OF_A_PROJECT, most=AT_ONCE_OF_A_PROJECT
        )

    async def diff(self, project_id: UUID, old: str, new: str, names: tuple[str, str]) -> str:
        """A unified diff. Raises Problem 422 for too many lines, 429 if the project has too many comparisons in
        progress, and Busy if all projects together do."""
        async with self._turns.turn(project_id):
            return await _COMPARING.run(_diff_of_code, old, new, names, time.monotonic() + SECONDS)

    async def files(self, project_id: UUID, old: str, new: str) -> dict[str, FileChange]:
        """The files that differ, of two JSON objects of paths and contents. Raises as diff() does."""
        async with self._turns.turn(project_id):
            return await _COMPARING.run(changed_files, old, new, time.monotonic() + SECONDS)


class _BoundedMatcher(SequenceMatcher[str]):
    """Stops matching once its time is up: the diff is then valid, but not the shortest."""

    def __init__(self, old: list[str], new: list[str], until: float) -> None:
        super().__init__(None, old, new)
        self._until = until

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Match:
        if time.monotonic() > self._until:
            return Match(alo, blo, 0)
        return super().find_longest_match(alo, ahi, blo, bhi)


def _diff_of_code(old: str, new: str, names: tuple[str, str], until: float) -> str:
    before, after = old.splitlines(), new.splitlines()  # a megabyte of short lines takes longer than an event loop has
    if max(len(before), len(after)) > MOST_LINES:
        raise invalid("version", f"the code has more than {MOST_LINES} lines, too many to compare")
    return unified_diff(before, after, names, until)


def changed_files(old: str, new: str, until: float) -> dict[str, FileChange]:
    """Every file that differs, with its diff as long as all that is compared is not too much."""
    before, after = (msgspec.json.decode(text, type=dict[str, str | dict[str, str]]) for text in (old, new))
    changed: dict[str, FileChange] = {}
    lines = characters = 0
    for path in sorted(before.keys() | after.keys()):
        a, b = before.get(path), after.get(path)
        if a == b:
            continue
        action: Action = "added" if a is None else "removed" if b is None else "changed"
        texts = [text or "" for text in (a, b) if not isinstance(text, dict)]
        lines += sum(text.count("\n") for text in texts)
        characters += sum(map(len, texts))
        diff = None
        if len(texts) == 2 and lines <= MOST_LINES and characters <= MOST_CHARACTERS:
            diff = unified_diff(texts[0].splitlines(), texts[1].splitlines(), (path, path), until)
        changed[path] = FileChange(action=action, before=_size(a), after=_size(b), diff=diff)
    return changed


def _size(content: str | dict[str, str] | None) -> int | None:
    if content is None:
        return None
    return len(content.encode()) if isinstance(content, str) else len(base64.b64decode(content["base64"]))


def unified_diff(old: list[str], new: list[str], names: tuple[str, str], until: float) -> str:
    """The lines that differ, with their surroundings; nothing where none does."""
    same = 0  # at the beginning: the rest is quicker to compare
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    kept = max(0, same - CONTEXT)
    lines: list[str] = []
    for group in _BoundedMatcher(old[kept:], new[kept:], until).get_grouped_opcodes(CONTEXT):
        (_, a, _, b, _), (_, _, a_end, _, b_end) = group[0], group[-1]
        lines.append(f"@@ -{_range(a + kept, a_end + kept)} +{_range(b + kept, b_end + kept)} @@")
        for tag, i, i_end, j, j_end in group:
            if tag == "equal":
                lines += (f" {line}" for line in old[kept + i : kept + i_end])
                continue
            lines += (f"-{line}" for line in old[kept + i : kept + i_end])
            lines += (f"+{line}" for line in new[kept + j : kept + j_end])
    head = [f"--- {names[0]}", f"+++ {names[1]}"] if lines else []
    return "".join(f"{line}\n" for line in [*head, *lines])


def _range(start: int, end: int) -> str:
    """As `diff -u` writes it: lines count from 1, an empty range names the line before it."""
    length = end - start
    if length == 1:
        return f"{start + 1}"
    return f"{start + 1 if length else start},{length}"
