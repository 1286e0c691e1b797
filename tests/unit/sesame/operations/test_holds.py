"""Holds that stand so already: said, and not done a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from pipeline import audit
from pipeline.eventlog.port import LogUnavailable
from schemas.account import Hold
from schemas.events import HoldPlaced, IdentityDecided, IdentityDecision
from sesame.acts.acts import Actor, Role
from sesame.operations.access.holds import (
    HoldChangeRequest,
    HoldListRequest,
    HoldReport,
    HoldsReport,
    is_as_asked,
    lift,
    lift_all,
    place,
    place_all,
)
from sesame.testing.servers.registrar_kit import RecordedLog
from sesame.testing.servers.registry_kit import LEA, START, RegistryHarness, enrolled
from sesame.testing.servers.stores import sqlite_store

LEA_TOO = "22001239"
"""Her other number: who is held here has two."""
OPERATOR = Actor("camille", frozenset({Role.OPERATOR}))


class Site:
    """A store, a log, and a registry that reads the log when it is told to."""

    def __init__(self, desk: RegistryHarness) -> None:
        self.desk, self.producer = desk, RecordedLog()
        self.database = desk.database
        self.privacy_if_any = desk.privacy
        self.shut_out: list[str] = []

    def end_sessions(self, _connection: Connection, student_number: str, _now: float) -> None:
        self.shut_out.append(student_number)

    def list(self, act: Callable[..., HoldsReport], *lines: str, **options: Any) -> HoldsReport:
        """Place or lift the hold of a list."""
        at = datetime.fromtimestamp(self.desk.clock(), UTC)
        given = {"kind": Hold.STOLEN_PASSWORDS, "reason": "hameçonnage", "at": at, "file": "volés.csv"}
        return act(self, OPERATOR, HoldListRequest(lines=lines, **given | options))

    def later(self) -> None:
        """An hour passes."""
        self.desk.clock.now += 3600.0

    def place(self, kind: Hold = Hold.SUSPENDED, number: str = LEA) -> HoldReport:
        return place(self, OPERATOR, self._change(kind, number))

    def lift(self, kind: Hold = Hold.SUSPENDED, number: str = LEA) -> HoldReport:
        return lift(self, OPERATOR, self._change(kind, number))

    @staticmethod
    def _change(kind: Hold, number: str) -> HoldChangeRequest:
        return HoldChangeRequest(student_number=number, kind=kind, reason="vol", unknown=True)

    def read(self) -> int:
        """Let the registry read what came; how much that was."""
        came = self.producer.take()
        for message in came:
            self.desk.redeliver(message)
        return len(came)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    desk = RegistryHarness(sqlite_store(tmp_path))
    desk.apply(enrolled())
    desk.apply(enrolled(LEA_TOO))
    desk.apply(IdentityDecided(student_number=LEA_TOO, other=LEA, decision=IdentityDecision.MERGE))
    yield Site(desk)
    desk.database.close()


def test_a_hold_that_is_placed_twice_is_said_to_stand_since_the_first_time(site: Site) -> None:
    assert site.place().changed
    assert site.read() == 1
    site.later()
    again = site.place()
    assert (again.changed, again.since, site.read()) == (False, START, 0)
    assert site.place(Hold.ADMINISTRATIVE).changed, "each kind is counted by itself"


def test_a_hold_is_one_whichever_of_two_numbers_it_is_asked_under(site: Site) -> None:
    def settled() -> list[bool]:
        with site.database.read() as connection:
            kind = Hold.SUSPENDED
            return [is_as_asked(connection, site.database, each, kind) for each in (LEA, LEA_TOO)]

    assert site.place(number=LEA_TOO).changed
    assert settled() == [False, False]
    assert site.read() == 1
    assert (site.desk.person().holds, settled()) == (frozenset({Hold.SUSPENDED}), [True, True])
    site.later()
    again = site.place()
    assert (again.changed, again.since, site.read()) == (False, START, 0)
    assert site.lift().changed
    assert settled() == [False, False]
    site.read()
    assert (site.desk.person(LEA_TOO).holds, settled()) == (frozenset(), [True, True])
    site.later()
    ended = site.lift(number=LEA_TOO)
    assert (ended.changed, ended.since) == (False, START + timedelta(hours=1))
    assert site.place(number=LEA_TOO).changed, "and then it can be placed again"


def test_nothing_is_lifted_where_there_is_no_hold(site: Site) -> None:
    never = site.lift()
    assert (never.changed, never.since, site.read()) == (False, None, 0)
    site.place()
    site.read()
    site.later()
    assert site.lift().changed
    assert site.read() == 1
    site.later()
    again = site.lift()
    assert (again.changed, again.since, site.read()) == (False, START + timedelta(hours=1), 0)
    assert site.place().changed, "and then it can be placed again"


def test_what_the_registry_has_not_read_yet_is_asked_for_again(site: Site) -> None:
    site.producer.refuses = 1
    with pytest.raises(LogUnavailable):
        site.place()
    site.producer.take()  # and lost it
    assert site.place().changed
    assert site.lift().changed, "the hold is on its way"
    assert site.read() == 2
    assert site.desk.person().holds == frozenset()


def test_a_hold_whose_end_is_on_its_way_is_placed_again(site: Site) -> None:
    site.place()
    site.read()
    site.later()
    site.lift()
    site.later()
    assert site.place().changed
    site.read()
    assert site.desk.person().holds == {Hold.SUSPENDED}


def test_a_hold_that_the_registry_placed_itself_has_no_operators_time(site: Site) -> None:
    site.desk.apply(HoldPlaced(student_number=LEA, hold=Hold.TECHNICAL, reason_ref="remarque"))
    found = site.place(Hold.TECHNICAL)
    assert (found.changed, found.since) == (False, None)
    assert site.lift(Hold.TECHNICAL).changed


def test_the_end_of_a_technical_hold_settles_doubts_and_is_always_said(site: Site) -> None:
    assert site.lift(Hold.TECHNICAL).changed


def test_of_somebody_unknown_a_hold_is_kept_and_lifted(site: Site) -> None:
    assert not site.lift(number="22699999").changed
    assert site.place(number="22699999").known is False
    assert site.lift(number="22699999").changed


# --- a list ---------------------------------------------------------------------------------------


def crowd(site: Site, count: int) -> list[str]:
    """Students whom the registry has."""
    numbers = [f"2260{index:04}" for index in range(count)]
    for index, number in enumerate(numbers):
        site.desk.apply(enrolled(number, given_name=f"Léa{index}", birth_name=f"Martin{index}"))
    return numbers


def test_everybody_on_a_list_is_shut_out_in_the_personal_lane_and_named_in_the_audit(site: Site) -> None:
    numbers = crowd(site, 30)
    done = site.list(place_all, *numbers, numbers[0])
    assert (done.students, done.changed, done.wrong) == (30, 30, ())
    assert site.read() == 30
    assert {site.desk.person(number).holds for number in numbers} == {frozenset({Hold.STOLEN_PASSWORDS})}
    assert site.shut_out == numbers
    with site.database.read() as connection:
        found = audit.entries(connection, limit=99)
        mine = audit.entries(connection, limit=99, student=numbers[27])
    assert [(entry.action, len(entry.detail["students"])) for entry in found] == [
        ("hold.place", 5),
        ("hold.place", 25),
    ]
    assert [(entry.actor, entry.reason, entry.detail["file"]) for entry in mine] == [
        ("camille", "hameçonnage", "volés.csv")
    ]
    again = site.list(place_all, *numbers, "22609999")
    assert (again.students, again.changed, again.wrong, site.read()) == (30, 0, (31,), 0)
    back = site.list(lift_all, *numbers)
    assert (back.changed, site.read()) == (30, 30)
    assert {site.desk.person(number).holds for number in numbers} == {frozenset()}


def test_a_list_names_students_by_number_login_or_address_and_wrong_lines_are_told(site: Site) -> None:
    one, two, three = crowd(site, 3)
    account = site.desk.account(two)
    lines = (
        "\ufefflogin;seen",
        f"{account.login.upper()};14:02",
        "# from the proxy",
        "",
        f'"{site.desk.account(three).mail}";14:05',
        "nobody.at.all;14:07",
        f" {one} ",
        '"',
    )
    done = site.list(place_all, *lines)
    assert (done.students, done.changed, done.wrong) == (3, 3, (6, 8))
    site.read()
    assert all(site.desk.person(number).holds for number in (one, two, three))
    assert not site.desk.person(LEA).holds


def test_a_dry_run_of_a_list_changes_nothing(site: Site) -> None:
    done = site.list(place_all, LEA, "nobody", dry_run=True)
    assert (done.dry_run, done.students, done.changed, done.wrong) == (True, 1, 1, (2,))
    assert (site.read(), site.shut_out) == (0, [])
    with site.database.read() as connection:
        assert audit.entries(connection, limit=9) == []


def test_a_list_that_the_log_did_not_take_is_asked_for_again(site: Site) -> None:
    site.producer.refuses = 1
    with pytest.raises(LogUnavailable):
        site.list(place_all, LEA)
    site.producer.take()
    assert site.list(place_all, LEA).changed == 1
    assert site.read() == 1
