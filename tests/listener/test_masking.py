"""Secrets do not leave by what functions print, whatever secrets and lines there are."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from listener.environments import LIGHT
from listener.masking import COMPARED_PER_CHARACTER, FEW, MASK, SHORTEST_MASKED, Masker
from sandbox import LogLine, RunOutcome
from sql.secrets import purpose
from support.loop_watch import LIMIT_MS
from support.sealing import Sealer
from tests.databases import Database
from tests.listener.conftest import Running, ScriptedSandbox, eventually
from tests.loops import MachineStalls

words = st.text("abc\n", max_size=12)


def uncovered(text: str, secrets: list[str]) -> str:
    """The text with a mask for what secrets cover, found place by place."""
    hidden = {line for secret in secrets for line in (secret, *(line.strip() for line in secret.splitlines()))}
    runs: list[tuple[int, int]] = []
    for start in range(len(text)):
        for one in hidden:
            if len(one) >= SHORTEST_MASKED and text.startswith(one, start):
                runs.append((start, start + len(one)))
    covered = {place for start, end in runs for place in range(start, end)}
    begins = {start for start, _ in runs if not any(a < start < b for a, b in runs)}
    return "".join(
        (MASK if place in begins else "") if place in covered else character for place, character in enumerate(text)
    )


@given(st.text("abc\n", max_size=60), st.lists(words, max_size=6), st.booleans())
def test_everything_that_secrets_cover_is_masked_and_nothing_else(text: str, secrets: list[str], many: bool) -> None:
    masker = Masker([*secrets, *([f"padding {n}" for n in range(FEW)] if many else [])])
    assert masker.masked(text) == uncovered(text, secrets)


def test_two_secrets_that_overlap_are_hidden_together() -> None:
    assert Masker(["abcdefgh", "efghijkl"]).masked("<abcdefghijkl>") == f"<{MASK}>"


def test_a_text_that_costs_too_many_comparisons_is_hidden_altogether() -> None:
    alike = ["a" * length + "b" for length in range(6, 6 + 2 * COMPARED_PER_CHARACTER)]
    text = "a" * 10_000
    assert Masker(alike).masked(text) == MASK
    assert Masker(alike).masked(f"{'a' * 10}b!") == f"{MASK}!"


class CountedTexts(frozenset[str]):
    looked_up = 0

    def __contains__(self, text: object) -> bool:
        self.looked_up += 1
        return super().__contains__(text)


def test_what_is_masked_on_the_loop_takes_few_comparisons_whatever_the_secrets_are() -> None:
    masker = Masker(["a" * length + "b" for length in range(6, 60)])
    masker._texts = texts = CountedTexts(masker._texts)
    assert masker.masked("a" * LIGHT) == MASK
    assert 0 < texts.looked_up < 100_000


class Printing(ScriptedSandbox):
    """Each run has printed a thousand lines."""

    async def run(self, request, cancel, sink):  # type: ignore[no-untyped-def]
        self.runs.append(request)
        secret = next(iter(request.env.values())).splitlines()
        lines = [LogLine(datetime.now(UTC), "info", f"{n} {secret[n]}") for n in range(1000)]
        request.printed.extend(lines)
        return RunOutcome("success", "1", None, None, lines, 1, 1, 1)


async def test_many_large_secrets_hold_the_listener_up_for_nobody(
    database: Database, sandbox: ScriptedSandbox, running: Running
) -> None:
    project = database.project()
    database.function(project)
    sealer = Sealer(database.secret_key)
    for n in range(20):
        value = "\n".join(f"{n:02}{line:05}" for line in range(8000))
        name = f"SECRET_{n}"
        sealed = sealer.seal(value, purpose(project.id, None, name))
        database.rows("select zmesh.set_secret(%s, null, %s, %s)", project.id, name, sealed)
    sandbox.__class__ = Printing
    with MachineStalls() as stalls:
        async with running(slots=1) as listener:
            ids = database.enqueue(project, count=2)
            await eventually(
                lambda: database.value("select count(*) from zmesh.invocations where finished_at is not null") == 2,
                "the ends",
            )
    shown = {row["message"] for row in database.rows("select message from zmesh.logs where invocation_id = %s", ids[0])}
    assert shown == {f"{n} {MASK}" for n in range(1000)}
    assert listener.loop_watch.longest_ms < LIMIT_MS + stalls.longest_ms
