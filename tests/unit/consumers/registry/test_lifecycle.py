"""What follows the last enrolment, day by day: grace, expiry, erasure; and whom the guard holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from consumers.propagation.rows import propagation
from consumers.registry.lifecycle import closings
from consumers.registry.lifecycle.closings import Plan, Scope
from consumers.registry.lifecycle.entitlements import Entitlement
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.lifecycle.stages import Closing, Milestone
from consumers.registry.settings import RegistrySettings
from pipeline import timers as timers_of
from pipeline.db.database import Database
from pipeline.timers import run_due, timers
from schemas.account import Account, Hold, Stage
from schemas.events import HoldLifted, HoldPlaced, ReplayRequested
from sesame.testing.servers.registry_kit import (
    LEA,
    SETTINGS,
    RegistryHarness,
    activation,
    cancelled,
    provisioned,
)
from sesame.testing.servers.registry_kit import held_plans as held
from sesame.testing.servers.registry_kit import unlike_others as of

SERVICES = ("mailbox", "moodle")
YEAR_END = date(2027, 10, 31)
LAST_DAY = date(2027, 12, 1)  # 30 days of grace after the first day without an enrolment
ERASING = LifecycleSettings(erase=True, data_days=100, data_days_of={"moodle": 200}, account_days=300)

NO_MOODLE_IN_GRACE = Entitlement(target="moodle", affiliations=frozenset({"affiliate"}), open=False)

MakeHarness = Callable[..., RegistryHarness]


@pytest.fixture
def make(store_url: str) -> Iterator[MakeHarness]:
    with ExitStack() as stack:

        def make_desk(
            rules: LifecycleSettings = ERASING, settings: RegistrySettings = SETTINGS
        ) -> RegistryHarness:
            desk = RegistryHarness(store_url, settings, rules=rules, services=SERVICES)
            stack.enter_context(closing(desk.database))
            return desk

        yield make_desk


def student(desk: RegistryHarness, number: str = LEA) -> None:
    """Enrols and activates somebody."""
    desk.apply(of(number))
    desk.apply(activation(number))


def complete(desk: RegistryHarness, number: str = LEA) -> None:
    """As if every target had been seen to have the newest version."""
    version = desk.account(number).version
    values = {
        "student_number": number,
        "version": version,
        "lane": "bulk",
        "opened_at": desk.clock(),
        "state": "completed",
        "completed_version": version,
    }
    with desk.transaction() as connection:
        connection.execute(desk.database.upsert(propagation), values)


def stage_on(desk: RegistryHarness, day: date) -> tuple[Stage, dict[str, Stage]]:
    desk.pass_time(day, lambda: complete(desk))
    account = desk.account()
    return account.stage, dict(account.stages)


def release(desk: RegistryHarness, plan: Plan) -> None:
    with desk.transaction() as connection:
        closings.release(connection, plan)


# --- one life ---


def test_a_life_ends_day_by_day_and_the_account_goes_last(make: MakeHarness) -> None:
    desk = make()
    student(desk)
    login = desk.account().login
    expired = {"mailbox": Stage.ERASED}
    for day, stage, stages in (
        (YEAR_END, Stage.ACTIVE, {}),
        (YEAR_END + timedelta(1), Stage.GRACE, {}),
        (LAST_DAY, Stage.GRACE, {}),
        (LAST_DAY + timedelta(1), Stage.EXPIRED, {}),
        (LAST_DAY + timedelta(100), Stage.EXPIRED, {}),
        (LAST_DAY + timedelta(101), Stage.EXPIRED, expired),
        (LAST_DAY + timedelta(200), Stage.EXPIRED, expired),
        (LAST_DAY + timedelta(201), Stage.EXPIRED, {**expired, "moodle": Stage.ERASED}),
        (LAST_DAY + timedelta(300), Stage.EXPIRED, {**expired, "moodle": Stage.ERASED}),
        (LAST_DAY + timedelta(301), Stage.ERASED, {}),
        (LAST_DAY + timedelta(9999), Stage.ERASED, {}),
    ):
        assert stage_on(desk, day) == (stage, stages), day
    assert desk.account().login == login
    with desk.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(timers)) == 0


def test_the_account_stays_until_every_target_was_seen_to_have_erased(make: MakeHarness) -> None:
    desk = make()
    student(desk)
    desk.pass_time(LAST_DAY + timedelta(305))
    assert desk.account().stages == dict.fromkeys(SERVICES, Stage.ERASED)
    assert desk.account().stage is Stage.EXPIRED
    desk.propagated("waiting", desk.account().version)  # a target waits, e.g. it finds no mailbox to empty
    desk.pass_time(LAST_DAY + timedelta(307))
    assert desk.account().stage is Stage.EXPIRED
    complete(desk)
    desk.pass_time(LAST_DAY + timedelta(309))
    assert desk.account().stage is Stage.ERASED


def test_timers_that_could_not_ring_for_a_year_catch_up_step_by_step(make: MakeHarness) -> None:
    desk = make()
    student(desk)
    desk.clock.set(datetime(2029, 6, 1, tzinfo=UTC))
    assert run_due(desk.database, desk.registry.timers()) == 1
    assert desk.account().stage is Stage.GRACE, "nobody is shut before they had their days of grace"
    assert desk.account().valid_until == date(2029, 7, 1)


def test_nothing_is_erased_of_whoever_is_under_a_hold_until_it_is_lifted(make: MakeHarness) -> None:
    desk = make()
    student(desk)
    desk.apply(HoldPlaced(student_number=LEA, hold=Hold.ADMINISTRATIVE))
    desk.apply(HoldPlaced(student_number=LEA, hold=Hold.STOLEN_PASSWORDS))
    assert stage_on(desk, LAST_DAY + timedelta(103)) == (Stage.EXPIRED, {})
    assert held(desk) == [], "it is no crowd"
    desk.apply(HoldLifted(student_number=LEA, hold=Hold.ADMINISTRATIVE))
    assert stage_on(desk, LAST_DAY + timedelta(104)) == (Stage.EXPIRED, {"mailbox": Stage.ERASED})


def test_nothing_is_erased_unless_the_site_says_so(make: MakeHarness) -> None:
    desk = make(LifecycleSettings())
    student(desk)
    assert stage_on(desk, LAST_DAY + timedelta(4000)) == (Stage.EXPIRED, {})


def test_a_service_may_be_shut_in_grace_and_is_open_again_with_the_next_enrolment(make: MakeHarness) -> None:
    desk = make(LifecycleSettings(entitlements=(NO_MOODLE_IN_GRACE,)))
    student(desk)
    desk.apply(cancelled())
    account = desk.account()
    assert (account.access_open, account.at("moodle").access_open) == (True, False)
    assert account.at("mailbox") is account
    desk.apply(of(sequence=3))
    assert desk.account().at("moodle").access_open


def test_who_returns_after_expiry_has_the_same_names_and_everything_again(make: MakeHarness) -> None:
    desk = make()
    student(desk)
    before = desk.account()
    desk.pass_time(LAST_DAY + timedelta(150), lambda: complete(desk))
    assert desk.account().at("mailbox").stage is Stage.ERASED
    desk.apply(of(sequence=9, year=2028))
    after = desk.account()
    assert (after.stage, after.stages) == (Stage.ACTIVE, {})
    assert (after.login, after.mail, after.principal) == (before.login, before.mail, before.principal)


def test_what_is_to_come_is_told_with_its_days(make: MakeHarness) -> None:
    desk = make(ERASING.model_copy(update={"entitlements": (NO_MOODLE_IN_GRACE,)}))
    student(desk)
    begins, one = YEAR_END + timedelta(1), timedelta(1)

    def to_come(account: Account) -> list[Milestone]:
        return desk.registry.lifecycle.timeline(account)

    erasures = [
        Milestone(LAST_DAY + timedelta(101), Stage.ERASED, "mailbox"),
        Milestone(LAST_DAY + timedelta(201), Stage.ERASED, "moodle"),
        Milestone(LAST_DAY + timedelta(301), Stage.ERASED),
    ]
    shutting = [Milestone(begins, Stage.EXPIRED, "moodle"), Milestone(begins, Stage.GRACE)]
    assert to_come(desk.account()) == [*shutting, Milestone(LAST_DAY + one, Stage.EXPIRED), *erasures]
    desk.pass_time(begins, lambda: complete(desk))
    assert to_come(desk.account()) == [Milestone(LAST_DAY + one, Stage.EXPIRED), *erasures]
    desk.pass_time(LAST_DAY + timedelta(150), lambda: complete(desk))
    assert to_come(desk.account()) == erasures[1:]
    desk.pass_time(LAST_DAY + timedelta(400), lambda: complete(desk))
    assert to_come(desk.account()) == []


@pytest.mark.parametrize(
    "values",
    [
        {"data_days": 100, "account_days": 99},
        {"data_days": 1, "data_days_of": {"moodle": 400}, "account_days": 399},
        {"data_days": -1},
        {"guard_share": 0},
    ],
)
def test_rules_that_cannot_be_kept_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LifecycleSettings(**values)


# --- the guard ---

CROWD = [str(22_010_000 + n) for n in range(1, 9)]


def crowd(desk: RegistryHarness, numbers: Sequence[str] = CROWD) -> None:
    for number in numbers:
        student(desk, number)


def stages(desk: RegistryHarness, numbers: Sequence[str] = CROWD) -> list[Stage]:
    return [desk.account(number).stage for number in numbers]


def test_a_whole_year_that_leaves_is_held_until_exactly_they_are_released(make: MakeHarness) -> None:
    desk = make()
    crowd(desk)
    desk.pass_time(LAST_DAY + timedelta(3))
    open_still = [number for number, stage in zip(CROWD, stages(desk), strict=True) if stage is Stage.GRACE]
    assert open_still == CROWD, "nobody is closed before somebody has looked"
    assert all(desk.account(number).access_open for number in open_still)
    [plan] = held(desk)
    assert (plan.scope, list(plan.students), plan.approved_by) == (Scope(Closing.EXPIRE), open_still, None)

    back = open_still[0]
    desk.apply(of(back, sequence=5, year=2027))
    assert desk.account(back).stage is Stage.ACTIVE
    [smaller] = held(desk)
    assert smaller.students == tuple(open_still[1:])
    assert smaller.id != plan.id, "another plan: what was looked at is not what would be done"

    release(desk, smaller)
    assert held(desk) == []
    desk.pass_time(LAST_DAY + timedelta(5))
    assert set(stages(desk, open_still[1:])) == {Stage.EXPIRED}
    assert desk.account(back).stage is Stage.ACTIVE


def test_a_slow_leak_is_stopped_too_and_a_window_that_slides_on_lets_nobody_through(
    make: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One a day out of a hundred, each well below the threshold of a day."""
    monkeypatch.setattr(closings, "GUARD_DAYS", 4)
    desk = make(LifecycleSettings(guard_share=0.05))
    numbers = [str(22_020_000 + n) for n in range(1, 41)]
    crowd(desk, numbers)
    leaving = numbers[:6]
    day = date(2026, 10, 1)
    for number in leaving:
        desk.clock.set(datetime(day.year, day.month, day.day, 9, tzinfo=UTC))
        desk.apply(cancelled(number))
        day += timedelta(1)
    desk.pass_time(day + timedelta(45))
    assert stages(desk, leaving) == [Stage.GRACE] * 6
    [plan] = held(desk)
    assert plan.students == tuple(leaving)


