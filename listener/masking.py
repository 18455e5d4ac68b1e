"""Masks secrets in texts, in time proportional to the text and not to the number of secrets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MASK = "***"
SHORTEST_MASKED = 6  # shorter values occur in many texts by chance
FEW = 32  # up to this many are searched for one by one, which is fast in C
# Comparisons allowed per character of a text. Where secrets start alike, more may be needed: then all of it is masked.
COMPARED_PER_CHARACTER = 256


class Masker:
    """The texts to mask: whole values, and each of their lines, since output is handled line by line."""

    def __init__(self, values: Iterable[str]) -> None:
        texts = {text for value in values for text in (value, *(line.strip() for line in value.splitlines()))}
        self._texts = frozenset(text for text in texts if len(text) >= SHORTEST_MASKED)
        # By their first characters. Most have a number, not a list, which the garbage collector would traverse.
        firsts: dict[str, int] = {}
        several: dict[str, set[int]] = {}
        for text in self._texts:
            start = text[:SHORTEST_MASKED]
            known = firsts.setdefault(start, len(text))
            if known != len(text):
                several.setdefault(start, set()).add(len(text))
        self._lengths: dict[str, int | list[int]] = {
            start: sorted({first, *several[start]}, reverse=True) if start in several else first
            for start, first in firsts.items()
        }

    def _lengths_at(self, text: str, at: int) -> Sequence[int]:
        """The lengths of the secrets that begin like the text at this position, longest first."""
        found = self._lengths.get(text[at : at + SHORTEST_MASKED], ())
        return (found,) if isinstance(found, int) else found

    def masked(self, text: str) -> str:
        """The text with a mask in place of each stretch of characters that one or more secrets cover."""
        if not self._texts or (len(self._texts) <= FEW and not any(secret in text for secret in self._texts)):
            return text
        pieces, shown_from, covered_to = [], 0, 0
        left = COMPARED_PER_CHARACTER * len(text)
        for at in range(len(text) - SHORTEST_MASKED + 1):
            for length in self._lengths_at(text, at):
                if at + length > len(text):
                    continue
                if at + length <= covered_to:
                    break  # shorter ones are covered as well
                left -= length
                if left < 0:
                    return MASK
                if text[at : at + length] not in self._texts:
                    continue
                if at >= covered_to:
                    pieces += [text[shown_from:at], MASK]
                shown_from = covered_to = at + length
                break
        return "".join([*pieces, text[shown_from:]])
