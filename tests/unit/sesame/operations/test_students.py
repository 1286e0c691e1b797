"""Students by state and cause: the very ones that the overview has counted, and each on one page."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from pipeline.db.database import Database
from pipeline.parking.rows import parked
from sesame.operations.people.diagnosis.overview import show
from sesame.operations.people.diagnosis.students import (
    LIMIT_MAX,
    ListedState,
    Page,
    StudentsRequest,
    UnknownCause,
    UnknownState,
    listed,
)
from sesame.testing.servers.database_kit import START
from sesame.testing.servers.population_kit import OPERATOR, TARGETS, everywhere, site_of, student

PENDING, COLLISION = "pedagogical_enrolment_pending", "identity_collision"


@pytest.fixture
def site(database: Database) -> Database:
    """Some of each sort."""
    waits = {"directory": ("provisioned", 5.0), "moodle": ("waiting", 6.0)}
    student(database, "01", "completed", seen=everywhere(10), elapsed_s=10.0)
    student(database, "02", "waiting", seen=waits)
    student(database, "03", "failed", seen={"directory": ("failed", 6.0)})
    student(database, "04", "in_progress", seen={"directory": ("provisioned", 5.0)})
    student(database, "05", "in_progress", activated=False)
    student(database, "06", "waiting", seen=waits)
    student(database, "07", "waiting", version=2, seen=waits)  # of the version before
    student(database, "08", "completed", seen={**everywhere(5), "moodle": ("failed", 9.0)}, elapsed_s=5.0)
    student(database, "09", "completed", seen=everywhere(5), elapsed_s=5.0)
    retry(database, "04", "unavailable")
    retry(database, "09", "moodle_rejected")
    retry(database, "06", "leased", kind="leased")
    return database


def retry(database: Database, number: str, cause: str, *, kind: str = "retry") -> None:
    row = {"consumer": "moodle", "student_number": number, "kind": kind, "version": 1, "cause": cause}
    times = {"due_at": START, "first_at": START, "counted_at": START, "attempts": 3}
    with database.write() as connection:
        connection.execute(insert(parked).values(**row, **times, lane="personal", event_id="e"))


def look(database: Database, **asked: Any) -> Page:
    return listed(site_of(database, TARGETS), OPERATOR, StudentsRequest(**asked))


def numbers(page: Page) -> list[str]:
    return [one.student_number for one in page.students]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["01", "02", "03", "04", "06", "07", "08", "09"]),
        ({"state": "completed"}, ["01", "09"]),
        ({"state": "waiting"}, ["02", "06"]),
        ({"state": "failed"}, ["03", "08"]),
        ({"state": "in_progress"}, ["04", "07"]),
        ({"state": "retrying"}, ["04", "09"]),
        ({"state": "waiting", "cause": PENDING}, ["02", "06"]),
        ({"state": "failed", "cause": COLLISION}, ["03", "08"]),
        ({"state": "retrying", "cause": "moodle_rejected"}, ["09"]),
        ({"cause": "unavailable"}, ["04"]),
        ({"cause": COLLISION}, ["03", "08"]),
        ({"state": "waiting", "cause": COLLISION}, []),  # a cause that exists, and of nobody who waits
    ],
)
def test_students_are_listed_by_state_and_cause(
    site: Database, asked: dict[str, str], found: list[str]
) -> None:
    assert numbers(look(site, **asked)) == found


def test_the_list_is_as_long_as_the_overview_says(site: Database) -> None:
    counted = show(site_of(site, TARGETS), OPERATOR).model_dump()
    for state in (each for each in ListedState if each is not ListedState.RETRYING):
        assert len(look(site, state=state).students) == counted[state]
    for cause, count in counted["waiting_by_reason"].items():
        assert len(look(site, state="waiting", cause=cause).students) == count
    for name, one in counted["retrying"].items():
        found = look(site, state="retrying", cause=name.split()[1]).students
        assert len(found) == one["students"]


def test_a_student_is_shown_with_each_target_and_what_is_tried_again(site: Database) -> None:
    [one] = look(site, state="retrying", cause="unavailable").model_dump()["students"]
    assert (one["student_number"], one["login"], one["state"]) == ("04", "login.04", "in_progress")
    assert {name: at["state"] for name, at in one["targets"].items()} == {
        "directory": "provisioned",
        "moodle": "outstanding",
    }
    [(target, retried)] = one["retrying"].items()
    assert (target, retried["cause"], retried["attempts"], retried["since"].timestamp()) == (
        "moodle",
        "unavailable",
        3,
        START,
    )


def test_each_comes_once_a_page_at_a_time_and_no_page_is_longer_than_the_bound(site: Database) -> None:
    found, after = [], ""
    while True:
        page = look(site, after=after, limit=3)
        assert len(page.students) <= 3
        found += numbers(page)
        if page.next is None:
            break
        after = page.next
    assert found == ["01", "02", "03", "04", "06", "07", "08", "09"]
    for index in range(LIMIT_MAX):
        student(site, f"1{index:04}", "in_progress")
    assert len(look(site, limit=10**6).students) == LIMIT_MAX


def test_what_does_not_exist_is_refused_with_what_does(site: Database) -> None:
    with pytest.raises(UnknownState) as state:
        look(site, state="lost")
    assert "completed, waiting, retrying, failed, in_progress" in state.value.remedy
    with pytest.raises(UnknownCause) as cause:
        look(site, state="retrying", cause="moodle_rejectd")
    assert cause.value.remedy == "There are: moodle_rejected, unavailable."
    with pytest.raises(UnknownCause) as none:
        look(site, state="completed", cause=PENDING)
    assert "waiting, retrying, failed" in none.value.remedy
