"""Who is told that access ends, on which day, and who is not. Days are counted by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import pytest
from sqlalchemy import Connection, func, select

from consumers.registry.lifecycle import settings as rules
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.lifecycle.stages import Lifecycle, Milestone
from consumers.registry.lifecycle.warnings import WARNING_DUE
from consumers.registry.settings import RegistrySettings
from pipeline.threshold import Threshold
from pipeline.timers import run_due, timers
from schemas.account import Account, Hold, Stage
from schemas.events import HoldPlaced, ProlongationRequested, ReplayRequested
from sesame.testing.servers.registry_kit import LEA, Clock, RegistryHarness, activation, cancelled, enrolled

LAST_DAY = date(2027, 12, 16)  # 45 days after 1 November, the first day without an enrolment
FIRST, SECOND = date(2027, 11, 16), date(2027, 12, 6)  # 30 and 10 days before

AGAIN = ReplayRequested(student_number=LEA, consumer="registry", replay_id="replay-1")
RULES = LifecycleSettings()


@dataclass
class Told:
    """Notices that only remember: whom, on which day, and the last day of access."""

    warned: list[tuple[str, date, date]] = field(default_factory=list)
    prolonged_to: list[date | None] = field(default_factory=list)
    steps: list[Milestone] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)

    def invite(self, _connection: Connection, account: Account, _until: date, _now: float) -> None:
        raise AssertionError(f"{account.student_number} is no guest")

    def warn(
        self,
        _connection: Connection,
        account: Account,
        until: date,
        steps: Sequence[Milestone],
        now: float,
        *,
        prolonged_to: date | None,
    ) -> None:
        self.prolonged_to.append(prolonged_to)
        self.warned.append((account.student_number, datetime.fromtimestamp(now, UTC).date(), until))
        self.steps = list(steps)

    def withdraw(self, _connection: Connection, student_number: str, _now: float) -> None:
        self.withdrawn.append(student_number)

    def days(self, number: str = LEA) -> list[date]:
        return [day for whose, day, _until in self.warned if whose == number]


class MakeHarness(Protocol):
    def __call__(
        self, notices: Told | None = ..., *, grace_days: int = ..., rules: LifecycleSettings = ...
    ) -> RegistryHarness: ...


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def make(store_url: str, told: Told) -> Iterator[MakeHarness]:
    with ExitStack() as stack:

        def make_desk(
            notices: Told | None = told, *, grace_days: int = 45, rules: LifecycleSettings = RULES
        ) -> RegistryHarness:
            settings = RegistrySettings(mail_domain="etu.univ-exemple.fr", grace_days=grace_days)
            desk = RegistryHarness(store_url, settings, Clock(), rules, ("mailbox", "moodle"), notices)
            stack.enter_context(closing(desk.database))
            return desk

        yield make_desk


def student(desk: RegistryHarness, number: str = LEA) -> None:
    desk.apply(enrolled(number))
    desk.apply(activation(number))


def wake_on(desk: RegistryHarness, day: date) -> None:
    """Nothing ran for a long while; now everything that is due does."""
    desk.clock.set(datetime(day.year, day.month, day.day, 9, tzinfo=UTC))
    while run_due(desk.database, desk.registry.timers()):
        pass


def armed(desk: RegistryHarness) -> int:
    with desk.database.read() as connection:
        return (
            connection.scalar(select(func.count()).select_from(timers).where(timers.c.kind == WARNING_DUE))
            or 0
        )


@pytest.mark.parametrize(
    ("warn_days", "grace_days", "days_before"),
    [
        ((30, 10), 45, [30, 10]),
        ((10, 30), 45, [30, 10]),
        ((30, 10), 30, [30, 10]),  # grace begins on the very day
        ((30, 10), 20, [10]),
        ((30, 10), 5, [5]),  # none would be left: at once
        ((30, 10), 0, [0]),
        ((30, 10, 0), 45, [30, 10, 0]),
        ((), 45, []),
    ],
)
def test_the_days_of_the_warnings(
    warn_days: tuple[int, ...], grace_days: int, days_before: list[int]
) -> None:
    lifecycle = Lifecycle(RegistrySettings(), LifecycleSettings(warn_days=warn_days))
    begins = date(2027, 3, 1)
    until = begins + timedelta(days=grace_days)
    found, day = [], lifecycle.first_warning_on(until, begins)
    while day is not None:
        found.append((until - day).days)
        day = lifecycle.next_warning_on(until, day)
    assert found == days_before


def test_whoever_leaves_is_warned_twice_and_once_each(make: MakeHarness, told: Told) -> None:
    desk = make(rules=LifecycleSettings(erase=True, data_days=100, account_days=300))
    student(desk)
    desk.pass_time(FIRST - timedelta(1))
    assert desk.account().stage is Stage.GRACE
    assert desk.account().valid_until == LAST_DAY
    assert told.warned == []
    desk.pass_time(LAST_DAY + timedelta(400))
    assert told.warned == [(LEA, FIRST, LAST_DAY), (LEA, SECOND, LAST_DAY)]
    assert told.steps == [
        Milestone(date(2027, 12, 17), Stage.EXPIRED),
        Milestone(date(2028, 3, 26), Stage.ERASED, "mailbox"),  # 101 days after 16 December 2027
        Milestone(date(2028, 3, 26), Stage.ERASED, "moodle"),
        Milestone(date(2028, 10, 12), Stage.ERASED),  # 301 days after it
    ]


def test_another_version_within_the_grace_changes_nothing(make: MakeHarness, told: Told) -> None:
    desk = make()
    student(desk)
    for day in (FIRST - timedelta(3), FIRST + timedelta(3), SECOND + timedelta(3)):
        desk.pass_time(day)
        desk.apply(enrolled(LEA, 900 + day.day, birth_name=f"Martin{'abcdefghij'[day.day % 10]}", year=2020))
        desk.apply(AGAIN)
    desk.pass_time(LAST_DAY + timedelta(40))
    assert told.days() == [FIRST, SECOND]


def test_what_was_missed_in_an_outage_is_made_up_for_once(make: MakeHarness, told: Told) -> None:
    desk = make()
    student(desk)
    desk.pass_time(FIRST - timedelta(1))
    late = FIRST + timedelta(4)
    desk.clock.set(datetime(late.year, late.month, late.day, 8, tzinfo=UTC))
    desk.apply(AGAIN)
    wake_on(desk, late)
    assert told.days() == [late]
    wake_on(desk, LAST_DAY)  # the second one too
    assert told.days() == [late, LAST_DAY]
    assert armed(desk) == 0


def test_an_outage_over_the_end_says_nothing_false(make: MakeHarness, told: Told) -> None:
    desk = make()
    student(desk)
    desk.pass_time(FIRST - timedelta(1))
    wake_on(desk, LAST_DAY + timedelta(1))
    assert told.warned == []
    assert desk.account().stage is Stage.EXPIRED


def test_whoever_is_held_by_the_guard_is_not_told_of_a_day_that_is_past(
    make: MakeHarness, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LifecycleSettings, "threshold", Threshold(share=0.0001, floor=0))
    desk = make(rules=LifecycleSettings(warn_days=(0,)), grace_days=3)
    student(desk)
    desk.pass_time(date(2027, 11, 3))
    wake_on(desk, date(2027, 11, 9))
    assert desk.account().stage is Stage.GRACE  # held, with a day that is past
    assert told.warned == []


def test_whoever_is_enrolled_again_is_told_nothing_more(make: MakeHarness, told: Told) -> None:
    desk = make()
    student(desk)
    desk.pass_time(FIRST)
    assert told.days() == [FIRST]
    desk.apply(enrolled(LEA, 50, year=2027))
    assert told.withdrawn == [LEA]  # the message may still wait for the mail server
    assert armed(desk) == 0
    desk.pass_time(date(2028, 6, 1))
    assert told.days() == [FIRST]


def test_a_new_grace_with_the_same_last_day_is_told_of_again(make: MakeHarness, told: Told) -> None:
    desk = make(grace_days=5)
    student(desk)
    desk.apply(cancelled(LEA, 2))
    wake_on(desk, date(2026, 9, 14))
    desk.apply(enrolled(LEA, 3))
    desk.apply(cancelled(LEA, 4))
    wake_on(desk, date(2026, 9, 14))
    assert told.warned == [(LEA, date(2026, 9, 14), date(2026, 9, 19))] * 2


def test_whose_access_is_shut_by_a_hold_is_not_told_that_it_is_open(make: MakeHarness, told: Told) -> None:
    desk = make()
    student(desk)
    desk.pass_time(FIRST - timedelta(1))
    desk.apply(HoldPlaced(student_number=LEA, hold=Hold.SUSPENDED))
    desk.pass_time(FIRST)
    assert told.warned == []
    assert armed(desk) == 1  # it may be lifted by the second


def test_whoever_was_in_grace_before_this_version_is_warned_after_a_replay(
    make: MakeHarness, told: Told
) -> None:
    before = make(None)
    student(before)
    before.pass_time(FIRST + timedelta(1))
    assert before.account().stage is Stage.GRACE
    desk = make(told)
    desk.clock.now = before.clock.now
    desk.apply(AGAIN)
    desk.pass_time(LAST_DAY + timedelta(1))
    assert told.days() == [SECOND]


# --- prolongation ---

THIRTY = LifecycleSettings(prolong_days=30, erase=True, data_days=100, account_days=300)


@pytest.fixture
def twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Students may prolong their access twice."""
    monkeypatch.setattr(rules, "PROLONGATIONS_MAX", 2)


