"""Whether a text of SQL would end the transaction that it runs in.

PostgreSQL's own rules of quoting are not repeated here. A statement begins at the beginning of the text or behind a
semicolon, so every semicolon is looked at, also one within a literal: that refuses some harmless texts, such as
'a; commit;', and lets none pass that is not.
"""

from __future__ import annotations

import re

_WORD = re.compile(rb"[A-Za-z_]+")
_SPACE = re.compile(rb"[ \t\n\r\f\v]+")
_LINE_COMMENT = re.compile(rb"--[^\n\r]*")
_COMMENT_MARK = re.compile(rb"/\*|\*/")
_ENDS = {b"commit", b"end", b"rollback", b"abort"}
_GO_ON = {b"work", b"transaction", b"and", b"prepared"}  # what may follow; anything else is another statement, or none
_MOST_SKIPPED = 64 * 1024  # beside the text's length: comments can be nested behind each semicolon


def ends_transaction(text: bytes) -> bool:
    """True for every text with COMMIT, END, ROLLBACK, ABORT or PREPARE TRANSACTION as a statement, in any spelling; not
    for ROLLBACK TO a savepoint."""
    budget = len(text) + _MOST_SKIPPED
    start = 0
    while start >= 0:
        first = _skip(text, start)
        budget -= first - start
        if word := _WORD.match(text, first):
            second = _skip(text, word.end())
            budget -= second - word.end()
            if _is_end(word[0].lower(), text, second):
                return True
        if budget < 0:
            return True  # comments within comments, to keep us busy
        start = text.find(b";", start) + 1 or -1
    return False


def _is_end(word: bytes, text: bytes, second: int) -> bool:
    following = _WORD.match(text, second)
    name = following[0].lower() if following else b""
    if word == b"prepare":
        return name == b"transaction"
    if word not in _ENDS:
        return False
    if following is None:
        return second >= len(text) or text[second : second + 1] == b";"
    return name in _GO_ON


def _skip(text: bytes, at: int) -> int:
    """Behind white space and comments, which nest."""
    while True:
        if found := _SPACE.match(text, at) or _LINE_COMMENT.match(text, at):
            at = found.end()
        elif text.startswith(b"/*", at):
            at = _end_of_comment(text, at)
        else:
            return at


def _end_of_comment(text: bytes, at: int) -> int:
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, at):
        depth += 1 if mark[0] == b"/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)
