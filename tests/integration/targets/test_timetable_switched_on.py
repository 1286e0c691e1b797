"""A site that has accounts already switches the timetable on: who is met anyway, and who by a replay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.timetable.connector import TimetableConnector
from producers.replay.requests import replay
from producers.replay.selection import Selection, select_students
from sandbox.timetable import Timetable
from schemas import catalogue
from schemas.account import Lane
from schemas.events import PropagationCompleted
from sesame.app.wiring import utc_now
from sesame.operations.people.diagnosis.engine import diagnose
from sesame.testing.servers.waiting import until
from tests.integration.targets.site_kit import Site, running

LEA, PAUL = "22600001", "22600002"
BEFORE = 'targets = ["moodle"]\n'


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Timetable]:
    with Timetable(tmp_path / "timetable") as server:
        server.give(LEA)
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not scheduled yet is looked at again at once."""
    monkeypatch.setattr(TimetableConnector, "recheck_s", 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A site where two students have complete accounts, and no timetable."""
    folder = tmp_path / "site"
    site = Site(folder, BEFORE, in_memory=("moodle",))
    with running(site):
        site.enrol_and_activate(LEA, "Martin", "Léa")
        site.enrol_and_activate(PAUL, "Durand", "Paul")
        until(lambda: completions(site) == [LEA, PAUL])
    site.close()
    return folder


def switched_on(folder: Path, service: Timetable) -> Site:
    settings = (
        'targets = ["moodle", "timetable"]\n'
        f'timetable.calendar_url = "{service.url}/ical/{{student_number}}.ics"\n'
    )
    return Site(folder, settings, in_memory=("moodle",))


def ask_for_everybody(site: Site, consumer: str = "timetable") -> int:
    everybody = select_students(site.database, consumer, Selection(everybody=True)).students
    report = replay(
        everybody,
        consumer=consumer,
        reason="the timetable is switched on, or off",
        actor="camille",
        lane=Lane.BULK,
        producer=site.producer,
        database=site.database,
        clock=utc_now,
    )
    return report.students


def completions(site: Site) -> list[str]:
    events = (message.event for message in site.published(catalogue.PROPAGATION))
    return sorted(event.student_number for event in events if isinstance(event, PropagationCompleted))


def test_accounts_whose_bells_are_on_the_log_still_are_met_without_being_asked_for(
    folder: Path, service: Timetable
) -> None:
    site = switched_on(folder, service)
    with running(site):
        until(lambda: site.states(LEA) == {"moodle": "provisioned", "timetable": "provisioned"})
        until(lambda: site.states(PAUL)["timetable"] == "waiting")
        paul = site.person(PAUL)
        assert paul is not None
        waiting = {each.target: each for each in paul.targets}["timetable"]
        assert (waiting.reason, waiting.version) == ("timetable_not_scheduled", 0)
        assert "no calendar" in waiting.cause
        causes = diagnose(site, PAUL, live=False).findings
        assert [(each.rule, each.service) for each in causes] == [("timetable_not_scheduled", "timetable")]
        service.give(PAUL)  # it is looked at again by itself
        until(lambda: site.states(PAUL)["timetable"] == "provisioned")
    assert completions(site) == [LEA, PAUL], "an account that was complete is not announced again"
    assert site.letters() == []
    site.close()


def test_accounts_that_are_older_than_the_log_are_met_by_a_replay(folder: Path, service: Timetable) -> None:
    for file in folder.glob("events.db*"):
        file.unlink()  # as after the topics' retention
    site = switched_on(folder, service)
    with running(site):
        site.enrol_and_activate("22600003", "Petit", "Zoé")
        until(lambda: site.states("22600003").get("timetable") == "waiting")
        assert site.states(LEA) == {"moodle": "provisioned", "timetable": "queued"}
        assert ask_for_everybody(site) == 3
        until(lambda: site.states(LEA)["timetable"] == "provisioned")
        until(lambda: site.states(PAUL)["timetable"] == "waiting")
    assert completions(site) == []
    assert not [each for each in site.held["moodle"].calls if LEA in each], "no other target is asked"
    site.close()


def test_switched_off_again_a_replay_completes_who_only_waited_for_it(
    tmp_path: Path, service: Timetable
) -> None:
    site = switched_on(tmp_path / "site", service)
    with running(site):
        site.enrol_and_activate(PAUL, "Durand", "Paul")
        until(lambda: site.states(PAUL).get("timetable") == "waiting")
        until(lambda: site.states(PAUL)["moodle"] == "provisioned")
    assert completions(site) == []
    site.close()
    site = Site(tmp_path / "site", BEFORE, in_memory=("moodle",))
    with running(site):
        assert ask_for_everybody(site, "moodle") == 1
        until(lambda: completions(site) == [PAUL])
    site.close()