def prolonged(ends_on: date, days: int = 30, number: str = LEA) -> ProlongationRequested:
    return ProlongationRequested(student_number=number, ends_on=ends_on, until=ends_on + timedelta(days))


@pytest.mark.usefixtures("twice")
def test_access_is_prolonged_from_the_day_it_would_have_ended_and_warned_of_anew(
    make: MakeHarness, told: Told
) -> None:
    desk = make(rules=THIRTY)
    student(desk)
    desk.pass_time(FIRST)
    assert told.prolonged_to == [date(2028, 1, 15)]  # 30 days after 16 December
    before = desk.account().version
    request = desk.apply(prolonged(LAST_DAY))
    assert (desk.account().stage, desk.account().valid_until) == (Stage.GRACE, date(2028, 1, 15))
    desk.apply(prolonged(LAST_DAY))  # another link to the same end
    desk.redeliver(request)
    assert desk.account().version == before + 1
    assert desk.person().prolongations == (date(2028, 1, 15),)
    assert told.withdrawn == [LEA]
    desk.pass_time(date(2028, 1, 10))
    assert told.days() == [FIRST, date(2027, 12, 16), date(2028, 1, 5)]
    desk.apply(prolonged(date(2028, 1, 15)))
    assert desk.account().valid_until == date(2028, 2, 14)
    desk.pass_time(date(2028, 2, 14))
    assert told.prolonged_to == [*[date(2028, 1, 15)], *[date(2028, 2, 14)] * 2, None, None]
    assert desk.account().stage is Stage.GRACE
    desk.pass_time(date(2028, 2, 15))
    assert (desk.account().stage, desk.account().valid_until) == (Stage.EXPIRED, date(2028, 2, 14))
    desk.pass_time(date(2028, 5, 24))
    assert desk.account().stages == {}, "100 days are counted from the new day"
    desk.pass_time(date(2028, 5, 25))
    assert desk.account().stages == dict.fromkeys(("mailbox", "moodle"), Stage.ERASED)


