"""Which target is for whom and when: the rows, an account's life under them, and changes of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import insert

from consumers.propagation.rows import propagation
from consumers.registry.lifecycle import closings
from consumers.registry.lifecycle.closings import Plan, Scope
from consumers.registry.lifecycle.entitlements import Entitlement, verdict
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.lifecycle.stages import Closing, Milestone
from pipeline import timers
from schemas.account import Administrative, Enrolment, Pedagogical, Stage
from schemas.events import ReplayRequested
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

SERVICES = ("mailbox", "moodle", "koha")
HEALTH_LATE = {"target": "mailbox", "components": ["SAN"], "steps": ["L1*"], "opens_on": "09-20"}
KOHA_FOR_SCIENCE = (
    {"target": "koha", "components": ["SCI"]},
    {"target": "koha", "everybody": True, "open": False},
)
MOODLE_UNTIL_JUNE = {"target": "moodle", "steps": ["L1SAN"], "shuts_on": "06-30"}
FIXED = HEALTH_LATE | {"opens_on": date(2026, 9, 2)}
NO_MAIL, KOHA = {"target": "mailbox", "open": False}, {"target": "koha"}
IN_GRACE = {"affiliations": ["affiliate"]}
CROWD = [str(22_010_000 + n) for n in range(1, 9)]

MakeHarness = Callable[..., RegistryHarness]


def rules(*rows: dict[str, Any], **more: Any) -> LifecycleSettings:
    return LifecycleSettings.model_validate({"entitlements": rows, **more})


@pytest.fixture
def make(store_url: str) -> Iterator[MakeHarness]:
    with ExitStack() as stack:

        def make_desk(*rows: dict[str, Any], now: float | None = None, **more: Any) -> RegistryHarness:
            desk = RegistryHarness(store_url, SETTINGS, rules=rules(*rows, **more), services=SERVICES)
            desk.clock.now = now or desk.clock.now
            stack.enter_context(closing(desk.database))
            return desk

        yield make_desk


def student(desk: RegistryHarness, number: str = LEA, **more: Any) -> None:
    desk.apply(of(number, **more))
    desk.apply(activation(number))


def release(desk: RegistryHarness, plan: Plan) -> None:
    """As `sesame lifecycle release` does."""
    with desk.transaction() as connection:
        closings.release(connection, plan)
        for number in plan.students:
            timers.arm(connection, desk.database, "grace_ends", number, desk.clock())
    desk.pass_time(datetime.fromtimestamp(desk.clock(), UTC).date())


def again(desk: RegistryHarness, number: str = LEA) -> None:
    """As `sesame replay --consumer registry` does."""
    desk.apply(ReplayRequested(student_number=number, consumer="registry", replay_id="replay-1"))


def at(desk: RegistryHarness, number: str = LEA) -> dict[str, str]:
    account = desk.account(number)
    return {name: account.at(name).stage.value for name in SERVICES}


# --- the rows ---


def enrolment(step: str = "L1SAN", component: str = "SAN", year: int = 2026) -> Enrolment:
    return Enrolment(
        year=year,
        step=step,
        step_version="1",
        step_label=step,
        component=component,
        administrative=Administrative.IN_FORCE,
        pedagogical=Pedagogical.PENDING,
    )


L1_HEALTH, L1_SCIENCE, M1_HEALTH = enrolment(), enrolment("L1INFO", "SCI"), enrolment("M1SAN")


@pytest.mark.parametrize(
    ("row", "held", "day", "expected"),
    [
        (HEALTH_LATE, [L1_HEALTH], date(2026, 9, 19), (False, date(2026, 9, 20))),
        (HEALTH_LATE, [L1_HEALTH], date(2026, 9, 20), (True, None)),
        (HEALTH_LATE, [L1_SCIENCE], date(2026, 8, 1), (True, None)),
        (HEALTH_LATE, [M1_HEALTH], date(2026, 8, 1), (True, None)),
        (HEALTH_LATE, [L1_HEALTH, L1_SCIENCE], date(2026, 8, 1), (True, None)),
        (HEALTH_LATE, [enrolment("l1san")], date(2026, 8, 1), (True, None)),
        (HEALTH_LATE, [enrolment(component="san")], date(2026, 8, 1), (True, None)),
        (HEALTH_LATE, [enrolment("L1")], date(2026, 8, 1), (False, date(2026, 9, 20))),
        (HEALTH_LATE, [enrolment(year=2027)], date(2027, 9, 19), (False, date(2027, 9, 20))),
        (HEALTH_LATE | {"opens_on": "01-15"}, [L1_HEALTH], date(2026, 9, 1), (False, date(2027, 1, 15))),
        (FIXED, [L1_HEALTH], date(2026, 9, 1), (False, date(2026, 9, 2))),
        (HEALTH_LATE | {"opens_on": "2026-09-02"}, [L1_HEALTH], date(2026, 9, 2), (True, None)),
        (HEALTH_LATE | {"shuts_on": "08-31"}, [L1_HEALTH], date(2027, 8, 31), (True, None)),
        (HEALTH_LATE | {"shuts_on": "08-31"}, [L1_HEALTH], date(2027, 9, 1), (False, None)),
        (HEALTH_LATE | {"shuts_on": "12-20"}, [L1_HEALTH], date(2026, 12, 21), (False, None)),
        (NO_MAIL | {"everybody": True}, [L1_HEALTH, L1_SCIENCE], date(2026, 9, 1), (False, None)),
        (NO_MAIL | {"affiliations": ["student"]}, [L1_HEALTH], date(2026, 9, 1), (False, None)),
        (NO_MAIL | {"affiliations": ["affiliate"]}, [L1_HEALTH], date(2026, 9, 1), (True, None)),
        ({"target": "moodle", "everybody": True, "open": False}, [L1_HEALTH], date(2026, 9, 1), (True, None)),
    ],
)  # fmt: skip
def test_a_row_says_for_whom_and_when(
    row: dict[str, Any], held: list[Enrolment], day: date, expected: tuple[bool, date | None]
) -> None:
    found = verdict(rules(row).entitlements, "mailbox", held, day)
    assert (found.open, found.opens_on) == expected


def test_the_first_row_that_matches_counts_and_is_named() -> None:
    rows = rules({"target": "moodle", "everybody": True}, *KOHA_FOR_SCIENCE).entitlements
    day = date(2026, 9, 1)
    assert verdict(rows, "koha", [L1_SCIENCE], day)[:2] == (True, 2)
    assert verdict(rows, "koha", [L1_HEALTH], day)[:2] == (False, 3)
    assert verdict(rows, "koha", [L1_HEALTH, L1_SCIENCE], day)[:2] == (True, 2)
    assert verdict(rows, "mailbox", [L1_HEALTH], day)[:2] == (True, None)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"target": "koha"}], "everybody = true"),
        ([{"target": "koha", "components": []}], "everybody = true"),
        ([{"target": "koha", "everybody": True, "steps": ["L1"]}], "not both"),
        ([{"target": "koha", "everybody": True, "open": False, "opens_on": "09-01"}], "takes no days"),
        ([{"target": "koha", "affiliations": ["affiliate"], "steps": ["L1"]}], "affiliate means grace"),
        ([{"target": "koha", "affiliations": ["affiliate"], "opens_on": "09-01"}], "affiliate means grace"),
        ([{"target": "koha", "everybody": True, "opens_on": "06-30", "shuts_on": "03-01"}], "comes after"),
        ([{"target": "koha", "everybody": True, "opens_on": "02-29"}], "opens_on"),
        ([{"target": "koha", "everybody": True, "opens_on": "13-01"}], "opens_on"),
        ([{"target": "koha", "affiliations": ["alumni"]}], "affiliations"),
        ([{"target": "koha", "everybody": True}, {"target": "koha", "steps": ["L1"]}], "row 2 .* row 1"),
        ([{"target": "koha", "steps": ["L1*"]}, {"target": "moodle", "steps": ["L1"]},
          {"target": "koha", "steps": ["L1SAN", "L1D*"], "opens_on": "09-01"}], "row 3 .* row 1"),
        ([KOHA | {"components": ["A", "B"]}, KOHA | {"components": ["B"], "steps": ["X"]}], "row 2 "),
        ([KOHA | IN_GRACE, KOHA | IN_GRACE | {"open": False}], "row 2 "),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_kept_are_refused_with_the_row(rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        rules(*rows)


@pytest.mark.parametrize(
    "rows",
    [
        [{"target": "koha", "steps": ["L1"]}, {"target": "koha", "steps": ["L1*"]}],
        [{"target": "koha", "steps": ["L1*"]}, {"target": "koha", "everybody": True, "open": False}],
        [{"target": "koha", "components": ["A"]}, {"target": "koha", "components": ["a"]}],
        [{"target": "koha", "components": ["A"]}, {"target": "koha", "steps": ["L1"]}],
        [KOHA | {"everybody": True}, KOHA | IN_GRACE | {"open": False}],
        [KOHA | IN_GRACE, KOHA | {"steps": ["L1"]}],
    ],
)  # fmt: skip
def test_rows_that_each_count_are_accepted(rows: list[dict[str, Any]]) -> None:
    assert len(rules(*rows).entitlements) == 2


# --- a life under them ---


def test_a_target_that_opens_later_is_untouched_until_its_day_and_opens_by_time_alone(
    make: MakeHarness,
) -> None:
    desk = make(HEALTH_LATE)
    student(desk, step="L1SAN", component="SAN")
    assert at(desk) == {"mailbox": "precreated", "moodle": "active", "koha": "active"}
    account = desk.account()
    assert account.opens_on == {"mailbox": date(2026, 9, 20)}
    assert account.at("mailbox").lacks_target
    assert not account.at("moodle").lacks_target
    desk.pass_time(date(2026, 9, 19))
    assert desk.account().version == account.version
    desk.propagated("waiting", account.version)
    desk.pass_time(date(2026, 9, 20))
    after = desk.account()
    assert (after.version, after.stages, after.opens_on) == (account.version + 1, {}, {})
    assert after.opened_at == datetime(2026, 9, 20, tzinfo=UTC), "the window of that day, not of the summer"


def test_another_component_brings_a_target_and_its_loss_shuts_it(make: MakeHarness) -> None:
    desk = make(*KOHA_FOR_SCIENCE)
    student(desk, step="M1SAN", component="SAN")
    assert at(desk)["koha"] == "precreated"
    assert desk.account().opens_on == {}, "no day will open it"
    desk.apply(of(sequence=5, step="L1INFO", component="SCI"))
    assert at(desk)["koha"] == "active"
    provisioned(desk, LEA, *SERVICES)
    desk.apply(cancelled(LEA, 6, step="L1INFO"))
    assert at(desk) == {"mailbox": "active", "moodle": "active", "koha": "expired"}
    assert held(desk) == [], "one person is no crowd, and the rows are the same"
    desk.apply(activation(LEA))
    assert at(desk)["koha"] == "expired", "what was shut stays shut, and is still looked at"
    desk.apply(of(sequence=7, step="L1INFO", component="SCI"))
    assert at(desk)["koha"] == "active"


def test_a_target_shuts_after_its_last_day(make: MakeHarness) -> None:
    desk = make(MOODLE_UNTIL_JUNE)
    student(desk, step="L1SAN")
    provisioned(desk, LEA, *SERVICES)
    begins = date(2027, 7, 1)
    steps = desk.registry.lifecycle.timeline(desk.account())
    assert steps[0] == Milestone(begins, Stage.EXPIRED, "moodle")
    desk.pass_time(begins - timedelta(1))
    assert at(desk)["moodle"] == "active"
    desk.pass_time(begins)
    assert at(desk) == {"mailbox": "active", "moodle": "expired", "koha": "active"}


def test_in_grace_targets_stay_as_they_were_and_are_not_opened(make: MakeHarness) -> None:
    desk = make(*KOHA_FOR_SCIENCE, HEALTH_LATE | {"opens_on": "10-10"})
    student(desk, step="L1SAN", component="SAN")
    student(desk, CROWD[0], step="L1INFO", component="SCI")
    desk.apply(cancelled(LEA, 9, step="L1SAN"))
    desk.apply(cancelled(CROWD[0], 9, step="L1INFO"))
    assert at(desk) == {"mailbox": "precreated", "moodle": "grace", "koha": "precreated"}
    assert at(desk, CROWD[0]) == {"mailbox": "grace", "moodle": "grace", "koha": "grace"}
    desk.pass_time(date(2026, 10, 12))
    assert at(desk)["mailbox"] == "precreated", "whoever leaves is given nothing new"


def test_what_was_never_given_stays_so_after_the_end_and_does_not_delay_the_erasure(
    make: MakeHarness,
) -> None:
    desk = make(*KOHA_FOR_SCIENCE, erase=True, data_days=10, account_days=60)
    student(desk, step="M1SAN", component="SAN")
    provisioned(desk, LEA, "mailbox", "moodle")
    desk.apply(cancelled(LEA, 9, step="M1SAN"))

    def complete() -> None:
        version = desk.account().version
        row = {"student_number": LEA, "version": version, "lane": "bulk", "opened_at": desk.clock()}
        with desk.transaction() as connection:
            connection.execute(propagation.delete())
            connection.execute(
                insert(propagation).values(**row, state="completed", completed_version=version)
            )

    last = desk.account().valid_until
    assert last is not None
    desk.pass_time(last + timedelta(1), complete)
    assert at(desk) == {"mailbox": "expired", "moodle": "expired", "koha": "precreated"}
    desk.pass_time(last + timedelta(11), complete)
    assert at(desk) == dict.fromkeys(SERVICES, "erased")
    desk.pass_time(last + timedelta(62), complete)
    assert desk.account().stage is Stage.ERASED


# --- a change of the rows ---


def crowd_of(desk: RegistryHarness, **more: Any) -> None:
    for number in CROWD:
        student(desk, number, **more)
        provisioned(desk, number, *SERVICES)


def test_changed_rows_shut_nobody_before_a_release_however_few(make: MakeHarness) -> None:
    before = make()
    crowd_of(before, step="M1SAN", component="SAN")
    desk = make(*KOHA_FOR_SCIENCE, now=before.clock.now)
    desk.pass_time(date(2026, 9, 30))
    assert {at(desk, number)["koha"] for number in CROWD} == {"active"}, "a restart alone changes nobody"
    one = CROWD[3]
    desk.apply(activation(one))  # any fact about one student
    assert at(desk, one)["koha"] == "active"
    [plan] = held(desk)
    assert (plan.scope, plan.students) == (Scope(Closing.SHUT, target="koha"), (one,))
    for number in CROWD:
        again(desk, number)
    [plan] = held(desk)
    assert plan.students == tuple(CROWD)
    release(desk, plan)
    assert {at(desk, number)["koha"] for number in CROWD} == {"expired"}
    assert {at(desk, number)["moodle"] for number in CROWD} == {"active"}
    assert held(desk) == []


def test_what_the_guard_keeps_open_is_shown_open(make: MakeHarness) -> None:
    before = make()
    student(before, step="M1SAN", component="SAN")
    account, desk = before.account(), make(*KOHA_FOR_SCIENCE)
    in_force = [each for each in account.enrolments if each.in_force]
    life = desk.registry.lifecycle.life_of(account, in_force, date(2026, 9, 20), activated=True, held=True)
    assert (life.stage, life.stages) == (Stage.ACTIVE, {})


def test_rows_that_are_put_back_shut_nobody_and_the_plan_is_gone(make: MakeHarness) -> None:
    before = make()
    crowd_of(before, step="M1SAN", component="SAN")
    wrong = make(*KOHA_FOR_SCIENCE, now=before.clock.now)
    for number in CROWD:
        again(wrong, number)
    desk = make(now=wrong.clock.now)
    for number in CROWD:
        again(desk, number)
    assert held(desk) == []
    assert {at(desk, number)["koha"] for number in CROWD} == {"active"}


def test_a_release_of_one_target_does_not_shut_another(make: MakeHarness) -> None:
    before = make()
    crowd_of(before, step="L1SAN", component="SAN")
    both = (*KOHA_FOR_SCIENCE, {"target": "moodle", "everybody": True, "open": False})
    desk = make(*both, now=before.clock.now)
    for number in CROWD:
        again(desk, number)
    [plan] = held(desk)
    release(desk, plan)
    shut = {at(desk, number)[plan.scope.target] for number in CROWD}
    other = next(name for name in ("koha", "moodle") if name != plan.scope.target)
    assert (shut, {at(desk, number)[other] for number in CROWD}) == ({"expired"}, {"active"})
    [second] = held(desk)
    assert second.scope.target == other
    release(desk, second)
    assert {at(desk, number)[other] for number in CROWD} == {"expired"}


def test_a_new_target_is_not_shut_to_students_who_never_had_it(make: MakeHarness) -> None:
    before = make()
    for number in CROWD:
        student(before, number, step="M1SAN", component="SAN")
        provisioned(before, number, "mailbox", "moodle")
    desk = make(*KOHA_FOR_SCIENCE, now=before.clock.now)
    for number in CROWD:
        again(desk, number)
    assert held(desk) == []
    assert {at(desk, number)["koha"] for number in CROWD} == {"precreated"}


def test_rows_that_open_earlier_open_with_the_next_look(make: MakeHarness) -> None:
    before = make(HEALTH_LATE | {"opens_on": "11-15"})
    crowd_of(before, step="L1SAN", component="SAN")
    desk = make(HEALTH_LATE, now=before.clock.now)
    for number in CROWD:
        again(desk, number)
    assert {desk.account(number).opens_on["mailbox"] for number in CROWD} == {date(2026, 9, 20)}
    desk.pass_time(date(2026, 9, 20))
    assert {at(desk, number)["mailbox"] for number in CROWD} == {"active"}


def test_grace_rows_that_are_taken_out_open_the_target_again(make: MakeHarness) -> None:
    row = {"target": "moodle", "affiliations": ["affiliate"], "open": False}
    before = make(row)
    student(before)
    provisioned(before, LEA, *SERVICES)
    before.apply(cancelled())
    assert at(before)["moodle"] == "expired"
    desk = make(now=before.clock.now)
    again(desk)
    assert at(desk)["moodle"] == "grace"


def test_rows_that_are_taken_out_give_nothing_new_in_grace(make: MakeHarness) -> None:
    before = make(*KOHA_FOR_SCIENCE)
    student(before, step="M1SAN", component="SAN")
    before.apply(cancelled(LEA, 9, step="M1SAN"))
    desk = make(now=before.clock.now)
    again(desk)
    assert at(desk) == {"mailbox": "grace", "moodle": "grace", "koha": "precreated"}


def test_a_row_is_a_value_that_settings_files_can_hold() -> None:
    row = Entitlement.model_validate({"target": "koha", "everybody": True, "opens_on": "09-01"})
    assert Entitlement.model_validate_json(row.model_dump_json()) == row


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        ("07-01", "06-30", ("2026-07-01", "2027-06-30")),
        ("06-30", "11-01", ("2027-06-30", "2026-11-01")),
        ("09-01", "10-31", ("2026-09-01", "2027-10-31")),
    ],
)
def test_a_month_and_day_are_in_the_academic_year(first: str, last: str, days: tuple[str, str]) -> None:
    one = Entitlement.model_construct(target="moodle", opens_on=first, shuts_on=last)
    assert (str(one.first_day(2026)), str(one.last_day(2026))) == days
