"""The checker is checked: each fault that is planted in the shipped code breaks an invariant that it sees."""

from __future__ import annotations

import pytest

from tests.simulation.history import Recipe, live
from tests.simulation.planted import PLANTED, caught


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_caught(name: str) -> None:
    assert caught(name) is not None


def test_the_same_seeds_find_nothing_in_what_is_shipped() -> None:
    assert live(Recipe(0, 200, students=6)).violations == ()
