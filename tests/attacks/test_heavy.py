"""The attacks that take a machine's time; `make attack` runs them."""

from __future__ import annotations

import pytest

from tests.attacks.battle import Battle, assert_repelled, assert_unharmed, fight
from tests.attacks.catalogue import HEAVY, Attack
from tests.attacks.conftest import Arena

ATTACKS = HEAVY


@pytest.fixture(scope="module")
def battle(arena: Arena) -> Battle:
    return fight(arena, ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.slug)
def test_an_attack_gets_nothing(battle: Battle, attack: Attack) -> None:
    assert_repelled(battle, attack)


def test_the_neighbours_notice_nothing(battle: Battle, arena: Arena) -> None:
    assert_unharmed(battle, arena)
