"""Texts for people."""

from __future__ import annotations


def sentence(text: str) -> str:
    """The text as a sentence: with a full stop, unless it ends with a punctuation mark."""
    return text if text.endswith((".", "?", "!")) else f"{text}."
