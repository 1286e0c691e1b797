"""What time will change is told beforehand; what the guard holds is released for exactly those students."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from consumers.registry.lifecycle import closings
from pipeline.audit import entries, operator_notes
from pipeline.db.database import Database
from pipeline.outbox import outbox
from pipeline.timers import run_due, timers
from schemas.account import Hold, Stage
from schemas.envelope import from_record
from schemas.events import HoldLifted, HoldPlaced, ProlongationRequested
from sesame.acts.acts import Actor, ActRefused, Role
from sesame.operations.access.lifecycle import (
    LifecyclePreviewRequest,
    NoSuchPlan,
    NotProlonged,
    ProlongRequest,
    held,
    preview,
    prolong,
    release,
    services_of,
)
from sesame.settings import Settings
from sesame.testing.servers.registry_kit import RegistryHarness, activation, cancelled, enrolled
from sesame.testing.servers.stores import sqlite_store

CAMILLE, DOMINIQUE = (Actor(name, frozenset({Role.OPERATOR})) for name in ("camille", "dominique"))
LOOKS = Actor("vera", frozenset({Role.REGISTRAR}))
NUMBERS = [str(22_030_000 + n) for n in range(1, 7)]
NAMES = ("Abadie", "Berthelot", "Coquelin", "Dutronc", "Escoffier", "Fauchard")


@dataclass
class Site:
    """Six students of a university; the clock stands on 14 September 2026."""

    desk: RegistryHarness
    settings: Settings
    follows: Mapping[str, str] = field(default_factory=lambda: {"mailbox": "directory"})

    @property
    def database(self) -> Database:
        return self.desk.database

    def pass_time(self, day: date) -> None:
        self.desk.clock.set(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
        run_due(self.database, self.desk.registry.timers())

    def stages(self) -> list[Stage]:
        return [self.desk.account(number).stage for number in NUMBERS]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    settings = Settings(
        targets=("directory", "mailbox", "moodle", "timetable"),
        registry={"grace_days": 30},
        lifecycle={"data_days": 100, "account_days": 200},
    )
    desk = RegistryHarness(sqlite_store(tmp_path), settings.registry, rules=settings.lifecycle)
    for n, (number, name) in enumerate(zip(NUMBERS, NAMES, strict=True)):
        born = date(2000 + n, 1 + n, 3)
        desk.apply(enrolled(number, birth_name=name, given_name=name[::-1].title(), birth_date=born))
        desk.apply(activation(number))
    yield Site(desk, settings)
    desk.database.close()


def test_what_is_to_come_is_counted_by_day_and_told_of_each_with_the_reason(site: Site) -> None:
    site.desk.apply(cancelled(NUMBERS[0]))
    found = preview(site, CAMILLE, LifecyclePreviewRequest(days=60))
    assert [(s.day, s.stage, s.target, s.students) for s in found.steps] == [
        (date(2026, 10, 15), Stage.EXPIRED, None, 1)
    ]
    [life] = found.lives
    assert (life.student_number, life.why, life.valid_until) == (
        NUMBERS[0],
        "not_enrolled",
        date(2026, 10, 14),
    )
    assert (found.erases, found.until, found.held) == (False, date(2026, 11, 13), [])

    erased = preview(site, CAMILLE, LifecyclePreviewRequest(days=2000, erase=True))
    assert [(s.day, s.stage, s.target, s.students) for s in erased.steps] == [
        (date(2026, 10, 15), Stage.EXPIRED, None, 1),
        (date(2027, 1, 23), Stage.ERASED, "mailbox", 1),
        (date(2027, 1, 23), Stage.ERASED, "moodle", 1),
        (date(2027, 5, 3), Stage.ERASED, None, 1),
        (date(2027, 11, 1), Stage.GRACE, None, 5),
        (date(2027, 12, 2), Stage.EXPIRED, None, 5),
        (date(2028, 3, 11), Stage.ERASED, "mailbox", 5),
        (date(2028, 3, 11), Stage.ERASED, "moodle", 5),
        (date(2028, 6, 19), Stage.ERASED, None, 5),
    ]
    assert {life.why for life in erased.lives[1:]} == {"year_ends"}
    assert site.stages() == [Stage.GRACE, *[Stage.ACTIVE] * 5], "nothing was done"


def test_the_messages_that_will_be_sent_are_foreseen_where_there_are_pages(site: Site) -> None:
    site.desk.apply(cancelled(NUMBERS[0]))  # grace from 14 September to 14 October
    assert preview(site, CAMILLE, LifecyclePreviewRequest()).warnings == []
    site.settings = Settings(
        targets=site.settings.targets,
        registry=site.settings.registry.model_dump(),
        lifecycle={"warn_days": (20, 10)},
        portal={"public_url": "https://compte.univ-exemple.fr"},
    )
    found = preview(site, CAMILLE, LifecyclePreviewRequest(days=500))
    assert [(each.day, each.students) for each in found.warnings] == [
        (date(2026, 9, 24), 1),
        (date(2026, 10, 4), 1),
        (date(2027, 11, 11), 5),  # of 1 December
        (date(2027, 11, 21), 5),
    ]
    assert found.lives[0].warnings == [date(2026, 9, 24), date(2026, 10, 4)]
    site.desk.apply(HoldPlaced(student_number=NUMBERS[0], hold=Hold.SUSPENDED))
    site.desk.clock.set(datetime(2026, 9, 24, 7, tzinfo=UTC))
    assert preview(site, CAMILLE, LifecyclePreviewRequest(days=90)).warnings == [], "access is shut"
    site.desk.apply(HoldLifted(student_number=NUMBERS[0], hold=Hold.SUSPENDED))
    assert [each.day for each in preview(site, CAMILLE, LifecyclePreviewRequest(days=90)).warnings] == [
        date(2026, 10, 4)
    ]


def test_what_is_only_read_and_what_others_are_found_by_are_not_erased_with_the_data(site: Site) -> None:
    assert services_of(site) == ("mailbox", "moodle")


def leave(site: Site) -> str:
    """Everybody leaves; the id of what is held then: of everybody."""
    for number in NUMBERS:
        site.desk.apply(cancelled(number))
    site.pass_time(date(2026, 10, 15))
    [plan] = held(site, LOOKS)
    assert (plan.closing, plan.students) == ("expire", NUMBERS)
    return plan.id


def test_a_plan_is_released_for_exactly_its_students_and_carried_out_at_once(site: Site) -> None:
    plan = leave(site)
    found = preview(site, CAMILLE, LifecyclePreviewRequest())
    assert [each.id for each in found.held] == [plan]
    with pytest.raises(ActRefused):
        release(site, LOOKS, plan)
    with pytest.raises(NoSuchPlan):
        release(site, CAMILLE, plan[:-1] + ("0" if plan[-1] != "0" else "1"))
    ended = release(site, CAMILLE, plan)
    assert (ended.released, ended.plan.students) == (True, NUMBERS)
    site.pass_time(date(2026, 10, 15))
    assert set(site.stages()) == {Stage.EXPIRED}
    assert held(site, LOOKS) == []
    with pytest.raises(NoSuchPlan):
        release(site, CAMILLE, plan)
    with site.database.read() as connection:
        noted = [each for each in entries(connection, limit=100) if each.action == "lifecycle.release"]
        left = connection.scalars(select(timers.c.kind)).all()
    assert {each.actor for each in noted} == {"camille"}
    assert left == []


def foreseen(site: Site, days: int = 400) -> list[tuple[date, str, str, int]]:
    found = preview(site, CAMILLE, LifecyclePreviewRequest(days=days)).will_hold
    return [(one.day, one.closing, one.target or one.cohort or "", one.students) for one in found]


def came(site: Site) -> list[tuple[str, str, int]]:
    return [(one.closing, one.target or one.cohort or "", len(one.students)) for one in held(site, CAMILLE)]


def test_the_preview_says_what_the_guard_will_hold_and_so_it_comes(site: Site) -> None:
    assert foreseen(site, 300) == [], "until the year ends"
    assert foreseen(site, 600) == [(date(2027, 12, 2), "expire", "", 6)]
    for number in NUMBERS[:2]:  # two are too few
        site.desk.apply(cancelled(number))
    assert foreseen(site, 300) == []
    site.pass_time(date(2026, 10, 10))
    for number in NUMBERS[2:]:  # but within a month they are six
        site.desk.apply(cancelled(number))
    assert foreseen(site) == [(date(2026, 10, 15), "expire", "", 6)]
    for day in (15, 30):
        site.pass_time(date(2026, 10, day))
    site.pass_time(date(2026, 11, 20))
    assert came(site) == [("expire", "", 6)]
    assert foreseen(site) == [], "they are held already"


def test_those_who_were_shut_already_count_in_what_is_foreseen(site: Site) -> None:
    for number in NUMBERS[:2]:
        site.desk.apply(cancelled(number))
    assert foreseen(site) == [], "two are too few"
    shut_before = {"closing": "expire", "day": (date(2026, 10, 1) - date(1970, 1, 1)).days}
    with site.database.write() as connection:
        connection.execute(insert(closings.closings).values(**shut_before, students=4, population=8))
    [(day, *scope)] = foreseen(site)
    site.pass_time(day)
    assert came(site) == [tuple(scope)] == [("expire", "", 2)]


def test_what_will_be_erased_is_foreseen_for_whoever_is_not_held_before(site: Site) -> None:
    for number in NUMBERS[:2]:
        site.desk.apply(cancelled(number))
    found = preview(site, CAMILLE, LifecyclePreviewRequest(days=300, erase=True)).will_hold
    assert found == [], "two are too few"
    for number in NUMBERS[2:4]:
        site.desk.apply(cancelled(number))
    rules = {**site.settings.lifecycle.model_dump(exclude_unset=True), "guard_share": 0.7}
    site.settings = Settings(
        targets=site.settings.targets, registry=site.settings.registry.model_dump(), lifecycle=rules
    )  # of six, four may expire
    found = preview(site, CAMILLE, LifecyclePreviewRequest(days=300, erase=True)).will_hold
    assert [(one.day, one.closing, one.students) for one in found] == [(date(2027, 1, 23), "erase", 4)], (
        "of the two that are left open four are many"
    )


def test_a_class_that_will_be_held_is_foreseen_though_it_is_few_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closings, "CLASS_MIN", 3)
    settings = Settings(
        targets=("directory", "moodle"), registry={"grace_days": 30}, lifecycle={"guard_share": 0.9}
    )
    desk = RegistryHarness(sqlite_store(tmp_path), settings.registry, rules=settings.lifecycle)
    site = Site(desk, settings)
    for n, (number, name) in enumerate(zip(NUMBERS, NAMES, strict=True)):
        step = "M2INFO" if n < 3 else "L1INFO"
        born = date(2000 + n, 1 + n, 3)
        desk.apply(
            enrolled(number, birth_name=name, given_name=name[::-1].title(), birth_date=born, step=step)
        )
        desk.apply(activation(number))
    for number in NUMBERS[:3]:
        desk.apply(cancelled(number, step="M2INFO"))
    assert foreseen(site) == [(date(2026, 10, 15), "expire", "M2INFO-2026", 3)]
    site.pass_time(date(2026, 10, 15))
    assert came(site) == [("expire", "M2INFO-2026", 3)]
    desk.database.close()


def test_the_plan_is_another_one_when_somebody_was_enrolled_again(site: Site) -> None:
    plan = leave(site)
    born = date(2005, 6, 3)
    back = NUMBERS[5]
    site.desk.apply(
        enrolled(back, 9, birth_name=NAMES[5], given_name=NAMES[5][::-1].title(), birth_date=born)
    )
    with pytest.raises(NoSuchPlan):
        release(site, CAMILLE, plan)
    [smaller] = held(site, LOOKS)
    assert release(site, CAMILLE, smaller.id).released
    site.pass_time(date(2026, 10, 16))
    assert site.stages() == [*[Stage.EXPIRED] * 5, Stage.ACTIVE]


def test_where_two_have_to_release_it_one_who_does_so_twice_is_not_two(site: Site) -> None:
    rules = site.settings.lifecycle.model_copy(update={"release_by_two": True})
    site.settings = site.settings.model_copy(update={"lifecycle": rules})
    plan = leave(site)
    for _ in range(2):
        first = release(site, CAMILLE, plan)
        assert (first.released, first.plan.approved_by) == (False, "camille")
    site.pass_time(date(2026, 10, 16))
    assert site.stages().count(Stage.GRACE) == 6
    assert release(site, DOMINIQUE, plan).released
    site.pass_time(date(2026, 10, 17))
    assert set(site.stages()) == {Stage.EXPIRED}


def test_an_approval_does_not_count_for_a_plan_that_has_changed_since(site: Site) -> None:
    rules = site.settings.lifecycle.model_copy(update={"release_by_two": True})
    site.settings = site.settings.model_copy(update={"lifecycle": rules})
    release(site, CAMILLE, leave(site))
    born = date(2005, 6, 3)
    site.desk.apply(
        enrolled(NUMBERS[5], 9, birth_name=NAMES[5], given_name=NAMES[5][::-1].title(), birth_date=born)
    )
    [smaller] = held(site, LOOKS)
    assert smaller.approved_by is None
    assert not release(site, DOMINIQUE, smaller.id).released


def test_an_operator_prolongs_access_until_a_day_or_by_days_and_says_why(site: Site) -> None:
    number = NUMBERS[0]
    site.desk.apply(cancelled(number))  # access ends after 14 October 2026
    by_days = ProlongRequest(student_number=number, reason="soutenance reportée", days=10)
    with pytest.raises(ActRefused):
        prolong(site, LOOKS, by_days)
    ended = prolong(site, CAMILLE, by_days)
    assert (ended.before, ended.until, ended.times) == (date(2026, 10, 14), date(2026, 10, 24), 1)
    [asked] = asked_for(site, number)
    assert (asked.ends_on, asked.until) == (ended.before, ended.until)
    site.desk.apply(asked)
    site.pass_time(date(2026, 10, 24))
    assert site.stages()[0] is Stage.GRACE
    site.pass_time(date(2026, 10, 25))
    assert site.stages()[0] is Stage.EXPIRED
    again = ProlongRequest(student_number=number, reason="appel", until=date(2026, 11, 30))
    assert prolong(site, CAMILLE, again).times == 2
    site.desk.apply(asked_for(site, number)[-1])
    assert site.desk.account(number).valid_until == date(2026, 11, 30)
    with site.database.read() as connection:
        noted = [each for each in entries(connection, limit=100) if each.action == "lifecycle.prolong"]
        remarks = operator_notes.of_student(connection, number)
    assert [each.actor for each in noted] == ["camille"] * 2
    assert [remark.words for remark in remarks] == ["soutenance reportée", "appel"]


@pytest.mark.parametrize(
    ("number", "until"),
    [
        (NUMBERS[1], date(2030, 1, 1)),  # enrolled
        (NUMBERS[0], date(2026, 10, 14)),  # the very day
        (NUMBERS[0], date(2026, 9, 1)),
        (NUMBERS[0], date(9999, 12, 31)),  # no day of an event's
        (NUMBERS[0], date(2036, 12, 31)),
        ("22999999", date(2030, 1, 1)),  # nobody
    ],
)
def test_what_does_not_end_by_then_is_not_prolonged(site: Site, number: str, until: date) -> None:
    site.desk.apply(cancelled(NUMBERS[0]))
    with pytest.raises(NotProlonged):
        prolong(site, CAMILLE, ProlongRequest(student_number=number, reason="essai", until=until))
    assert asked_for(site, number) == []


def asked_for(site: Site, number: str) -> list[ProlongationRequested]:
    """The prolongations that wait for the log."""
    with site.database.read() as connection:
        rows = connection.execute(select(outbox).where(outbox.c.key == number).order_by(outbox.c.id)).all()
    read = [
        from_record(row.key, tuple((n, v.encode()) for n, v in json.loads(row.headers)), row.value).event
        for row in rows
    ]
    return [event for event in read if isinstance(event, ProlongationRequested)]