def test_few_who_leave_within_the_bounds_are_not_held(make: MakeHarness) -> None:
    desk = make(LifecycleSettings(guard_share=0.5))
    crowd(desk)
    for number in CROWD[:4]:
        desk.apply(cancelled(number))
    desk.pass_time(date(2027, 1, 1))
    assert stages(desk, CROWD[:4]) == [Stage.EXPIRED] * 4
    assert held(desk) == []


@pytest.mark.parametrize(("days_between", "held_at_last"), [(3, True), (90, False)])
def test_who_left_before_the_window_no_longer_counts(
    make: MakeHarness, monkeypatch: pytest.MonkeyPatch, days_between: int, held_at_last: bool
) -> None:
    """Two leave, then two more: each time fewer than the bound of three, and four are more than it."""
    monkeypatch.setattr(closings, "GUARD_DAYS", 7)
    desk = make(LifecycleSettings(guard_share=0.09))
    numbers = [str(22_020_000 + n) for n in range(1, 41)]
    crowd(desk, numbers)
    earlier, later = numbers[:2], numbers[2:4]
    first = date(2026, 10, 1)
    for day, leaving in ((first, earlier), (first + timedelta(days_between), later)):
        desk.pass_time(day)
        for number in leaving:
            desk.apply(cancelled(number))
    desk.pass_time(first + timedelta(days_between + 45))

    assert bool(held(desk)) is held_at_last
    if not held_at_last:
        assert stages(desk, numbers[:4]) == [Stage.EXPIRED] * 4


