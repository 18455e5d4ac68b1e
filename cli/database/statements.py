"""Where a statement of SQL ends: at a semicolon outside of quotes, comments and bodies of functions."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
      (?P<line_comment>--[^\n]*)
    | (?P<comment>/\*)
    | (?P<quoted>[eE]'[^'\\]*(?:(?:''|\\.)[^'\\]*)*' | '[^']*(?:''[^']*)*' | "[^"]*(?:""[^"]*)*"
        | (?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?P=tag))
    | (?P<open>['"] | \$(?:[^\W\d]\w*)?\$)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)
_EDGE_OF_COMMENT = re.compile(r"/\*|\*/")
_ROUTINES = ("function", "procedure")


def split(text: str) -> tuple[list[str], str]:
    """The statements that end in the text, without their semicolons, and the rest. What holds nothing but comments is
    left out of the statements, and the rest is empty if that is all there is in it."""
    statements: list[str] = []
    start, has_code, position = 0, False, 0
    body = _Body()
    while (token := _TOKEN.search(text, position)) is not None:
        has_code = has_code or bool(text[position : token.start()].strip())
        position = token.end()
        if token["comment"]:
            position = _end_of_comment(text, position)
        elif token["open"]:
            return statements, text[start:]
        elif token["end"] and not body.depth:
            statements += [text[start : token.start()].strip()] if has_code else []
            start, has_code, body = position, False, _Body()
        elif not token["line_comment"]:
            has_code = True
            body.add((token["word"] or "").lower())
    is_code = has_code or bool(text[position:].strip()) or position > len(text)
    return statements, text[start:] if is_code else ""


class _Body:
    """Whether we are in the body of a routine, `begin atomic … end`, whose statements end with semicolons too."""

    def __init__(self) -> None:
        self.depth = 0
        self._words: list[str] = []

    def add(self, word: str) -> None:
        if len(self._words) < 4:  # create or replace function
            self._words.append(word)
        if self._words[0] != "create" or not any(name in self._words for name in _ROUTINES):
            return
        if word == "begin" or (word == "case" and self.depth):
            self.depth += 1
        elif word == "end" and self.depth:
            self.depth -= 1


def _end_of_comment(text: str, position: int) -> int:
    """Where the comment ends that has just begun; beyond the text if it does not. Comments may be nested."""
    depth = 1
    while depth:
        edge = _EDGE_OF_COMMENT.search(text, position)
        if edge is None:
            return len(text) + 1
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return position
