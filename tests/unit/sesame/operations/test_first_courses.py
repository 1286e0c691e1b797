"""First courses: the order of components, and of the students who are activated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipeline.db.database import Database
from schemas.language import keep_time
from sesame.operations.access.activation import _not_activated
from sesame.operations.imports.first_courses import first_courses
from sesame.testing.servers import stores
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.database_kit import START

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//univ//timetable//FR
BEGIN:VEVENT
UID:1
DTSTART;TZID=Europe/Paris:20260907T140000
CATEGORIES:SCI
END:VEVENT
BEGIN:VEVENT
UID:2
DTSTART:20260907T060000Z
CATEGORIES:DRT,LET
END:VEVENT
BEGIN:VEVENT
UID:3
DTSTART;VALUE=DATE:20260906
CATEGORIES:LET
CATEGORIES:STAPS
END:VEVENT
BEGIN:VEVENT
UID:4
DTSTART:20260901T060000Z
SUMMARY:of nobody
END:VEVENT
END:VCALENDAR
"""


@pytest.fixture(autouse=True)
def in_paris() -> Iterator[None]:
    keep_time(ZoneInfo("Europe/Paris"))
    yield
    keep_time(None)


@pytest.mark.parametrize("separator", [";", ","])
def test_components_come_by_their_first_course_and_two_at_once_together(
    tmp_path: Path, separator: str
) -> None:
    """SCI begins at 8:00, and later again; LET at 14:00 in Paris; DRT at 12:00 UTC, which is then."""
    lines = (
        "component;begins",
        "LET;07/09/2026 14:00",
        "SCI;2026-09-07T16:00",
        "SCI;2026-09-07T08:00",
        "SCI;2026-09-09T08:00",
        ";",
        "DRT;2026-09-07T12:00+00:00",
        "MED;2026-09-08",
    )
    file = tmp_path / "courses.csv"
    file.write_text("\ufeff" + "\r\n".join(lines).replace(";", separator), encoding="utf-8")
    assert first_courses(file) == {"SCI": 0, "LET": 1, "DRT": 1, "MED": 2}


def test_a_calendar_names_components_as_categories(tmp_path: Path) -> None:
    file = tmp_path / "courses.ICS"
    file.write_text(CALENDAR.replace("\n", "\r\n"), encoding="utf-8")
    assert first_courses(file) == {"LET": 0, "STAPS": 0, "DRT": 1, "SCI": 2}


def test_without_a_file_there_is_no_order() -> None:
    assert first_courses(None) == {}


def test_students_are_activated_by_the_first_course_of_their_components(database: Database) -> None:
    for number, entities, activated in (
        ("A", ("MED",), False),
        ("B", ("LET", "SCI"), False),
        ("C", (), False),
        ("D", ("SCI",), True),
        ("E", ("LET",), False),
        ("F", ("SCI",), False),
    ):
        at = datetime.fromtimestamp(START, UTC) if activated else None
        account = account_of(number, f"login.{number}", entities=entities, activated_at=at)
        stores.keep(database, account, changed_at=START)
    assert list(_not_activated(database, {"SCI": 0, "LET": 1})) == ["B", "F", "E", "A", "C"]
    assert list(_not_activated(database, {})) == ["A", "B", "C", "E", "F"]
