"""The supported charsets: a short list. Some of Python's codecs take time quadratic in the length of the text, and
others are not charsets."""

from __future__ import annotations

import codecs
from email.message import Message

from api.http.json_scanning import SLICE
from api.http.problems import Problem

CHARSETS = frozenset(
    {
        *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "ascii"),
        *("iso8859-1", "iso8859-2", "iso8859-15", "cp1250", "cp1251", "cp1252", "koi8-r"),
        *("shift_jis", "euc_jp", "gbk", "gb18030", "big5", "euc_kr"),
    }
)
LISTED = "utf-8, utf-16, us-ascii, iso-8859-1, iso-8859-2, iso-8859-15, windows-1250, windows-1251, windows-1252, \
koi8-r, shift_jis, euc-jp, gbk, gb18030, big5, euc-kr"
LONGEST_NAME = 40


def charset_of(content_type: str) -> str:
    """The codec of a Content-Type; UTF-8 if it names no charset. Raises Problem 415 for an unsupported one."""
    message = Message()
    message["content-type"] = content_type
    named = message.get_param("charset", "utf-8") or "utf-8"
    name = named if isinstance(named, str) else named[2]
    try:
        codec = codecs.lookup(name[:LONGEST_NAME]).name
    except (LookupError, ValueError):
        codec = ""
    if codec not in CHARSETS:
        raise Problem(
            415,
            "unsupported_charset",
            f"The charset {name[:LONGEST_NAME]!a} is not supported.",
            f"Send UTF-8, or one of {LISTED}; send arbitrary bytes as application/octet-stream.",
        )
    return codec


def decoded(body: bytes, codec: str) -> str:
    """The text of these bytes, slice by slice. Raises Problem 400 where they are not in this charset."""
    decoder = codecs.getincrementaldecoder(codec)()
    pieces = []
    try:
        for start in range(0, len(body), SLICE):
            pieces.append(decoder.decode(body[start : start + SLICE]))
        pieces.append(decoder.decode(b"", final=True))
    except UnicodeError as error:
        raise Problem(
            400,
            "malformed_text",
            f"The body is not valid {codec}: {getattr(error, 'reason', error)}.",
            "Name the charset of the text in Content-Type, as in: text/plain; charset=iso-8859-1.",
        ) from error
    return "".join(pieces)
