"""A command that waits shows on the terminal that it does."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from tests.platform import REPOSITORY, clean_environment

WAITS = """
import sys, time
from cli.output import progress
from cli.waiting import moving

with moving("waiting for the server"):
    time.sleep(float(sys.argv[1]))
    progress("a line")
    time.sleep(0.15)
print("done", file=sys.stderr)
"""


def on_a_terminal(seconds: float) -> str:
    """What the program writes there."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", WAITS, str(seconds)]
    environment = {**clean_environment(), "NO_COLOR": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(command, stderr=theirs, cwd=REPOSITORY, env=environment, check=False)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 65536):
            text += part
    except OSError:  # all is read
        pass
    os.close(ours)
    assert done.returncode == 0
    return text.decode()


def test_a_line_moves_until_it_is_over_and_leaves_nothing_behind() -> None:
    shown = on_a_terminal(0.65)
    before, _, after = shown.partition("a line")
    assert "\r\x1b[2K⠋ waiting for the server … 1 s" in before or "⠋ waiting for the server … 0 s" in before
    assert "⠙ waiting" in before
    assert before.endswith("\r\x1b[2K")
    assert "⠹ waiting" in after
    assert after.endswith("\r\x1b[2Kdone\r\n")


def test_what_is_soon_over_shows_no_line() -> None:
    assert "waiting" not in on_a_terminal(0)


def test_programs_see_no_line() -> None:
    done = subprocess.run([sys.executable, "-c", WAITS, "0.6"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stderr == "a line\ndone\n"


@pytest.mark.parametrize(("text", "sentence"), [("It broke", "It broke."), ("Broken.", "Broken."), ("Why?", "Why?")])
def test_a_sentence_ends_once(text: str, sentence: str) -> None:
    from support.texts import sentence as made

    assert made(text) == sentence
