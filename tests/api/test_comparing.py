"""Diffs of versions are correct, limited in time, and slow nobody else down."""

from __future__ import annotations

import difflib
import time
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from api.management.comparing import unified_diff
from tests.api.client import PASSWORD, Api

lines = st.lists(st.sampled_from("abcd"), max_size=30)
NAMES = ("before", "after")


@given(lines, lines)
def test_a_diff_is_the_one_of_the_standard_library(old: list[str], new: list[str]) -> None:
    ours = unified_diff(old, new, NAMES, time.monotonic() + 60).splitlines()
    theirs = list(difflib.unified_diff(old, new, *NAMES, lineterm=""))
    assert applied(old, ours) == applied(old, theirs) == new


@given(lines, lines)
def test_a_diff_that_ran_out_of_time_is_still_a_diff(old: list[str], new: list[str]) -> None:
    assert applied(old, unified_diff(old, new, NAMES, 0).splitlines()) == new


def applied(old: list[str], diff: list[str]) -> list[str]:
    """What `patch` makes of it."""
    new: list[str] = []
    at = 0
    for line in diff[2:]:
        if line.startswith("@@"):
            start, _, length = line.split()[1].removeprefix("-").partition(",")
            first = int(start) - (length != "0")
            new += old[at:first]
            at = first
        elif line[0] == "+":
            new.append(line[1:])
        else:
            assert old[at] == line[1:]
            at += 1
            if line[0] == " ":
                new.append(line[1:])
    return new + old[at:]


def test_many_diffs_of_a_viewer_keep_nobody_from_logging_in(api: Api) -> None:
    blocks = [[f"{n % 150}" for n in range(start, start + 18_000)] for start in (0, 7)]
    for block in blocks:
        block[::149] = [f"line {n} of {len(block[0])}" for n in range(len(block[::149]))]
    api.deploy(code="def handler(payload, zmesh):\n    pass\n" + "\n".join(f"# {line}" for line in blocks[0]))
    changed = {
        "code": "def handler(payload, zmesh):\n    return 1\n" + "\n".join(f"# {x}" for x in reversed(blocks[1]))
    }
    assert api.call("PATCH", "/functions/greet", json=changed).status_code == 200
    api.change_role("viewer")
    email = api.database.value("select email from zmesh.users where id = %s", api.user_id)
    with ThreadPoolExecutor(10) as threads:
        diffs = [threads.submit(api.call, "GET", "/functions/greet/versions/2/diff") for _ in range(10)]
        login = api.client.post(f"{api.url}/auth/login", json={"email": email, "password": PASSWORD})
        assert login.status_code == 200, login.text
        answers = [diff.result() for diff in diffs]
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 429}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 429} == {"too_many_comparisons"}
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 429)
