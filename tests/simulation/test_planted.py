"""The checker is checked: each fault that is planted in the shipped code breaks an invariant that it sees."""

from __future__ import annotations

import pytest

from tests.simulation.planted import PLANTED, caught


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_caught(name: str) -> None:
    assert caught(name) is not None
