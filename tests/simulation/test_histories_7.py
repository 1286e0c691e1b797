"""Whatever fails and whoever is killed, what must always hold does: fixed seeds, chapter 7."""

from __future__ import annotations

import pytest

from tests.simulation.chapter import holds, seeds


@pytest.mark.parametrize("seed", seeds(6), ids=lambda seed: f"seed {seed}")
def test_what_must_always_hold_holds_in_any_weather(seed: int) -> None:
    holds(seed)
