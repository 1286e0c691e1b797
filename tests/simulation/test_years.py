"""Five years of a small university, and faults that two years show."""

from __future__ import annotations

import pytest

from tests.simulation.years.__main__ import SMALL, found
from tests.simulation.years.history import five_years
from tests.simulation.years.planted import PLANTED


def test_five_years_end_as_the_registrar_s_truth_has_them() -> None:
    lived = five_years(seed=1, size=40)
    assert lived.wrong == []
    assert [year.entries > 0 for year in lived.years] == [True] * 5
    for what in (
        "returns",
        "changes",
        "leaves",
        "holds",
        "expired",
        "erased",
        "held",
        "kept_open",
        "drift",
        "killed",
    ):
        assert sum(getattr(year, what) for year in lived.years) > 0, what


def test_without_a_fault_the_short_years_show_nothing() -> None:
    assert five_years(*SMALL).wrong == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_fault_in_the_shipped_code_is_seen(name: str) -> None:
    assert found(name)
