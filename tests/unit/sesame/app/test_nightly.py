"""The night's comparison: once a night whatever the number of processes, and made up for."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from consumers.kit.connector import TargetObject
from pipeline.db.database import Database
from sesame.app.comparing import Nightly, last_time
from sesame.operations.questions.reconcile import passes
from sesame.operations.questions.reconcile.passes import Pass
from sesame.settings.runtime import ReconcileSettings
from tests.unit.sesame.operations.test_reconcile import STUDENTS, ByMail, Site, filled, its_object
from tests.unit.sesame.operations.test_reconcile_watch import FallsOver

PARIS = ZoneInfo("Europe/Paris")
EVENING = datetime(2026, 10, 2, 21, 0, tzinfo=PARIS)
HALF_PAST_THREE = EVENING.replace(day=3, hour=3, minute=30)
NEVER = threading.Event()


class Night:
    """A site whose targets are compared at half past three, and what was told of them."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.site = Site(database, folder)
        self.now = EVENING
        self.told: list[tuple[str, str]] = []

    def process(self, *, repair: bool = False) -> Nightly:
        settings = SimpleNamespace(targets=("shelf",), reconcile=ReconcileSettings(repair=repair))
        site = cast("Any", self.site)
        app = SimpleNamespace(
            database=site.database,
            settings=settings,
            connector=site.connector,
            producer=site.producer,
            notes_file=site.notes_file,
            store_file=None,
            follows={},
        )
        return Nightly(
            cast("Any", app), ["shelf"], on_trouble=lambda *what: self.told.append(what), now=lambda: self.now
        )

    def compared(self) -> int:
        """How many times the target was listed."""
        return len(self.site.shelves)

    def latest(self) -> list[Pass]:
        with self.site.database.read() as connection:
            return passes.latest(connection)


@pytest.fixture
def night(database: Database, tmp_path: Path) -> Night:
    return Night(database, tmp_path)


def test_each_night_one_of_two_processes_compares_and_the_other_does_not(night: Night) -> None:
    filled(night.site)
    one, other = night.process(), night.process()
    for process in (one, other):
        process.look("shelf", NEVER)
    assert night.compared() == 0, "it was never compared, and waits for its first night"
    for days in range(3):
        night.now = HALF_PAST_THREE + timedelta(days=days, seconds=days)
        for process in (other, one, other):
            process.look("shelf", NEVER)
        assert night.compared() == days + 1
    assert night.told == []
    [ended] = night.latest()
    assert (ended.target, ended.accounts, sum(ended.found.values())) == ("shelf", STUDENTS, 0)


def test_a_night_in_which_nobody_was_awake_is_made_up_for(night: Night) -> None:
    night.process().look("shelf", NEVER)
    night.now = HALF_PAST_THREE + timedelta(days=2, hours=6)
    night.process().look("shelf", NEVER)
    night.process().look("shelf", NEVER)
    assert night.compared() == 1


def test_what_a_list_does_not_show_is_found_within_a_week_and_told_until_it_is_mended(night: Night) -> None:
    """A thief's redirection is in no list of mailboxes."""
    site, looked, found = night.site, list[set[str]](), list[set[str]]()
    site.made["shelf"] = lambda: site.shelf(ByMail)
    known = filled(site)
    thieves = {one.student_number for one in known[::50]}
    site.there[:] = [
        replace(
            its_object(one),
            names=(("mail", one.mail),),
            fields={"name": (f"Léa {one.student_number}" if one.student_number not in thieves else "x",)},
        )
        for one in known
    ]
    night.process().look("shelf", NEVER)
    for days in range(8):
        night.now = HALF_PAST_THREE + timedelta(days=days)
        site.listed = cast("Any", FallsOver()) if days == 3 else None
        night.process().look("shelf", NEVER)
        looked.append(set(site.shelves[-1].asked))
        found.append(set(night.latest()[0].left["different"]))
    assert found[-1] == thieves, "in seven nights, of which the one that failed is none"
    assert all(before <= after for before, after in pairwise(found)), (
        "what was found stays until it is mended"
    )
    assert set().union(*looked) == {one.student_number for one in known}
    assert max(map(len, looked)) < STUDENTS / 3, "a night does not look at everybody"
    site.there[0] = replace(site.there[0], fields={"name": ("Léa 22600000",)})
    night.now += timedelta(days=1)
    night.process().look("shelf", NEVER)
    assert set(night.latest()[0].left["different"]) == thieves - {"22600000"}


def test_what_was_found_is_told_and_repaired_where_the_settings_say_so(night: Night) -> None:
    filled(night.site)
    night.process().look("shelf", NEVER)
    del night.site.there[:3]
    night.site.there.append(TargetObject("left", "999", {}, True))
    night.now = HALF_PAST_THREE
    night.process().look("shelf", NEVER)
    assert night.told == [("shelf", "3 missing, 1 orphaned: sesame reconcile --target shelf")]
    assert +Counter(night.latest()[0].found) == {"missing": 3, "orphaned": 1}
    assert night.site.on_the_log == []
    night.now += timedelta(days=1)
    night.process(repair=True).look("shelf", NEVER)
    assert len(night.site.replays()) == 3


def test_a_comparison_that_is_told_to_stop_is_left_to_the_next_process(night: Night) -> None:
    filled(night.site)
    night.process().look("shelf", NEVER)
    night.now = HALF_PAST_THREE
    stopping = threading.Event()
    stopping.set()
    night.process().look("shelf", stopping)
    assert (night.latest(), night.told) == ([], [])
    night.process().look("shelf", NEVER)
    assert night.latest()[0].accounts == STUDENTS


def test_the_night_in_which_summer_time_ends_is_one(night: Night) -> None:
    filled(night.site)
    night.process().look("shelf", NEVER)
    summer, winter = timezone(timedelta(hours=2)), timezone(timedelta(hours=1))
    night.now = datetime(2026, 10, 24, 3, 31, tzinfo=summer)
    night.process().look("shelf", NEVER)
    night.now = datetime(2026, 10, 25, 3, 29, tzinfo=winter)
    night.process().look("shelf", NEVER)
    assert night.compared() == 1
    night.now = datetime(2026, 10, 25, 3, 30, tzinfo=winter)
    night.process().look("shelf", NEVER)
    assert night.compared() == 2


@pytest.mark.parametrize(
    ("now", "last"), [("02T03:30", "02T03:30"), ("02T03:29", "01T03:30"), ("02T23:59", "02T03:30")]
)
def test_the_last_time_is_today_s_or_yesterday_s(now: str, last: str) -> None:
    at, wanted = (datetime.fromisoformat(f"2026-11-{each}").replace(tzinfo=PARIS) for each in (now, last))
    assert last_time("03:30", at) == wanted
