"""Holds that stand so already: said, and not done a second time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.eventlog.port import LogUnavailable
from schemas.account import Hold
from schemas.events import HoldPlaced
from sesame.operations.acts import Actor, Role
from sesame.operations.holds import HoldChange, HoldReport, lift, place
from sesame.testing.servers.registry_kit import LEA, START, Desk, enrolled
from sesame.testing.servers.stores import sqlite_store
from tests.unit.producers.registrar.registrar_kit import RecordedLog

OPERATOR = Actor("camille", frozenset({Role.OPERATOR}))


class Site:
    """A store, a log, and a registry that reads the log when it is told to."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.producer = desk, RecordedLog()
        self.database = desk.database

    def later(self) -> None:
        """An hour passes."""
        self.desk.clock.now += 3600.0

    def place(self, kind: Hold = Hold.SUSPENDED, number: str = LEA) -> HoldReport:
        return place(self, OPERATOR, self._change(kind, number))

    def lift(self, kind: Hold = Hold.SUSPENDED, number: str = LEA) -> HoldReport:
        return lift(self, OPERATOR, self._change(kind, number))

    def _change(self, kind: Hold, number: str) -> HoldChange:
        at = datetime.fromtimestamp(self.desk.clock(), UTC)
        return HoldChange(student_number=number, kind=kind, reason="vol", at=at)

    def read(self) -> int:
        """Let the registry read what came; how much that was."""
        came = self.producer.take()
        for message in came:
            self.desk.redeliver(message)
        return len(came)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    desk = Desk(sqlite_store(tmp_path))
    desk.apply(enrolled())
    yield Site(desk)
    desk.database.close()


def test_a_hold_that_is_placed_twice_is_said_to_stand_since_the_first_time(site: Site) -> None:
    assert site.place().changed
    assert site.read() == 1
    site.later()
    again = site.place()
    assert (again.changed, again.since, site.read()) == (False, START, 0)
    assert site.place(Hold.ADMINISTRATIVE).changed, "each kind is counted by itself"


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
