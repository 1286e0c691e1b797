"""Everybody in one look: counted once each, and the quantiles are those of values that were measured."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from sesame.operations.people.diagnosis import population
from sesame.operations.people.diagnosis.overview import Overview, show, show_people
from sesame.testing.servers.database_kit import START
from sesame.testing.servers.population_kit import OPERATOR, TARGETS, everywhere, site_of, student


def look(
    database: Database,
    targets: tuple[str, ...] = TARGETS,
    *,
    people: bool = False,
    follows: Mapping[str, str] | None = None,
) -> Overview:
    return (show_people if people else show)(site_of(database, targets, follows), OPERATOR)


def test_an_empty_site_has_an_overview(database: Database) -> None:
    seen = look(database)
    assert (seen.students, seen.completed, seen.seconds) == (0, 0, {})
    assert "people" not in seen.model_dump()


def test_everybody_who_has_activated_is_counted_once(database: Database) -> None:
    student(database, "A", "completed", seen=everywhere(10), elapsed_s=10.0)
    student(database, "B", "waiting", seen={"directory": ("provisioned", 5), "moodle": ("waiting", 6)})
    student(database, "C", "failed", seen={"moodle": ("failed", 6)})
    student(database, "D", "in_progress")
    student(database, "E", "in_progress", activated=False)
    letter = DeadLetter("letter", "moodle", "C", 1, "identity_collision", "no", 1, START)
    with database.write() as connection:
        dead_letters.add(connection, database, letter)
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


def test_who_is_late_is_counted_while_under_way_and_no_longer(database: Database) -> None:
    student(database, "A", "in_progress", late_at=START + 900)
    student(database, "B", "in_progress", late_at=START + 900, breached_at=START + 3600)
    student(database, "C", "in_progress")
    student(database, "D", "completed", seen=everywhere(4000), elapsed_s=4000.0, breached_at=START + 3600)
    student(database, "E", "waiting", late_at=START + 900)
    seen = look(database)
    assert (seen.late, seen.breached) == (2, 1)


def test_each_duration_stands_under_the_first_bound_that_it_does_not_pass(database: Database) -> None:
    durations = (0.0, 1.0, 1.1, 4.0, 899.0, 900.0, 900.1, 3600.0, 3600.1, 90_000.0)
    for place, elapsed_s in enumerate(durations):
        student(database, f"A{place}", "completed", seen=everywhere(elapsed_s), elapsed_s=elapsed_s)
    student(database, "B", "completed", seen=everywhere(2), elapsed_s=2.0, lane="bulk")
    student(database, "C", "in_progress")
    bars = {bar.upto_s: bar.students for bar in look(database).durations}
    assert list(bars) == [1, 2, 4, 8, 15, 30, 60, 120, 300, 900, 1800, 3600, None]
    assert {end: n for end, n in bars.items() if n} == {1: 2, 2: 1, 4: 1, 900: 2, 1800: 1, 3600: 1, None: 2}


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


@pytest.mark.parametrize("measured", [1, 2, 19, 20, 99, 100, 101, 250])
def test_quantiles_are_the_nearest_ranks_of_what_was_measured(database: Database, measured: int) -> None:
    values = [round(value * 1.5, 3) for value in range(1, measured + 1)]
    shuffled = random.Random(7).sample(values, measured)  # noqa: S311  # not a secret
    for index, value in enumerate(shuffled):
        student(
            database, f"{index:04}", "completed", seen={"moodle": ("provisioned", value / 2)}, elapsed_s=value
        )
    found = look(database, ("moodle",)).seconds
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    expected = {
        name: values[max(1, math.ceil(round(share * measured, 6))) - 1] for name, share in ranks.items()
    }
    assert found["all"] == expected
    assert found["moodle"] == {name: pytest.approx(value / 2, abs=0.001) for name, value in expected.items()}


def test_of_many_only_those_who_were_completed_last_are_measured(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(population, "MEASURED_MAX", 2)
    for number, at, seconds in (("A", 300, 3.0), ("B", 100, 100.0), ("C", 200, 2.0)):
        student(database, number, "completed", seen=everywhere(seconds), elapsed_s=seconds, completed_at=at)
    seen = look(database)
    assert seen.seconds["all"]["max"] == 3.0
    assert seen.within_15_min == 3


def test_a_follower_has_nothing_to_do_while_its_leader_waits_or_has_given_up(database: Database) -> None:
    leader: dict[str, tuple[str, float]]
    for number, state, at in (
        ("A", "waiting", "waiting"),
        ("B", "failed", "failed"),
        ("C", "in_progress", ""),
    ):
        leader = {"directory": (at, 5.0)} if at else {}
        student(database, number, state, seen=leader)
    student(database, "D", "in_progress", seen={"directory": ("provisioned", 5.0)})
    student(
        database, "E", "waiting", version=2, seen={"directory": ("waiting", 5.0)}
    )  # of the version before
    seen = look(
        database, ("directory", "mailbox"), people=True, follows={"mailbox": "directory", "other": "x"}
    )
    assert seen.targets["mailbox"] == {"after": 2, "outstanding": 3}
    assert seen.targets["directory"] == {"provisioned": 1, "waiting": 1, "failed": 1, "outstanding": 2}
    assert seen.people is not None
    assert [person.targets["mailbox"]["state"] for person in seen.people] == [
        "after",
        "after",
        "outstanding",
        "outstanding",
        "outstanding",
    ]


def test_who_was_complete_and_was_given_up_since_counts_as_failed(database: Database) -> None:
    student(database, "A", "completed", seen=everywhere(10), elapsed_s=10.0)
    student(
        database, "B", "completed", seen={"directory": ("failed", 5), "moodle": ("failed", 7)}, elapsed_s=5.0
    )
    seen = look(database, people=True)
    assert (seen.completed, seen.failed, seen.in_progress) == (1, 1, 0)
    assert seen.people is not None
    assert [person.state for person in seen.people] == ["completed", "failed"]


def _counted_by_hand(people: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What an overview of these rows says, counted one by one."""
    states, reasons = Counter[str](), Counter[str]()
    targets = {name: Counter[str]() for name in TARGETS}
    for one in people:
        current = one["joined"] >= one["version"]
        seen = one["seen"] if current else {}
        given_up = any(at == "failed" for at, _ in seen.values())
        state = ("failed" if given_up else one["state"]) if current else "in_progress"
        states[state] += 1
        for name in TARGETS:
            targets[name][seen[name][0] if name in seen else "outstanding"] += 1
        if state == "waiting" and any(at == "waiting" for at, _ in seen.values()):
            reasons["pedagogical_enrolment_pending"] += 1
    return {
        **{name: states[name] for name in ("completed", "waiting", "failed", "in_progress")},
        "waiting_by_reason": dict(reasons),
        "targets": {name: dict(counts) for name, counts in targets.items()},
    }


