"""The picture of who is in which managed cohort: when it is read anew, and what is read live beside it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import cast

import pytest

from consumers.kit.deadline import Deadline
from consumers.moodle.cohorts import CohortCatalogue
from consumers.moodle.errors import MoodleRefused
from consumers.moodle.functions import Cohort, MoodleFunctions
from consumers.moodle.members import AGE_S_MAX, Memberships
from pipeline.errors import TargetDown
from sandbox.process import PATIENCE_S, wait_until

DEADLINE = Deadline(1000.0, lambda: 0.0)
CLUB, INFO, MATH = 1, 2, 3
NAMES = {CLUB: "club", INFO: "L1INFO", MATH: "L1MATH"}


class Site:
    """The functions, the catalogue and the clock of a site.

    Attributes:
        members: user ids by cohort id; of these alone it knows.
        asked: the cohorts of each reading.
        takes_s: how long a reading takes.
        left_out: cohorts that it leaves out of its answers.
        listed: what it says there is; None: what there is.
    """

    def __init__(self, **members: set[int]) -> None:
        ids = {"club": CLUB, "info": INFO, "math": MATH}
        self.members = {ids[name]: users for name, users in members.items()}
        self.asked: list[list[int]] = []
        self.now, self.takes_s = 100.0, 1.0
        self.left_out: set[int] = set()
        self.listed: set[int] | None = None
        self.loads = 0

    def members_of(self, cohorts: Sequence[int], deadline: Deadline) -> dict[int, frozenset[int]]:
        assert deadline is DEADLINE
        self.asked.append(list(cohorts))
        if not set(cohorts) <= set(self.members):
            raise MoodleRefused("invalidrecord")
        found = {cohort: frozenset(self.members[cohort]) for cohort in cohorts if cohort not in self.left_out}
        self.now += self.takes_s
        return found

    def load(self, deadline: Deadline) -> list[Cohort]:
        assert deadline is DEADLINE
        self.loads += 1
        return [Cohort(id_, NAMES[id_], "") for id_ in self.listed or self.members]

    def idnumber_of(self, cohort: int) -> str:
        return NAMES.get(cohort, "")


def memberships(site: Site) -> Memberships:
    return Memberships(
        cast("MoodleFunctions", site),
        cast("CohortCatalogue", site),
        lambda idnumber: idnumber.startswith("L1"),
        clock=lambda: site.now,
    )


def refresh(members: Memberships, *users: int, since: float = 1000.0) -> None:
    members.refresh(users or None, DEADLINE, since=since)


def test_the_picture_is_of_the_managed_cohorts_alone() -> None:
    site = Site(club={7, 8}, info={7}, math={7, 9})
    members = memberships(site)
    assert members.remembered(7) == set()
    refresh(members)
    assert site.asked == [[INFO, MATH]]
    assert (members.remembered(7), members.remembered(8), members.remembered(9)) == (
        {INFO, MATH},
        set(),
        {MATH},
    )
    assert members.everybody() == {7: {INFO, MATH}, 9: {MATH}}


@pytest.mark.parametrize(("takes_s", "usable_s"), [(1.0, 20.0), (0.5, 10.0), (4.0, 60.0)])
def test_it_is_used_for_twenty_times_as_long_as_it_took_to_read_and_never_beyond_its_age(
    takes_s: float, usable_s: float
) -> None:
    site = Site(info={7})
    site.takes_s = takes_s
    members = memberships(site)
    refresh(members)
    site.now = 100.0 + usable_s
    refresh(members)
    assert len(site.asked) == 1
    site.now = 100.0 + usable_s + 0.1
    refresh(members)
    assert len(site.asked) == 2


def test_a_batch_that_compares_takes_only_one_that_was_begun_since_it_was() -> None:
    site = Site(info={7})
    members = memberships(site)
    refresh(members)  # at 100
    for doubted_at, readings in ((100.0, 1), (99.0, 1), (100.5, 2), (100.5, 2)):
        later, site.now = site.now, doubted_at
        members.doubt()
        site.now = later
        refresh(members)
        assert len(site.asked) == readings
    site.now += 1000.0
    refresh(members, since=100.5)  # begun since: whatever its age
    assert len(site.asked) == 2


def test_whoever_was_just_created_needs_no_picture_until_somebody_doubts_it_or_it_is_long_ago() -> None:
    site = Site(info={7})
    members = memberships(site)
    members.created([7, 8])
    refresh(members, 7, 8)
    assert site.asked == []
    refresh(members, 7, 9)
    assert len(site.asked) == 1
    site.now += AGE_S_MAX
    members.created([9])
    refresh(members, 7)  # sixty seconds ago, less the time that the reading took
    assert len(site.asked) == 2
    refresh(members, 9)
    members.doubt()
    refresh(members, 9)
    assert len(site.asked) == 3


def test_where_a_user_may_have_joined_is_looked_at_until_it_is_read() -> None:
    site = Site(info={7}, math=set())
    members = memberships(site)
    refresh(members)
    members.joining({INFO: [8, 9], MATH: [8]})
    assert [members.remembered(user) for user in (7, 8, 9)] == [{INFO}, {INFO, MATH}, {INFO}]
    assert members.live([INFO], DEADLINE, since=site.now) == {INFO: frozenset({7})}
    assert members.remembered(8) == {MATH}
    members.doubt()
    refresh(members)
    assert members.remembered(8) == set()


def test_what_was_read_live_later_than_the_picture_began_is_kept() -> None:
    site = Site(info={7}, math={8})
    members = memberships(site)

    def meanwhile(cohorts: Sequence[int], deadline: Deadline) -> dict[int, frozenset[int]]:
        """While the picture is read, somebody joins, and that is read live."""
        old = {cohort: frozenset(site.members[cohort]) for cohort in cohorts}
        site.members_of = Site.members_of.__get__(site)  # type: ignore[method-assign]
        site.now += 1.0
        site.members[INFO] = {7, 9}
        members.live([INFO], deadline, since=site.now)
        return old

    site.members_of = meanwhile  # type: ignore[method-assign]
    refresh(members)
    assert members.remembered(9) == {INFO}
    assert members.remembered(8) == {MATH}


def test_a_reading_that_began_earlier_does_not_overwrite_a_later_one() -> None:
    site = Site(info={7})
    members = memberships(site)

    def slow(cohorts: Sequence[int], deadline: Deadline) -> dict[int, frozenset[int]]:
        old = {cohort: frozenset(site.members[cohort]) for cohort in cohorts}
        site.members_of = Site.members_of.__get__(site)  # type: ignore[method-assign]
        site.now += 1.0
        site.members[INFO] = set()
        members.refresh(None, deadline, since=site.now)  # a picture begins later, and ends first
        return old

    site.members_of = slow  # type: ignore[method-assign]
    assert members.live([INFO], DEADLINE, since=100.0) == {INFO: frozenset({7})}
    assert members.remembered(7) == set()
    site.takes_s = 0.0  # two readings of one moment: the second is newer
    site.members[INFO] = {8}
    members.live([INFO], DEADLINE, since=site.now + 1)
    assert members.remembered(8) == {INFO}


def test_live_is_what_was_read_since_then_and_the_rest_is_asked_for() -> None:
    site = Site(club={7}, info={7}, math={8})
    members = memberships(site)
    refresh(members)  # at 100
    assert members.live([], DEADLINE, since=100.0) == {}
    assert members.live([MATH], DEADLINE, since=100.0) == {MATH: frozenset({8})}
    assert site.asked == [[INFO, MATH]]
    found = members.live([MATH, CLUB], DEADLINE, since=100.0)
    assert found == {MATH: frozenset({8}), CLUB: frozenset({7})}
    assert site.asked[1:] == [[CLUB]]
    assert members.remembered(7) == {INFO}  # the club is read, and nobody is taken out of it
    members.live([MATH, INFO], DEADLINE, since=100.5)
    assert site.asked[2:] == [[INFO, MATH]]


def test_batches_that_wait_for_a_reading_share_the_next_one() -> None:
    site = Site(club={7}, info={7}, math={8})
    members = memberships(site)
    begun, go_on = threading.Event(), threading.Event()
    read = site.members_of

    def slow(cohorts: Sequence[int], deadline: Deadline) -> dict[int, frozenset[int]]:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return read(cohorts, deadline)

    site.members_of = slow  # type: ignore[method-assign]
    found: dict[str, dict[int, frozenset[int]]] = {}

    def batch(name: str, *cohorts: int, since: float) -> threading.Thread:
        def run() -> None:
            found[name] = members.live(cohorts, DEADLINE, since=since)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    first = batch("first", INFO, since=100.0)
    assert begun.wait(PATIENCE_S)
    site.members[INFO] = {7, 9}  # written after the first reading has begun
    later = [batch("joined", INFO, since=100.5), batch("other", MATH, since=100.5)]
    wait_until(lambda: members._waiting >= {INFO, MATH}, "both to wait")  # noqa: SLF001
    go_on.set()
    for thread in (first, *later):
        thread.join(PATIENCE_S)

    assert site.asked == [[INFO], [INFO, MATH]]
    assert found["joined"] == {INFO: frozenset({7, 9})}
    assert found["other"] == {MATH: frozenset({8})}


def test_a_cohort_that_is_gone_is_left_out_and_the_picture_forgotten() -> None:
    site = Site(info={7}, math={8})
    members = memberships(site)
    refresh(members)
    del site.members[MATH]
    assert members.live([INFO, MATH], DEADLINE, since=200.0) == {INFO: frozenset({7})}
    assert site.asked[1:] == [[INFO, MATH], [INFO]]
    assert (members.remembered(8), members.remembered(7)) == (set(), {INFO})
    assert site.loads == 2
    refresh(members)
    assert site.loads == 3


def test_cohorts_that_vanish_faster_than_they_are_read_are_an_outage() -> None:
    site = Site(info={7})
    site.listed = {INFO, MATH}
    with pytest.raises(TargetDown, match="invalidrecord"):
        memberships(site).live([INFO, MATH], DEADLINE, since=0.0)


def test_an_answer_that_leaves_a_cohort_out_is_no_empty_cohort() -> None:
    site = Site(info={7}, math={8})
    site.left_out = {MATH}
    with pytest.raises(TargetDown, match="left cohorts out"):
        memberships(site).live([INFO, MATH], DEADLINE, since=0.0)