def test_erasing_is_held_apart_from_expiring(make: MakeHarness) -> None:
    desk = make(ERASING.model_copy(update={"guard_share": 0.9}))
    crowd(desk, CROWD[:3])
    for number in CROWD[:3]:
        desk.apply(cancelled(number))
    desk.pass_time(date(2026, 10, 15))
    [plan] = held(desk)
    release(desk, plan)
    desk.pass_time(date(2027, 2, 1))
    erasure = [each for each in held(desk) if each.scope.closing is Closing.ERASE]
    assert erasure[0].students == tuple(CROWD[:3]), "nobody of them first"
    assert [account.stages for account in map(desk.account, CROWD[:3])] == [{}] * 3
    release(desk, erasure[0])
    desk.pass_time(date(2027, 2, 3))
    assert all(desk.account(number).at("mailbox").stage is Stage.ERASED for number in CROWD[:3])


def test_a_plan_is_named_by_what_it_does_to_whom() -> None:
    expire = Scope(Closing.EXPIRE)
    ids = {
        closings.plan_id(expire, ("1", "2")),
        closings.plan_id(Scope(Closing.ERASE), ("1", "2")),
        closings.plan_id(Scope(Closing.EXPIRE, cohort="M2@INFO=-2026"), ("1", "2")),
        closings.plan_id(expire, ("12",)),
        closings.plan_id(expire, ("1",)),
    }
    assert len(ids) == 5
    for scope in (
        expire,
        Scope(Closing.SHUT, target="moodle"),
        Scope(Closing.EXPIRE, cohort="M2@INFO=-2026"),
    ):
        assert Scope.of(scope.key) == scope