def test_whoever_is_enrolled_again_may_prolong_anew_the_next_time(make: MakeHarness, told: Told) -> None:
    desk = make(rules=LifecycleSettings(prolong_days=30))
    student(desk)
    desk.pass_time(FIRST)
    desk.apply(prolonged(LAST_DAY))
    desk.apply(enrolled(LEA, 50, year=2027))
    desk.apply(prolonged(date(2028, 1, 15)))  # an old link: it ends on no such day any more
    assert (desk.account().stage, desk.account().valid_until) == (Stage.ACTIVE, date(2028, 10, 31))
    assert desk.person().prolongations == ()
    desk.pass_time(date(2028, 11, 16))
    assert desk.account().valid_until == date(2028, 12, 16)
    assert told.prolonged_to == [date(2028, 1, 15), date(2029, 1, 15)]


@pytest.mark.usefixtures("twice")
def test_whoever_has_expired_has_access_again_until_the_day_that_is_asked_for(make: MakeHarness) -> None:
    desk = make(rules=THIRTY)
    student(desk)
    desk.pass_time(date(2028, 4, 1))  # the mailbox is erased already
    assert desk.account().stages == dict.fromkeys(("mailbox", "moodle"), Stage.ERASED)
    desk.apply(prolonged(LAST_DAY, 20))  # that is past
    assert desk.account().stage is Stage.EXPIRED
    desk.apply(prolonged(LAST_DAY, 120))
    account = desk.account()
    assert (account.stage, account.stages, account.valid_until) == (Stage.GRACE, {}, date(2028, 4, 14))
    desk.pass_time(date(2028, 4, 15))
    assert desk.account().stage is Stage.EXPIRED


@pytest.mark.usefixtures("twice")
def test_a_prolongation_opens_nothing_that_a_hold_shuts_and_nothing_before_an_activation(
    make: MakeHarness,
) -> None:
    desk = make(rules=THIRTY)
    student(desk)
    desk.pass_time(FIRST)
    desk.apply(HoldPlaced(student_number=LEA, hold=Hold.SUSPENDED))
    desk.apply(prolonged(LAST_DAY))
    assert (desk.account().valid_until, desk.account().access_open) == (date(2028, 1, 15), False)
    desk.apply(enrolled("22030002", birth_name="Zola", year=2027))
    desk.apply(cancelled("22030002", year=2027))
    desk.apply(prolonged(LAST_DAY, number="22030002"))
    assert desk.account("22030002").stage is Stage.PRECREATED
