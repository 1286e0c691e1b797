"""Erased persons are gone, returned ones served, through any failure or kill."""

from __future__ import annotations

import pytest

from tests.simulation.erasing import PEOPLE, lived

SEEDS = 10


@pytest.mark.parametrize("seed", range(SEEDS))
def test_who_is_erased_is_nowhere_and_who_is_back_is_served(seed: int) -> None:
    ends, broken = lived(seed)
    assert broken == []
    assert set(ends) <= {"done", "done, back", "withdrawn, back"}
    assert ends.total() == PEOPLE