def test_a_whole_class_that_leaves_is_held_though_it_is_few_of_all(
    make: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closings, "CLASS_MIN", 5)
    desk = make(LifecycleSettings(guard_share=0.5))
    others, whole = CROWD, [str(22_050_100 + n) for n in range(1, 7)]
    crowd(desk, others)
    for number in whole:
        desk.apply(of(number, step="M2INFO"))
        desk.apply(activation(number))
    leaving = [*whole, others[0]]
    day = date(2026, 10, 1)
    for number in leaving:  # one a day, as a slow leak
        desk.pass_time(day)
        desk.apply(cancelled(number, step="L1INFO" if number == others[0] else "M2INFO"))
        day += timedelta(1)
    desk.pass_time(date(2026, 12, 20))
    [plan] = held(desk)
    assert (plan.scope, plan.students) == (Scope(Closing.EXPIRE, cohort="M2INFO-2026"), tuple(whole))
    assert desk.account(others[0]).stage is Stage.EXPIRED, "who is no member is not held with them"
    release(desk, plan)
    with desk.transaction() as connection:
        for number in plan.students:
            timers_of.arm(connection, desk.database, "grace_ends", number, desk.clock())
    desk.pass_time(date(2026, 12, 22))
    assert set(stages(desk, whole)) == {Stage.EXPIRED}


def test_a_small_class_may_leave_as_a_whole(make: MakeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closings, "CLASS_MIN", 4)
    desk = make(LifecycleSettings(guard_share=0.5))
    crowd(desk)
    for number in ("22050101", "22050102", "22050103"):
        desk.apply(of(number, step="M2INFO"))
        desk.apply(activation(number))
        desk.apply(cancelled(number, step="M2INFO"))
    desk.pass_time(date(2026, 12, 20))
    assert held(desk) == []


# --- a change of the settings ---

AGAIN = ReplayRequested(student_number=LEA, consumer="registry", replay_id="replay-1")


def settings_change(
    make: MakeHarness, before: LifecycleSettings, after: LifecycleSettings, day: date
) -> RegistryHarness:
    """Eight who left, past a first guard; then other rules, and everybody is looked at again."""
    desk = make(before.model_copy(update={"guard_share": 1.0}))
    crowd(desk)
    desk.pass_time(day)
    for number in CROWD:
        provisioned(desk, number, *SERVICES)
    later = make(after)
    later.clock.now = desk.clock.now
    for number in CROWD:
        later.apply(AGAIN.model_copy(update={"student_number": number}))
    later.pass_time(day + timedelta(2))
    return later


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (LifecycleSettings(), ERASING),
        (ERASING.model_copy(update={"data_days": 300}), ERASING.model_copy(update={"data_days": 10})),
    ],
    ids=["erase", "data_days"],
)
def test_rules_that_erase_many_at_once_are_stopped(
    make: MakeHarness, before: LifecycleSettings, after: LifecycleSettings
) -> None:
    desk = settings_change(make, before, after, LAST_DAY + timedelta(150))
    erased = [number for number in CROWD if desk.account(number).stages]
    assert erased == [], "nobody of a crowd first"
    [plan] = held(desk)
    assert (plan.scope, plan.students) == (Scope(Closing.ERASE), tuple(CROWD))