def test_what_the_database_counts_is_what_one_counts_by_hand(database: Database) -> None:
    chance = random.Random(11)  # noqa: S311  # not a secret
    people = []
    for index in range(300):
        seen = {
            name: (chance.choice(["provisioned", "provisioned", "waiting", "failed"]), 1.0)
            for name in TARGETS
            if chance.random() < 0.8
        }
        at = {how for how, _ in seen.values()}
        state = "in_progress"
        if "failed" in at:
            state = chance.choice(["failed", "completed"])  # a replay was given up after the completion
        elif len(seen) == len(TARGETS):
            state = "waiting" if "waiting" in at else "completed"
        version = chance.choice([1, 1, 2])
        joined = version if chance.random() < 0.9 else version - 1
        one: dict[str, Any] = {"version": version, "joined": joined, "state": state, "seen": seen}
        people.append(one)
        student(database, f"{index:04}", elapsed_s=1.0, **one)
    found, expected = look(database).model_dump(), _counted_by_hand(people)
    assert {name: found[name] for name in expected} == expected


def test_what_is_fetched_does_not_grow_with_the_number_of_students(database: Database) -> None:
    def look_at(students: range) -> tuple[int, int]:
        for index in students:
            state = ("completed", "waiting", "failed", "in_progress")[index % 4]
            at = {"completed": "provisioned", "in_progress": ""}.get(state, state)
            seen = {"directory": ("provisioned", 5.0)} | ({"moodle": (at, 6.0)} if at else {})
            student(database, f"{index:04}", state, seen=seen, elapsed_s=9.0 if at == "provisioned" else None)
        with statements_of(database) as asked:
            look(database)
        with database.read() as connection:
            rows = [len(connection.exec_driver_sql(*one).all()) for one in asked if "SELECT" in one[0]]
        return len(rows), sum(rows)

    few = look_at(range(8))
    assert look_at(range(8, 400)) == few
    assert few[0] <= 14


@contextmanager
def statements_of(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Every statement and its parameters, as the driver is given them."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_others: Any) -> None:
        asked.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
