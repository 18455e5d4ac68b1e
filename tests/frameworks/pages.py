"""Examples of the guide about moving existing code, for tests that run them with the packages they need."""

from __future__ import annotations

import re

from tests.platform import REPOSITORY

GUIDE = REPOSITORY / "docs" / "guides" / "porting.md"


def example(name: str) -> str:
    """The block of this name."""
    [text] = re.findall(rf"^```\w+ {re.escape(name)}\n((?s:.*?))^```$", GUIDE.read_text("utf-8"), re.MULTILINE)
    return str(text)
