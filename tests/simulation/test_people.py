"""Outside actors know what the log has of their acts."""

from __future__ import annotations

from collections import Counter
from unittest.mock import Mock, patch

import pytest

from pipeline.eventlog.port import LogUnavailable
from schemas.account import Hold, Lane
from schemas.events import Event, HoldPlaced
from tests.simulation.history import History, Recipe, live
from tests.simulation.people import People


def busy(seed: int) -> Recipe:
    """A history in which each of two persons acts dozens of times."""
    return Recipe(seed, events=700, students=2)


@pytest.mark.parametrize("seed", range(8))
def test_what_must_always_hold_holds_for_a_person_with_dozens_of_acts(seed: int) -> None:
    acts: Counter[str] = Counter()
    publish = People._publish  # noqa: SLF001

    def counted(self: People, fact: Event, *lane: Lane) -> None:
        acts[fact.student_number] += 1
        publish(self, fact, *lane)

    with patch.object(People, "_publish", counted):
        lived = live(busy(seed))

    assert not lived.violations
    assert min(acts.values()) >= 36
    assert len(acts) == 2


def test_the_acts_that_the_registry_forgets_too_soon_are_seen_in_such_a_history() -> None:
    def lived(seed: int) -> History:
        return live(busy(seed), planted=lambda: patch("consumers.registry.handler.RECENT_FACTS", 4))

    assert any(lived(seed).violations for seed in range(17, 77))


def test_one_operator_at_a_time_decides_about_a_student() -> None:
    """The log is away when one places a hold. Before that one retries, another comes to lift it."""
    site = Mock(timetable=Mock(calendars=set()), wall=lambda: 0.0)
    site.schedule.chance.random.return_value = 1.0
    site.producer.return_value.append.side_effect = [LogUnavailable("away"), None, None]
    people = People(site, students=1)
    (student,) = people.students
    site.schedule.sleep.side_effect = lambda _seconds: people.hold(student)
    people.hold(student, stays=True)
    said = {dict(record.headers)["ce_type"] for ((record,),), _ in site.producer().append.call_args_list}
    assert said == {HoldPlaced.type.encode()}
    assert student.holds == {Hold.SUSPENDED}
    people.hold(student)
    assert student.holds == {Hold.SUSPENDED}, "it stays"
