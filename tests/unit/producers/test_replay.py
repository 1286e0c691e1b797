"""Replays: whom they are for, and that each is asked for under an id of its own, noted in the audit."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select

from pipeline.accounts import accounts
from pipeline.audit.trail import audit, remarks
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.eventlog.port import Producer
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.target_states import target_states
from producers.replay.requests import ReplayReport, replay
from producers.replay.selection import Selection, select_students
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import Message, from_record
from schemas.events import ReplayRequested
from sesame.testing.servers.database_kit import START

LEA, PAUL, NINA = "22001234", "22005678", "22009999"


def know(database: Database, **activated: bool) -> None:
    with database.write() as connection:
        for number, is_active in activated.items():
            connection.execute(
                insert(accounts).values(
                    student_number=number[1:],
                    version=1,
                    stage="active",
                    login=number,
                    activated_at=START if is_active else None,
                    changed_at=START,
                    document="{}",
                )
            )


def bury(database: Database, name: str, student: str | None, cause: str, consumer: str = "moodle") -> None:
    letter = DeadLetter(name, consumer, student, 1, cause, "no", 1, START)
    with database.write() as connection:
        dead_letters.add(connection, database, letter)


def ask(database: Database, producer: Producer, *students: str, lane: Lane = Lane.PERSONAL) -> ReplayReport:
    return replay(
        students,
        consumer="moodle",
        reason="cohort renamed",
        actor="camille",
        lane=lane,
        producer=producer,
        database=database,
        clock=lambda: datetime.fromtimestamp(START, UTC),
    )


def asked(log: SqliteEventLog, topic: str) -> list[Message]:
    consumer = log.consumer("look", [topic], member="test")
    records = consumer.poll(10_000, 0.0)
    consumer.close()
    return [from_record(record.key, record.headers, record.value) for record in records]


def test_named_students_are_replayed_once_each_in_the_order_they_were_given(database: Database) -> None:
    know(database, **{f"n{LEA}": True, f"n{PAUL}": False, f"n{NINA}": True})
    found = select_students(database, "moodle", Selection(students=(NINA, LEA, NINA, PAUL, "nobody")))
    assert found.students == (NINA, LEA)
    assert (found.not_activated, found.unknown) == ((PAUL,), ("nobody",))


def test_students_are_looked_up_in_pages_however_many_are_named(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.replay.selection.NUMBERS_PER_QUERY", 2)
    numbers = tuple(f"2200{number:04}" for number in range(7))
    know(database, **{f"n{number}": True for number in numbers})
    found = select_students(database, "moodle", Selection(students=(*reversed(numbers), "nobody")))
    assert (found.students, found.unknown) == (numbers[::-1], ("nobody",))


def test_everybody_is_everybody_who_has_activated(database: Database) -> None:
    know(database, **{f"n{LEA}": True, f"n{PAUL}": False, f"n{NINA}": True})
    assert select_students(database, "moodle", Selection(everybody=True)).students == (LEA, NINA)


def test_a_cause_selects_those_whose_letter_is_still_open_at_this_consumer(database: Database) -> None:
    bury(database, "a", LEA, "moodle_refused")
    bury(database, "b", LEA, "moodle_refused")
    bury(database, "c", PAUL, "identity_collision")
    bury(database, "d", NINA, "moodle_refused", consumer="directory")
    bury(database, "e", None, "moodle_refused")
    found = select_students(database, "moodle", Selection(cause="moodle_refused"))
    assert found.students == (LEA,)


def test_a_cause_selects_those_who_wait_for_it_too(database: Database) -> None:
    bury(database, "a", LEA, "moodle_email_taken")
    rows = [
        {"target": target, "student_number": number, "state": state, "reason": reason, "since": START}
        for target, number, state, reason in (
            ("moodle", PAUL, "waiting", "moodle_email_taken"),
            ("moodle", NINA, "waiting", "moodle_username_taken"),
            ("timetable", NINA, "waiting", "moodle_email_taken"),
            ("moodle", LEA, "failed", "moodle_email_taken"),
        )
    ]
    with database.write() as connection:
        connection.execute(insert(target_states), rows)
    waits = Selection(cause="moodle_email_taken")
    assert select_students(database, "moodle", waits).students == (LEA, PAUL)
    earlier = Selection(cause="moodle_email_taken", until=START)
    assert select_students(database, "moodle", earlier).students == ()


@pytest.mark.parametrize(
    "given", [{}, {"students": (LEA,), "everybody": True}, {"cause": "x", "everybody": True}]
)
def test_a_selection_is_one_thing_exactly(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Selection(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lane", "topic"), [(Lane.PERSONAL, "sesame.activations"), (Lane.BULK, "sesame.activations.bulk")]
)
def test_each_student_is_asked_for_on_the_lane_of_the_act(
    database: Database, log: SqliteEventLog, producer: Producer, lane: Lane, topic: str
) -> None:
    report = ask(database, producer, LEA, PAUL, lane=lane)
    events = [message.event for message in asked(log, topic)]
    assert all(isinstance(event, ReplayRequested) for event in events)
    assert [
        (e.student_number, e.consumer, e.replay_id) for e in events if isinstance(e, ReplayRequested)
    ] == [(LEA, "moodle", report.replay_id), (PAUL, "moodle", report.replay_id)]
    assert report.students == 2


def test_asking_again_is_another_replay_and_not_a_redelivery(
    database: Database, log: SqliteEventLog, producer: Producer
) -> None:
    ask(database, producer, LEA)
    ask(database, producer, LEA)
    first, second = asked(log, catalogue.ACTIVATIONS)
    assert first.id != second.id


def test_a_replay_is_noted_before_it_is_asked_for_without_naming_anybody(
    database: Database, producer: Producer
) -> None:
    report = ask(database, producer, LEA, PAUL)
    with database.read() as connection:
        [row] = connection.execute(select(audit)).all()
        [remark] = connection.execute(select(remarks)).all()
    assert (remark.action, remark.about, remark.student_number) == ("replay", "moodle", None)
    assert (remark.actor, remark.words) == ("camille", "cohort renamed")
    assert (row.actor, row.action) == ("camille", "replay")
    assert json.loads(row.detail) == {
        "consumer": "moodle",
        "reason_ref": remark.ref,
        "replay_id": report.replay_id,
        "students": 2,
    }


def test_a_large_replay_is_asked_for_in_pages(
    database: Database, log: SqliteEventLog, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.replay.requests.RECORDS_PER_APPEND", 3)
    numbers = [f"2200{number:04}" for number in range(10)]
    ask(database, producer, *numbers)
    assert [message.event.student_number for message in asked(log, catalogue.ACTIVATIONS)] == numbers
