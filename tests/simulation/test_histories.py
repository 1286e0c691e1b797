"""The invariants hold through any failure or kill: the fixed seeds."""

from __future__ import annotations

import pytest

from tests.simulation.history import EVENTS, STUDENTS, Recipe, live

SEEDS = 128
FAULTS_MIN = 10


@pytest.mark.parametrize("seed", range(SEEDS), ids=lambda seed: f"seed {seed}")
def test_what_must_always_hold_holds_in_any_weather(seed: int) -> None:
    recipe = Recipe(seed)
    lived = live(recipe)
    again = f"\nlive it again: python -m tests.simulation.soak --once {recipe.options}"
    assert not lived.violations, (
        "\n".join(f"{each.invariant}: {each.what}" for each in lived.violations) + again
    )
    assert recipe.students == STUDENTS >= 20
    assert lived.events >= EVENTS >= 200
    assert lived.faults_in_all >= FAULTS_MIN
