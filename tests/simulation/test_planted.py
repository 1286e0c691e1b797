"""The checker is checked: each planted fault breaks an invariant that it sees."""

from __future__ import annotations

import pytest

from tests.simulation import planted_erasing
from tests.simulation.planted import PLANTED, caught


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_caught(name: str) -> None:
    assert caught(name) is not None


@pytest.mark.parametrize("name", planted_erasing.PLANTED)
def test_a_planted_fault_of_erasures_is_caught(name: str) -> None:
    assert planted_erasing.found(name) is not None
