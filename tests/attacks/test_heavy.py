"""The attacks that take a machine's time; `make attack` runs them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.attacks.battle import Battle, assert_repelled, assert_unharmed, fight
from tests.attacks.catalogue import HEAVY, Attack
from tests.attacks.conftest import Arena
from tests.sandbox.test_frames import TWO_RUNS, assert_each_decides_its_own_outcome_only

ATTACKS = HEAVY


@pytest.fixture(scope="module")
def battle(arena: Arena) -> Battle:
    return fight(arena, ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.slug)
def test_an_attack_gets_nothing(battle: Battle, attack: Attack) -> None:
    assert_repelled(battle, attack)


def test_the_neighbours_notice_nothing(battle: Battle, arena: Arena) -> None:
    assert_unharmed(battle, arena)


@pytest.mark.timeout(900)
@settings(deadline=None, max_examples=3000, suppress_health_check=[HealthCheck.too_slow])
@given(*TWO_RUNS)
def test_a_run_decides_its_own_outcome_only(
    streams: tuple[bytes, bytes], cuts: list[int], printed: bytes, report: object
) -> None:
    """As in the tests of the sandbox, for longer."""
    assert_each_decides_its_own_outcome_only(streams, cuts, printed, report)
