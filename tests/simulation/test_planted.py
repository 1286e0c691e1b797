"""The checker is checked: each fault that is planted in the shipped code breaks an invariant that it sees."""

from __future__ import annotations

import pytest

from tests.simulation.planted import FIRST_SEEN, PLANTED, TESTED, caught

SEEDS = 6
"""Lived at most for one fault: another change of the code may hide it from the seed that showed it first."""


@pytest.mark.parametrize("name", TESTED)
def test_a_planted_fault_is_caught(name: str) -> None:
    assert name in PLANTED
    assert caught(name, first=FIRST_SEEN.get(name, 0), seeds=SEEDS) is not None
