"""Everybody in one look: counted once each, and the quantiles are those of values that were measured."""

from __future__ import annotations

from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from pipeline.store import dead_letters
from pipeline.store.database import Database
from pipeline.store.dead_letters import DeadLetter
from pipeline.store.tables import accounts, propagation, propagation_targets
from schemas.account import Account, Person, Stage
from sesame.diagnosis import overview as module
from sesame.diagnosis.overview import Overview, overview
from tests.unit.store_kit import START

TARGETS = ("directory", "moodle")


def student(
    database: Database,
    number: str,
    state: str,
    *,
    version: int = 1,
    seen: dict[str, tuple[str, float]] | None = None,
    elapsed_s: float | None = None,
    lane: str = "personal",
    activated: bool = True,
    joined: int = 1,
) -> None:
    """A student whose propagation, joined up to version `joined`, is in this state."""
    account = Account(
        student_number=number,
        version=version,
        stage=Stage.ACTIVE,
        login=f"login.{number}",
        mail=f"login.{number}@etu.univ-exemple.fr",
        principal=f"login.{number}@univ-exemple.fr",
        person=Person(birth_name="Martin", given_name="Léa"),
    )
    with database.write() as connection:
        connection.execute(
            insert(accounts).values(
                student_number=number,
                version=version,
                stage="active",
                login=account.login,
                activated_at=START if activated else None,
                changed_at=START,
                document=account.model_dump_json(),
            )
        )
        connection.execute(
            insert(propagation).values(
                student_number=number,
                version=joined,
                lane=lane,
                opened_at=START,
                state=state,
                elapsed_s=elapsed_s,
            )
        )
        for target, (at, seconds) in (seen or {}).items():
            reason = None if at == "provisioned" else "pedagogical_enrolment_pending"
            connection.execute(
                insert(propagation_targets).values(
                    student_number=number,
                    target=target,
                    version=joined,
                    lease_epoch=1,
                    sequence=1,
                    state=at,
                    reason=reason,
                    pending='["L1INFO-2026"]' if reason else "[]",
                    finished_at=START + seconds,
                )
            )


def everywhere(seconds: float) -> dict[str, tuple[str, float]]:
    return dict.fromkeys(TARGETS, ("provisioned", seconds))


def look(database: Database, targets: tuple[str, ...] = TARGETS, *, people: bool = False) -> Overview:
    return overview(database, targets=targets, late_s=900.0, breach_s=3600.0, with_people=people)


def test_an_empty_site_has_an_overview(database: Database) -> None:
    seen = look(database)
    assert (seen.students, seen.completed, seen.seconds) == (0, 0, {})
    assert "people" not in seen.document()


def test_everybody_who_has_activated_is_counted_once(database: Database) -> None:
    student(database, "A", "completed", seen=everywhere(10), elapsed_s=10.0)
    student(database, "B", "waiting", seen={"directory": ("provisioned", 5), "moodle": ("waiting", 6)})
    student(database, "C", "failed", seen={"moodle": ("failed", 6)})
    student(database, "D", "in_progress")
    student(database, "E", "in_progress", activated=False)
    letter = DeadLetter("letter", "moodle", "C", 1, "identity_collision", "no", 1, START)
    with database.write() as connection:
        dead_letters.record(connection, database, letter)
    seen = look(database)
    assert (seen.students, seen.completed, seen.waiting, seen.failed, seen.in_progress) == (4, 1, 1, 1, 1)
    assert seen.waiting_by_reason == {"pedagogical_enrolment_pending": 1}
    assert seen.dead_letters_by_cause == {"moodle identity_collision": 1}
    assert seen.targets["moodle"] == {"provisioned": 1, "waiting": 1, "failed": 1, "outstanding": 1}


def test_a_newer_version_that_was_not_joined_yet_is_in_progress(database: Database) -> None:
    student(database, "A", "completed", version=2, seen=everywhere(10), elapsed_s=10.0)
    seen = look(database)
    assert (seen.completed, seen.in_progress) == (0, 1)
    assert seen.targets["moodle"] == {"outstanding": 1}


@pytest.mark.parametrize(
    ("elapsed_s", "lane", "windows"),
    [
        (900.0, "personal", (1, 0, 0)),
        (900.1, "personal", (0, 1, 0)),
        (3600.0, "personal", (0, 1, 0)),
        (3600.1, "personal", (0, 0, 1)),
        (10.0, "bulk", (0, 0, 0)),
    ],
)
def test_only_persons_windows_are_counted(
    database: Database, elapsed_s: float, lane: str, windows: tuple[int, int, int]
) -> None:
    student(database, "A", "completed", seen=everywhere(elapsed_s), elapsed_s=elapsed_s, lane=lane)
    seen = look(database)
    assert (seen.within_15_min, seen.within_60_min, seen.beyond) == windows


def test_a_target_that_was_added_since_does_not_break_the_look(database: Database) -> None:
    student(database, "A", "completed", seen=everywhere(10), elapsed_s=10.0)
    seen = look(database, (*TARGETS, "timetable"))
    assert set(seen.seconds) == {"all", "directory", "moodle"}
    assert seen.targets["timetable"] == {"outstanding": 1}


def test_a_replay_after_completion_does_not_lengthen_what_was_measured(database: Database) -> None:
    student(
        database,
        "A",
        "completed",
        seen={"directory": ("provisioned", 4), "moodle": ("provisioned", 90_000)},
        elapsed_s=10.0,
    )
    assert look(database).seconds["moodle"]["max"] == 10.0
    assert look(database).seconds["directory"]["max"] == 4.0


def test_people_are_listed_only_when_asked_for(database: Database) -> None:
    student(database, "B", "waiting", seen={"directory": ("provisioned", 5), "moodle": ("waiting", 6)})
    people = look(database, people=True).people
    assert people is not None
    [person] = people
    assert (person.student_number, person.state) == ("B", "waiting")
    assert person.targets["moodle"]["pending"] == ["L1INFO-2026"]
    assert person.targets["directory"] == {"state": "provisioned", "reason": None, "pending": []}


@given(st.lists(st.floats(0, 4000).map(lambda seconds: round(seconds, 3)), min_size=1, max_size=300))
def test_quantiles_are_measured_values_below_which_that_share_lies(values: list[float]) -> None:
    found = module._quantiles(sorted(values))  # noqa: SLF001
    assert found["p50"] <= found["p95"] <= found["p99"] <= found["max"] == max(values)
    for name, percent in module.PERCENT.items():
        assert found[name] in values
        at_most = sum(value <= found[name] for value in values)
        below = sum(value < found[name] for value in values)
        assert 100 * at_most >= percent * len(values) > 100 * below


def test_quantiles_of_a_hundred_are_the_nearest_ranks() -> None:
    values = [float(value) for value in range(1, 101)]
    assert module._quantiles(values) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}  # noqa: SLF001
    assert module._quantiles([7.0]) == {"p50": 7.0, "p95": 7.0, "p99": 7.0, "max": 7.0}  # noqa: SLF001
    assert quantiles(values, n=100)[49] == pytest.approx(50.0, abs=1.0)
