"""Whatever fails and whoever is killed, what must always hold does: many seeds, each a world of its own."""

from __future__ import annotations

import pytest

from tests.simulation.history import Recipe, live

SEEDS = range(8)
STEPS = 600


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed {seed}")
def test_what_must_always_hold_holds_in_any_weather(seed: int) -> None:
    lived = live(Recipe(seed, STEPS, students=6))
    assert lived.violations == ()
    assert lived.faults >= 10


def test_a_history_of_twenty_students_has_many_events_and_faults() -> None:
    lived = live(Recipe(100, 900, students=20))
    assert lived.violations == ()
    assert lived.events >= 200
    assert lived.faults >= 10


def test_a_seed_gives_the_same_history_again() -> None:
    assert live(Recipe(3, 200, students=6)) == live(Recipe(3, 200, students=6))
