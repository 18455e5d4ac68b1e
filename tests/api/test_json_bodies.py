"""JSON of clients is checked without an object for each value, and as strictly as if there were one."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.charsets import decoded
from api.http.json_bodies import MIB, check_json, has_nul
from api.http.json_scanning import SLICE, has_escaped_nul, has_more_values_than, has_number_out_of_range
from api.http.problems import Problem
from api.invoking import payloads
from api.invoking.payloads import _storable

texts = st.text(st.sampled_from('"\\e9+1,:[]{} \x00u0é'), max_size=30)
numbers = st.sampled_from(["1e400", "-1E+999", "1e308", "1e-999", "0", "9" * 400, "9" * 5000, "1.5e0003", "0e999"])
scalars = st.one_of(texts.map(json.dumps), numbers, st.just("null"))
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(texts.map(json.dumps), inner, max_size=4).map(
            lambda members: "{" + ",".join(f"{name}:{value}" for name, value in members.items()) + "}"
        ),
    ),
    max_leaves=20,
)


def values_of(text: str) -> list[Any]:
    found, waiting = [], [json.loads(text, parse_int=lambda digits: 0 if len(digits) <= 4300 else math.inf)]
    while waiting:
        found.append(one := waiting.pop())
        if isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one
    return found


@given(documents)
def test_the_scanner_sees_what_a_parser_sees(text: str) -> None:
    values = values_of(text)
    assert has_escaped_nul(text) == has_nul(json.loads(text, parse_int=lambda _: 0))
    assert has_number_out_of_range(text) == any(isinstance(one, float) and math.isinf(one) for one in values)
    # Empty arrays and objects count one more than they have.
    empty = sum(one in ([], {}) for one in values if isinstance(one, dict | list))
    assert has_more_values_than(len(values) + empty - 1, text)
    assert not has_more_values_than(len(values) + empty, text)


@pytest.mark.parametrize("number", ["1e999", "-1E+400", "7" * 4400])
@pytest.mark.parametrize("padding", [0, SLICE - 5, SLICE - 2, 2 * SLICE])
def test_a_number_out_of_range_is_found_wherever_it_is(number: str, padding: int) -> None:
    before = '"' + "x" * padding + '"'
    with pytest.raises(Problem, match="out of range"):
        check_json(f"[{before},{number}]".encode())
    assert check_json(f'[{before},"{number}, {number}"]'.encode())


@pytest.mark.parametrize("text", [r'["\ud800"]', r'["\uDc00", 1]'])
def test_half_of_a_surrogate_pair_is_named(text: str) -> None:
    with pytest.raises(Problem, match="surrogate"):
        check_json(text.encode())


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "shift_jis"])
def test_characters_across_slices_stay_whole(codec: str) -> None:
    text = "x" + "日本" * SLICE
    assert decoded(text.encode(codec), codec) == text


class CountedText(str):
    """A text that counts the characters that are looked at one by one, and those that searches pass over."""

    looked_at = 0

    def __getitem__(self, key: Any) -> str:
        self.looked_at += 1
        return super().__getitem__(key)

    def find(self, *arguments: Any) -> int:
        found = super().find(*arguments)
        self.looked_at += (len(self) if found < 0 and len(arguments) < 3 else arguments[2] if found < 0 else found) - (
            arguments[1] if len(arguments) > 1 else 0
        )
        return found


@pytest.mark.parametrize(
    "piece", ["e999", "1e999", "E+999", "1e9999,", " 1e999 ", "9", " " + "9" * 4400 + " ", '\\" 1e999 ']
)
def test_the_effort_for_numbers_in_a_string_grows_with_its_length_only(piece: str) -> None:
    text = CountedText('[" ' + piece * (40_000 // len(piece)) + ' "]')
    assert not has_number_out_of_range(text)
    assert text.looked_at < 20 * len(text)


@pytest.mark.parametrize("character", ["\x01", '"', "\\", "é", "\U0001f680", "a"])
def test_text_of_several_slices_becomes_one_json_string(character: str) -> None:
    text = "x" + character * (SLICE + 1)
    assert json.loads(_storable(text)) == text
    fields: dict[str, str | list[str]] = {"a": [text, ""], character: "1"}
    assert json.loads(_storable(fields)) == fields


def test_no_more_than_a_slice_of_text_is_escaped_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def encode(text: str) -> bytes:
        sizes.append(len(text))
        return msgspec.json.encode(text)

    monkeypatch.setattr(payloads, "msgspec", SimpleNamespace(json=SimpleNamespace(encode=encode)))
    _storable("\x01" * (3 * SLICE + 1))
    _storable({"a": "\x01" * (3 * SLICE + 1)})
    assert max(sizes) == SLICE


@pytest.mark.parametrize("value", ["\x01" * (2 * MIB), {"a": "\x01" * (2 * MIB)}])
def test_text_that_is_too_large_once_it_is_escaped_is_refused_before_all_of_it_is(
    value: str | dict[str, str | list[str]],
) -> None:
    with pytest.raises(Problem, match="larger than 8 MiB"):
        _storable(value)
