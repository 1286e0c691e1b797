"""One student within a batch: what differs, what is left to write, and what a lost answer leaves open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consumers.moodle.causes import MoodleCause, fault
from consumers.moodle.functions import User
from consumers.moodle.intent import WantedUser
from consumers.moodle.work import Work

USER = User(7, "elodie", "cas", "22600001", "Élodie", "Lefèvre", "elodie@univ-exemple.fr", False)
FIELDS = {"username": "elodie", "firstname": "Élodie"}
WANTED = WantedUser("22600001", FIELDS, suspended=False, cohorts={"L1": "Licence 1", "L2": "Licence 2"})
INSIDE = {1: "L1", 2: "L2"}


def work(*users: User, cohorts: dict[int, str] | None = None, **changes: Any) -> Work:
    wanted = replace(WANTED, **changes)
    return Work(wanted, users, INSIDE if cohorts is None else cohorts)


def test_what_is_as_wanted_leaves_nothing_to_write() -> None:
    one = work(USER)
    assert (one.differing(), one.to_join(), one.to_leave(), one.to_create, one.open()) == (
        {},
        [],
        [],
        False,
        False,
    )
    assert one.faults == ()


def test_each_difference_is_written_by_its_own_name() -> None:
    assert work(replace(USER, firstname="Elodie"), suspended=True).differing() == {
        "firstname": "Élodie",
        "suspended": 1,
    }
    assert work(replace(USER, suspended=True, idnumber="")).differing() == {
        "idnumber": "22600001",
        "suspended": 0,
    }
    one = work(USER, cohorts={1: "L1", 3: "M1", 4: "M2"})
    assert (one.to_join(), one.to_leave(), one.open()) == (["L2"], [3, 4], True)
    assert work(USER, cohorts={1: "L1"}).open()
    assert work(USER, cohorts={**INSIDE, 3: "M1"}).open()
    assert work(replace(USER, firstname="E")).open()


def test_of_nobody_and_of_two_nothing_differs_and_nobody_joins_or_leaves() -> None:
    for one in (work(cohorts={3: "M1"}), work(USER, USER, cohorts={3: "M1"})):
        assert (one.user, one.differing(), one.to_join(), one.to_leave()) == (None, {}, [], [])
    assert work().to_create
    assert work().open()
    assert not work(create=False).open()
    assert not work(USER, USER).open()


def test_what_has_a_fault_is_not_written_again() -> None:
    absent, other = work(), work(replace(USER, firstname="E"))
    for one in (absent, other):
        one.user_fault = fault(MoodleCause.USERNAME_TAKEN)
        assert not one.open()
    alone = work(USER, cohorts={1: "L1"})
    alone.cohort_faults = {"L2": fault(MoodleCause.COHORT_REFUSED, "L2")}
    assert not alone.open()


@pytest.mark.parametrize(
    ("one", "user", "members"),
    [
        (work(USER), False, False),
        (work(replace(USER, firstname="E")), True, False),
        (work(USER, cohorts={1: "L1"}), False, True),
        (work(USER, cohorts={**INSIDE, 3: "M1"}), False, True),
        (work(), True, True),
        (work(USER, USER), True, True),
    ],
)
def test_a_lost_answer_is_settled_by_what_shows_that_it_came_through(
    one: Work, *, user: bool, members: bool
) -> None:
    one.user_unknown = one.members_unknown = True
    one.observed()
    assert (one.user_unknown, one.members_unknown) == (user, members)
    assert one.unknown is (user or members)


def test_the_gravest_fault_comes_first_and_what_is_unknown_outweighs_what_was_met_last() -> None:
    one = work()
    one.cohort_faults = {"L1": fault(MoodleCause.BUSY, "L1")}
    one.user_fault = fault(MoodleCause.ADMIN_ACCOUNT)
    assert one.faults == (fault(MoodleCause.ADMIN_ACCOUNT), fault(MoodleCause.BUSY, "L1"))
    one = work()
    one.cohort_faults = {"L1": fault(MoodleCause.BUSY, "L1")}
    one.user_fault, one.finished = fault(MoodleCause.USERNAME_TAKEN), False
    assert one.faults == (
        fault(MoodleCause.BUSY, "L1"),
        fault(MoodleCause.NOT_APPLIED),
        fault(MoodleCause.USERNAME_TAKEN),
    )
    for lately, user, members, cause in (
        (None, False, False, MoodleCause.NOT_APPLIED),
        (fault(MoodleCause.BROKEN), False, False, MoodleCause.BROKEN),
        (fault(MoodleCause.BROKEN), True, False, MoodleCause.OUTCOME_UNKNOWN),
        (None, False, True, MoodleCause.OUTCOME_UNKNOWN),
    ):
        for finished, faults in ((True, ()), (False, (fault(cause),))):
            bare = work()
            bare.lately, bare.user_unknown, bare.members_unknown = lately, user, members
            bare.finished = finished
            assert bare.faults == faults
