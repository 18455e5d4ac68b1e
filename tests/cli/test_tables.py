"""Tables fit the terminal, and break lines between words as long as that is possible."""

from __future__ import annotations

import pytest

from cli.output import print_table

SCHEDULES = [
    ["nightly-report", "nightly-report", "*/5 8-17 * * 1-5", "America/New_York", "2026-11-30 13:00:00"],
    ["", "report", "30 2 * * *", "", "paused"],
]


@pytest.mark.parametrize("columns", [72, 80, 100])
def test_a_table_that_is_too_wide_breaks_lines_between_words(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(("schedule", "function", "cron", "time zone", "next"), SCHEDULES, "")
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= columns
    assert sorted(printed.split()) == sorted(
        " ".join(["schedule function cron time zone next", *map(" ".join, SCHEDULES)]).split()
    )


def test_words_longer_than_the_terminal_are_broken_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("name", "text"), [["a" * 30, "b" * 30]], "")
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 20
    assert (printed.count("a") - 1, printed.count("b")) == (30, 30)
