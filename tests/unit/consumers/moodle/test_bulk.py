"""Calls below PHP's limit, and a bad row found by halving."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.kit.deadline import OutOfTime
from consumers.moodle.bulk import carry, chunks, rows_per_call
from consumers.moodle.errors import Broken, MoodleRefused, OutcomeUnknown, WriteRefused


@given(
    fields=st.integers(1, 12),
    limit=st.integers(50, 10_000),
    at_most=st.integers(1, 1000),
    others=st.integers(0, 3),
)
def test_a_call_stays_below_the_sites_limit(fields: int, limit: int, at_most: int, others: int) -> None:
    rows = rows_per_call(fields, max_input_vars=limit, at_most=at_most, others=others)
    assert 1 <= rows <= at_most
    assert 3 + others + rows * fields < limit
    assert rows == at_most or 3 + others + (rows + 1) * fields >= limit
    assert isinstance(rows, int)


def test_a_row_of_more_fields_than_fit_is_sent_alone() -> None:
    assert rows_per_call(60, max_input_vars=50, at_most=10) == 1


def test_the_measured_batches_fit_phps_default() -> None:
    assert rows_per_call(6, max_input_vars=1000, at_most=50) == 50
    assert rows_per_call(4, max_input_vars=1000, at_most=240) == 240
    assert rows_per_call(4, max_input_vars=1000, at_most=1000) == 249


class Site:
    """Takes rows all or nothing, and refuses a call that holds a bad one."""

    def __init__(self, bad: set[int], error: Exception) -> None:
        self.bad = bad
        self.error = error
        self.taken: list[int] = []
        self.calls: list[tuple[int, ...]] = []

    def __call__(self, rows: Sequence[int]) -> list[str]:
        self.calls.append(tuple(rows))
        if self.bad & set(rows):
            raise self.error
        self.taken += rows
        return [f"id{row}" for row in rows]


@given(
    rows=st.lists(st.integers(0, 500), unique=True, max_size=120),
    bad=st.sets(st.integers(0, 500), max_size=8),
    size=st.integers(1, 60),
)
def test_halving_finds_exactly_the_bad_rows_and_every_other_is_taken_once(
    rows: list[int], bad: set[int], size: int
) -> None:
    site = Site(bad, MoodleRefused("invalidparameter"))
    report = carry(rows, size, site)
    assert {failure.row for failure in report.failed} == bad & set(rows)
    assert all(failure.alone for failure in report.failed)
    assert report.accepted == [(row, f"id{row}") for row in rows if row not in bad]
    assert site.taken == [row for row in rows if row not in bad]


def test_one_bad_row_of_fifty_costs_few_calls() -> None:
    site = Site({37}, MoodleRefused("invalidparameter"))
    carry(range(50), 50, site)
    assert len(site.calls) <= 1 + 2 * 6


@pytest.mark.parametrize("error", [WriteRefused("dmlwriteexception"), Broken("PHP died")])
def test_one_row_that_breaks_the_site_is_found_as_well(error: Exception) -> None:
    report = carry(range(50), 50, Site({13}, error))
    assert [(failure.row, failure.alone) for failure in report.failed] == [(13, True)]


@pytest.mark.parametrize("error", [WriteRefused("dmlwriteexception"), Broken("PHP died")])
def test_a_site_that_refuses_everybody_is_not_asked_row_by_row(error: Exception) -> None:
    """Fifty rows take six halvings to one of them: after twice that and two more, it is the site."""
    site = Site(set(range(50)), error)
    report = carry(range(50), 50, site)
    assert sorted(failure.row for failure in report.failed) == list(range(50))
    assert all(failure.error is error for failure in report.failed)
    assert [failure.alone for failure in report.failed] == [True] * 6 + [False] * 44
    borne = [50, 25, 12, 6, 3, 1, 2, 1, 1, 3, 1, 2, 1, 1]
    assert [len(calls) for calls in site.calls] == [*borne, 6, 13, 25]
    taken = Site(set(range(1, 50)), error)
    carry(range(50), 50, taken)
    borne = [2, 1, 1, 3, 1, 2, 1, 1, 6, 3, 1, 2, 1, 1]  # since it took a row
    assert [len(calls) for calls in taken.calls] == [50, 25, 12, 6, 3, 1, *borne, 3, 13, 25]
    few = Site(set(range(7)), error)  # three halvings: eight are borne, and the last of them is halved yet
    carry(range(7), 7, few)
    assert [len(calls) for calls in few.calls] == [7, 3, 1, 2, 1, 1, 4, 2, 1, 1, 2]


def test_a_site_that_takes_something_meanwhile_is_asked_on() -> None:
    """Every tenth row is bad: no run of refusals is long, so each of them is found."""
    bad = set(range(0, 50, 10))
    site = Site(bad, WriteRefused("dmlwriteexception"))
    report = carry(range(50), 50, site)
    assert {failure.row for failure in report.failed if failure.alone} == bad
    assert len(report.accepted) == 45


def test_a_call_whose_outcome_is_unknown_is_never_repeated() -> None:
    site = Site({3}, OutcomeUnknown("hang-up"))
    report = carry(range(10), 5, site)
    assert [failure.row for failure in report.failed] == [0, 1, 2, 3, 4]
    assert not any(failure.alone for failure in report.failed)
    assert site.calls == [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)]
    report = carry([3, 4, 3], 1, Site({3}, OutOfTime("late")))
    assert [(failure.row, failure.alone) for failure in report.failed] == [(3, False), (3, False)]


def test_an_answer_for_fewer_rows_than_were_sent_is_not_spread_over_them() -> None:
    with pytest.raises(ValueError, match="shorter"):
        carry([1, 2], 2, lambda _rows: ["one"])


def test_rows_explained_by_reading_are_left_out_before_anything_is_halved() -> None:
    site = Site({1, 2}, MoodleRefused("invalidparameter"))
    report = carry(range(8), 8, site, sift=lambda rows: [row for row in rows if row not in (1, 2)])
    assert report.failed == []
    assert site.calls == [tuple(range(8)), (0, 3, 4, 5, 6, 7)]


def test_what_is_sifted_once_is_halved_afterwards() -> None:
    asked: list[list[int]] = []

    def sift(rows: Sequence[int]) -> list[int]:
        asked.append(list(rows))
        return [row for row in rows if row != 1]

    report = carry(range(4), 4, Site({1, 2}, MoodleRefused("invalidparameter")), sift=sift)
    assert asked == [[0, 1, 2, 3]]
    assert [(failure.row, failure.alone) for failure in report.failed] == [(2, True)]
    assert [row for row, _ in report.accepted] == [0, 3]
    asked.clear()
    site = Site({2}, MoodleRefused("invalidparameter"))
    report = carry(range(4), 4, site, sift=lambda rows: [*sift(rows), 1])
    assert asked == [[0, 1, 2, 3]]  # it found nothing: halved, and not asked again
    assert [failure.row for failure in report.failed] == [2]
    assert [len(calls) for calls in site.calls] == [4, 2, 2, 1, 1]


def test_chunks_keep_the_order() -> None:
    assert [list(chunk) for chunk in chunks([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]