def test_a_rule_that_shuts_one_target_to_many_is_stopped_there_alone(make: MakeHarness) -> None:
    shuts = LifecycleSettings(entitlements=(NO_MOODLE_IN_GRACE,))
    desk = settings_change(make, LifecycleSettings(), shuts, YEAR_END + timedelta(5))
    shut = [number for number in CROWD if desk.account(number).stages]
    assert shut == [], "a change of the rows shuts nobody before an operator has looked"
    [plan] = held(desk)
    assert (plan.scope, plan.students) == (Scope(Closing.SHUT, target="moodle"), tuple(CROWD))
    assert all(desk.account(number).at("moodle").access_open for number in plan.students)
    release(desk, plan)
    for number in plan.students:
        desk.apply(AGAIN.model_copy(update={"student_number": number}))
    assert all(desk.account(number).at("moodle").stage is Stage.EXPIRED for number in CROWD)
    assert all(desk.account(number).at("mailbox").access_open for number in CROWD)
    back = CROWD[4]
    desk.apply(of(back, sequence=9, year=2027))
    assert desk.account(back).stages == {}


# --- the calendar ---


@pytest.mark.parametrize(
    ("leaves", "juries", "last_day"),
    [
        (date(2027, 6, 20), None, date(2027, 7, 20)),
        (date(2027, 6, 1), "07-20", date(2027, 7, 20)),  # 30 days of grace end on 1 July
        (date(2027, 6, 25), "07-20", date(2027, 7, 25)),
        (date(2027, 7, 21), "07-20", date(2027, 8, 20)),  # those of the next year are others'
        (date(2027, 6, 1), "09-20", date(2027, 9, 20)),
    ],
)
def test_a_grace_does_not_end_before_the_juries_of_its_year(
    make: MakeHarness, leaves: date, juries: str | None, last_day: date
) -> None:
    desk = make(LifecycleSettings(juries_on=juries))
    student(desk)
    desk.pass_time(leaves)
    desk.apply(cancelled(LEA, 9))
    assert desk.account().valid_until == last_day


def test_a_year_that_ends_before_the_juries_is_foreseen_as_it_comes(make: MakeHarness) -> None:
    desk = make(LifecycleSettings(juries_on="09-20"), RegistrySettings(year_end="08-15", grace_days=5))
    student(desk)
    foreseen = desk.registry.lifecycle.timeline(desk.account())
    assert [(step.day, step.stage) for step in foreseen] == [
        (date(2027, 8, 16), Stage.GRACE),
        (date(2027, 9, 21), Stage.EXPIRED),
    ]
    for step in foreseen:
        desk.pass_time(step.day)
        assert desk.account().stage is step.stage


def test_a_day_that_no_year_has_is_refused() -> None:
    for juries in ("02-29", "7-20", "13-01"):
        with pytest.raises(ValidationError):
            LifecycleSettings(juries_on=juries)


def test_each_stage_says_since_when_it_is_so(make: MakeHarness) -> None:
    desk = make()
    student(desk)
    begun = desk.account().stage_since
    assert begun == date(2026, 9, 14)
    desk.apply(of(sequence=7, step_label="Autre libellé"))
    assert desk.account().stage_since == begun
    for day, since, since_at in (
        (YEAR_END + timedelta(9), YEAR_END + timedelta(1), {}),
        (LAST_DAY + timedelta(9), LAST_DAY + timedelta(1), {}),
        (LAST_DAY + timedelta(150), LAST_DAY + timedelta(1), {"mailbox": LAST_DAY + timedelta(101)}),
    ):
        desk.pass_time(day, lambda: complete(desk))
        assert desk.account().stage_since == since
        assert dict(desk.account().stages_since) == since_at
        assert desk.account().at("mailbox").stage_since == since_at.get("mailbox", since)


def test_who_is_held_is_counted_by_kind_of_closing_whatever_the_scope(database: Database) -> None:
    held = {
        "1": Scope(Closing.EXPIRE),
        "2": Scope(Closing.EXPIRE, cohort="M2INFO-2026"),
        "3": Scope(Closing.EXPIRE, cohort="M2INFO-2026"),
        "4": Scope(Closing.SHUT, target="moodle"),
        "5": Scope(Closing.SHUT, target="moodle"),
    }
    rows = [
        {"student_number": n, "closing": s.key, "held_at": 1.0, "released": n == "5"} for n, s in held.items()
    ]
    with database.write() as connection:
        connection.execute(closings.held_closings.insert(), rows)
        counted = closings.counts(connection)
    assert counted == dict.fromkeys(map(str, Closing), 0) | {"expire": 3, "shut": 1}
