"""The smallest history that still fails: fewer steps, fewer students, fewer kinds of deeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.history import Recipe
from tests.simulation.world import OPTIONAL


def shrunk(recipe: Recipe, fails: Callable[[Recipe], bool]) -> Recipe:
    """The least that still fails, found by bisection and by leaving out one thing after the other.

    A smaller history is another one, since chance decides otherwise in it: that it fails is made sure of, and
    that nothing smaller does is not.

    Args:
        recipe: one that fails.
    """
    for deed in OPTIONAL:
        without = replace(recipe, without=recipe.without | {deed})
        if fails(without):
            recipe = without
    while recipe.students > 1 and fails(fewer := replace(recipe, students=recipe.students // 2)):
        recipe = fewer
    low = 0  # does not fail, as far as is known
    while recipe.steps - low > 1:
        middle = replace(recipe, steps=(low + recipe.steps) // 2)
        if fails(middle):
            recipe = middle
        else:
            low = middle.steps
    return recipe
