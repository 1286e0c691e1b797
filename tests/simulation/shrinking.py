"""The smallest history that still fails: fewer events, students and troubles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.history import Recipe
from tests.simulation.weather import KINDS


def shrunk(recipe: Recipe, fails: Callable[[Recipe], bool]) -> Recipe:
    """The least that still fails, by bisection and leaving things out.

    A smaller history is another one, since chance decides otherwise in it: it is checked to fail, but a still
    smaller one may too. `recipe`: one that fails.
    """
    for kind in KINDS:
        without = replace(recipe, without=recipe.without | {kind})
        if fails(without):
            recipe = without
    while recipe.students > 1 and fails(fewer := replace(recipe, students=recipe.students // 2)):
        recipe = fewer
    low = 0  # does not fail, as far as is known
    while recipe.events - low > 1:
        middle = replace(recipe, events=(low + recipe.events) // 2)
        if fails(middle):
            recipe = middle
        else:
            low = middle.events
    return recipe
