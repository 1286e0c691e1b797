"""Cohorts by their exact idnumber: found, created once under the site's lock, or what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import pytest

from consumers.kit.deadline import Deadline, OutOfTime
from consumers.moodle.causes import MoodleCause, fault
from consumers.moodle.cohorts import CREATION_LOCK, CohortCatalogue
from consumers.moodle.errors import Broken, MoodleRefused, OutcomeUnknown, WriteRefused
from consumers.moodle.functions import Cohort, MoodleFunctions
from pipeline.locks import LockHeld

DEADLINE = Deadline(1000.0, lambda: 0.0)
LAST_S = 70.0
INFO, NAME = "L1INFO-2026", "Licence 1 informatique"


class Site:
    """The functions of a site with these cohorts, and its lock.

    Attributes:
        asked: each call, with what it was for.
        error: met by each creation, which then makes nothing.
        locked: the lock that is held now.
        times: how long it was wanted at most, and waited for.
        held_elsewhere: another process has it.
    """

    def __init__(self, *idnumbers: str) -> None:
        self.cohorts = [Cohort(n, idnumber, "") for n, idnumber in enumerate(idnumbers, start=1)]
        self.asked: list[tuple[str, object]] = []
        self.error: Exception | None = None
        self.locked = ""
        self.times = (0.0, 0.0)
        self.held_elsewhere = False

    def rows(self, fields: int, at_most: int) -> int:
        return min(at_most, 996 // fields)

    def all_cohorts(self, deadline: Deadline) -> list[Cohort]:
        assert deadline is DEADLINE
        self.asked.append(("all", None))
        return list(self.cohorts)

    def search_cohorts(self, query: str, deadline: Deadline) -> list[Cohort]:
        assert deadline is DEADLINE
        assert self.locked == CREATION_LOCK
        self.asked.append(("search", query))
        return [each for each in self.cohorts if query.lower() in each.idnumber.lower()]

    def create_cohorts(self, rows: Sequence[tuple[str, str]], deadline: Deadline) -> list[Cohort]:
        assert deadline is DEADLINE
        assert self.locked == CREATION_LOCK
        self.asked.append(("create", list(rows)))
        if self.error is not None:
            raise self.error
        made = [Cohort(90 + n + len(self.cohorts), *row) for n, row in enumerate(rows)]
        self.cohorts += made
        return made

    @contextmanager
    def hold(self, name: str, *, ttl_s: float, wait_s: float) -> Iterator[None]:
        if self.held_elsewhere:
            raise LockHeld(name)
        self.locked, self.times = name, (ttl_s, wait_s)
        yield
        self.locked = ""


def catalogue(site: Site) -> CohortCatalogue:
    return CohortCatalogue(cast("MoodleFunctions", site), site, LAST_S)


def test_what_is_there_is_found_by_its_exact_idnumber_and_remembered() -> None:
    site = Site(INFO, f"{INFO}-bis")
    cohorts = catalogue(site)
    for _ in range(2):
        assert cohorts.ensure({INFO: NAME}, DEADLINE) == {}
    assert site.asked == [("all", None)]
    assert cohorts.with_idnumber(INFO) == (Cohort(1, INFO, ""),)
    assert (cohorts.idnumber_of(1), cohorts.idnumber_of(99)) == (INFO, "")
    assert catalogue(site).idnumber_of(1) == ""


def test_what_is_absent_is_looked_for_and_created_once_with_its_name() -> None:
    site = Site("club")
    cohorts = catalogue(site)
    assert cohorts.ensure({INFO: NAME}, DEADLINE) == {}
    assert site.asked == [("all", None), ("search", INFO), ("create", [(INFO, NAME)]), ("search", INFO)]
    assert [cohort.name for cohort in cohorts.with_idnumber(INFO)] == [NAME]
    assert cohorts.idnumber_of(1) == "club"


def test_the_lock_outlives_a_last_call_and_is_waited_for_as_long_as_the_batch_has_time() -> None:
    site = Site()
    assert catalogue(site).ensure({INFO: NAME}, DEADLINE) == {}
    assert site.times == (1070.0, 1000.0)


def test_a_batch_whose_time_is_up_before_others_have_created_theirs_is_tried_again() -> None:
    site = Site()
    site.held_elsewhere = True
    with pytest.raises(OutOfTime, match="created elsewhere"):
        catalogue(site).ensure({INFO: NAME}, DEADLINE)


def test_what_another_process_has_just_made_is_not_made_again() -> None:
    site = Site()
    cohorts = catalogue(site)
    cohorts.load(DEADLINE)
    site.cohorts = [Cohort(5, INFO, "")]
    assert cohorts.ensure({INFO: NAME}, DEADLINE) == {}
    assert "create" not in {what for what, _ in site.asked}


@pytest.mark.parametrize(("count", "searched"), [(3, True), (4, False)])
def test_more_than_three_are_looked_for_in_one_listing(count: int, *, searched: bool) -> None:
    site = Site()
    wanted = {f"{INFO}-{n}": NAME for n in range(count)}
    assert catalogue(site).ensure(wanted, DEADLINE) == {}
    listings = [what for what, _ in site.asked].count("all")
    assert listings == (1 if searched else 3)
    assert [what for what, _ in site.asked].count("search") == (2 * count if searched else 0)


def test_a_cohort_that_was_renamed_on_the_site_is_remembered_no_longer() -> None:
    site = Site(INFO, INFO, "club")
    cohorts = catalogue(site)
    assert cohorts.ensure({INFO: NAME}, DEADLINE) == {INFO: fault(MoodleCause.DUPLICATE_COHORT, INFO)}
    site.cohorts = [Cohort(2, INFO, "kept"), Cohort(3, "club", "")]
    assert cohorts.ensure({INFO: NAME}, DEADLINE) == {}
    assert cohorts.with_idnumber(INFO) == (Cohort(2, INFO, "kept"),)
    assert cohorts.idnumber_of(3) == "club"


@pytest.mark.parametrize(
    "other", [INFO.lower(), f"{INFO} ", INFO.replace("I", "Í"), "\uff2c1INFO-2026"]
)  # as the usual collations compare
def test_one_that_the_database_takes_for_the_same_stands_in_the_way(other: str) -> None:
    site = Site(other)
    site.error = MoodleRefused("invalidparameter")
    conflict = {INFO: fault(MoodleCause.COHORT_CONFLICT, INFO)}
    assert catalogue(site).foresee({INFO: NAME}, DEADLINE) == conflict
    assert catalogue(site).ensure({INFO: NAME}, DEADLINE) == conflict
    assert catalogue(Site(f" {INFO}", f"{INFO}X")).foresee({INFO: NAME}, DEADLINE) == {}


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OutcomeUnknown("504"), MoodleCause.OUTCOME_UNKNOWN),
        (OutOfTime("late"), MoodleCause.OUT_OF_TIME),
        (MoodleRefused("invalidparameter"), MoodleCause.COHORT_REFUSED),
        (WriteRefused("dmlwriteexception"), MoodleCause.BUSY),
        (Broken("500"), MoodleCause.BROKEN),
    ],
)
def test_what_a_creation_met_is_said_unless_the_cohort_is_there_all_the_same(
    error: Exception, cause: MoodleCause
) -> None:
    site = Site()
    site.error = error
    other = f"{INFO}-bis"
    cohorts = catalogue(site)
    cohorts.load(DEADLINE)
    expected = {INFO: fault(cause, INFO), other: fault(cause, other)}
    assert cohorts.ensure({INFO: NAME, other: NAME}, DEADLINE) == expected

    def made(rows: Sequence[tuple[str, str]], deadline: Deadline) -> list[Cohort]:
        site.cohorts += [Cohort(7, INFO, "")]
        raise error

    site.create_cohorts = made  # type: ignore[method-assign]
    assert cohorts.ensure({INFO: NAME}, DEADLINE) == {}


def test_one_that_moodle_refuses_does_not_keep_the_others_from_being_made() -> None:
    site = Site()
    bad = f"{INFO}-mauvaise"
    create = site.create_cohorts

    def picky(rows: Sequence[tuple[str, str]], deadline: Deadline) -> list[Cohort]:
        if any(key == bad for key, _ in rows):
            raise MoodleRefused("invalidparameter")
        return create(rows, deadline)

    site.create_cohorts = picky  # type: ignore[method-assign]
    cohorts = catalogue(site)
    assert cohorts.ensure({INFO: NAME, bad: NAME}, DEADLINE) == {bad: fault(MoodleCause.COHORT_REFUSED, bad)}
    assert len(cohorts.with_idnumber(INFO)) == 1


@pytest.mark.parametrize(
    ("key", "name", "valid"),
    [
        ("L" * 100, "n", True),
        ("L" * 101, "n", False),
        ("L1", "n" * 255, True),
        ("L1", "  ", False),
        ("  ", "n", False),
    ],
)
def test_what_moodle_s_columns_never_take_is_refused_before_it_is_asked_for(
    key: str, name: str, *, valid: bool
) -> None:
    refused = {} if valid else {key: fault(MoodleCause.COHORT_REFUSED, key)}
    site = Site()
    assert catalogue(site).foresee({key: name}, DEADLINE) == refused
    assert catalogue(site).ensure({key: name, INFO: NAME}, DEADLINE) == refused
    created = [row for what, rows in site.asked if what == "create" for row in rows]  # type: ignore[attr-defined]
    assert created == ([(key, name[:254])] if valid else []) + [(INFO, NAME)]


def test_what_is_foreseen_is_looked_at_anew_and_made_by_nobody() -> None:
    site = Site(INFO)
    cohorts = catalogue(site)
    assert cohorts.foresee({}, DEADLINE) == {}
    assert site.asked == []
    assert cohorts.foresee({INFO: "", "L1MATH": NAME}, DEADLINE) == {}  # an existing one keeps its name
    site.cohorts.append(Cohort(8, INFO, ""))
    assert cohorts.foresee({INFO: NAME}, DEADLINE) == {INFO: fault(MoodleCause.DUPLICATE_COHORT, INFO)}
    assert site.asked == [("all", None), ("all", None)]
