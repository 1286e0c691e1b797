"""A chapter: some of the fixed seeds, for one file of tests, so that several of them are lived at once."""

from __future__ import annotations

from tests.simulation.history import EVENTS, STUDENTS, Recipe, live

CHAPTER = 26
"""Seeds in one file."""

FAULTS_MIN = 10


def seeds(chapter: int) -> range:
    """The seeds of this chapter, from 0."""
    return range(chapter * CHAPTER, (chapter + 1) * CHAPTER)


def holds(seed: int) -> None:
    """Live a seed, and see that what must always hold did. How to live it again stands in what fails."""
    recipe = Recipe(seed)
    lived = live(recipe)
    again = f"\nlive it again: python -m tests.simulation.soak --once {recipe.options}"
    assert not lived.violations, (
        "\n".join(f"{each.invariant}: {each.what}" for each in lived.violations) + again
    )
    assert recipe.students == STUDENTS >= 20
    assert lived.events >= EVENTS >= 200
    assert lived.faults_in_all >= FAULTS_MIN
