"""Those who act from outside know what the log says of their acts."""

from __future__ import annotations

from unittest.mock import Mock

from pipeline.eventlog.port import LogUnavailable
from schemas.account import Hold
from schemas.events import HoldPlaced
from tests.simulation.people import People


def test_one_operator_at_a_time_decides_about_a_student() -> None:
    """The log is away when one places a hold; before that one tries again, another one comes to lift it."""
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
