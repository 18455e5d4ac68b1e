"""Every attack as a deployed function: what it achieved, and how its neighbours fared meanwhile."""

from __future__ import annotations

import pytest

from tests.attacks.battle import Battle, assert_repelled, assert_unharmed, fight
from tests.attacks.catalogue import ESCAPES, RESOURCES, SECRETS, Attack
from tests.attacks.conftest import Arena

ATTACKS = [*SECRETS, *ESCAPES, *RESOURCES]


@pytest.fixture(scope="module")
def battle(arena: Arena) -> Battle:
    return fight(arena, ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.slug)
def test_an_attack_gets_nothing(battle: Battle, attack: Attack) -> None:
    assert_repelled(battle, attack)


def test_the_neighbours_notice_nothing(battle: Battle, arena: Arena) -> None:
    assert_unharmed(battle, arena)
