"""A failing history is made smaller as long as it fails."""

from __future__ import annotations

from tests.simulation.history import Recipe
from tests.simulation.shrinking import shrunk


def test_what_is_not_needed_to_fail_is_left_out() -> None:
    def fails(recipe: Recipe) -> bool:
        return recipe.events >= 37 and recipe.students >= 3 and "kill" not in recipe.without

    least = shrunk(Recipe(seed=5, events=900, students=20), fails)
    assert (least.events, least.students) == (37, 5)
    assert "kill" not in least.without
    assert {"drift", "replay", "relay"} <= least.without
    assert least.options.startswith("--seed 5 --events 37 --students 5 --without ")
