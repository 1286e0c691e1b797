"""Dead letters as they are announced: to whom, with which headers, and each time under an id of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.dead_letters import events as letter_events
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.engine.bell import WorkItem
from pipeline.eventlog.port import Record
from pipeline.outbox import OutboxRelay
from pipeline.runner.announcement import failure
from schemas import catalogue
from schemas.envelope import Message, from_record
from schemas.events import DeadLetterRecorded, DeadLetterResolved
from sesame.testing.servers.database_kit import START
from sesame.testing.servers.effects_kit import bell
from sesame.testing.servers.pipeline_kit import Plant
from sesame.testing.servers.target_kit import NOW

LETTER = DeadLetter(
    "letter-1", "moodle", "A", 4, "refused", "by value", 3, START, catalogue.ACCOUNTS, 1, 7, 123, "bell-1"
)


def records(plant: Plant) -> list[Record]:
    """Of the dead letters' topic, in order."""
    while OutboxRelay(plant.database, plant.producer).send_page():
        pass
    consumer = plant.log.consumer("look", [catalogue.DEAD_LETTERS], member="test")
    found = list(iter(lambda: consumer.poll(500, 0.0), []))
    consumer.close()
    return [record for some in found for record in some]


def said(plant: Plant) -> list[Message]:
    return [from_record(record.key, record.headers, record.value) for record in records(plant)]


def buried(plant: Plant, *letters: DeadLetter) -> list[str]:
    """The ids under which they stand."""
    with plant.database.write() as connection:
        return [
            letter_events.record_work(connection, plant.database, letter, letter.student_number or "")
            for letter in letters
        ]


def test_a_letter_is_announced_once_with_all_that_it_says_and_the_headers_of_other_tools(
    plant: Plant,
) -> None:
    with plant.database.write() as connection:
        for _ in range(2):  # a redelivery
            letter_events.record(connection, plant.database, LETTER)
    [record] = records(plant)
    message = from_record(record.key, record.headers, record.value)
    assert message.event == DeadLetterRecorded(
        student_number="A",
        dead_letter_id="letter-1",
        consumer="moodle",
        version=4,
        cause="refused",
        attempts=3,
    )
    assert (message.caused_by, message.time.timestamp(), message.source) == (
        "bell-1",
        START,
        "/sesame/moodle",
    )
    foreign = {name: value for name, value in record.headers if name.startswith(("kafka_dlt", "__connect"))}
    assert foreign == {
        "kafka_dlt-exception-fqcn": b"refused",
        "kafka_dlt-exception-message": b"by value",
        "kafka_dlt-original-topic": b"sesame.accounts",
        "kafka_dlt-original-partition": b"1",
        "kafka_dlt-original-offset": b"7",
        "kafka_dlt-original-timestamp": b"123",
        "kafka_dlt-original-consumer-group": b"moodle",
        "__connect.errors.exception.class.name": b"refused",
        "__connect.errors.exception.message": b"by value",
        "__connect.errors.topic": b"sesame.accounts",
        "__connect.errors.partition": b"1",
        "__connect.errors.offset": b"7",
    }


def test_one_whose_bell_came_from_the_parking_lot_names_no_place(plant: Plant) -> None:
    buried(plant, replace(LETTER, topic=None, partition=None, offset=None, timestamp_ms=None))
    [record] = records(plant)
    names = {name for name, _ in record.headers}
    assert not any("original" in name or "errors.topic" in name for name in names)
    assert "kafka_dlt-exception-fqcn" in names


def test_a_letter_of_nobody_is_recorded_and_not_announced(plant: Plant) -> None:
    with plant.database.write() as connection:
        letter_events.record(connection, plant.database, replace(LETTER, student_number=None))
    assert len(plant.letters()) == 1
    assert records(plant) == []


def test_what_fails_again_is_one_letter_that_counts_and_is_announced_each_time(plant: Plant) -> None:
    again = [
        replace(LETTER, id=f"letter-{number}", event_id=f"bell-{number}", attempts=1, message="again")
        for number in (2, 3)
    ]
    assert buried(plant, LETTER, *again) == ["letter-1"] * 3
    [letter] = plant.letters()
    assert (letter.attempts, letter.event_id, letter.message) == (5, "bell-3", "again")
    assert buried(plant, again[-1]) == ["letter-1"]  # a redelivery
    messages = said(plant)
    attempts = [m.event.attempts for m in messages if isinstance(m.event, DeadLetterRecorded)]
    assert attempts == [3, 4, 5]
    assert len({message.id for message in messages}) == 3


def test_letters_of_several_students_targets_and_causes_are_told_apart(plant: Plant) -> None:
    first = [
        LETTER,
        replace(LETTER, id="letter-b", student_number="B"),
        replace(LETTER, id="letter-t", consumer="mailbox"),
        replace(LETTER, id="letter-c", cause="mail_taken"),
    ]
    ids = [letter.id for letter in first]
    assert buried(plant, *first) == ids
    assert buried(plant, *(replace(each, id="again", event_id="bell-2") for each in first)) == ids
    assert len({message.id for message in said(plant)}) == 8
    assert {letter.attempts for letter in plant.letters()} == {6}


def test_resolving_says_so_of_each_letter_and_of_one_cause_alone_if_asked(plant: Plant) -> None:
    buried(plant, LETTER, replace(LETTER, id="letter-c", cause="mail_taken"))
    with plant.database.write() as connection:
        letter_events.resolve(
            connection, "moodle", "A", up_to_version=4, how="dismissed", now=START + 9, cause="mail_taken"
        )
    assert [letter.id for letter in plant.letters()] == ["letter-1"]
    with plant.database.write() as connection:
        letter_events.resolve(connection, "moodle", "A", up_to_version=4, how="replayed", now=START + 10)
        [letter] = dead_letters.by_id(connection, "letter-1")
    assert (letter.resolution, letter.resolved_at) == ("replayed", START + 10)
    resolved = [message for message in said(plant) if isinstance(message.event, DeadLetterResolved)]
    told = [
        message.event.dead_letter_id for message in resolved if isinstance(message.event, DeadLetterResolved)
    ]
    assert told == ["letter-c", "letter-1"]
    assert [message.time.timestamp() for message in resolved] == [START + 9, START + 10]
    assert len({message.id for message in resolved}) == 2


@pytest.mark.parametrize("what", ["another bell", "another letter", "another version", "another target"])
def test_the_announcement_of_a_fault_is_told_from_whatever_is_another(what: str) -> None:
    def identity(
        target: str = "moodle", event: str = "bell", version: int = 3, letter: str = "letter-1"
    ) -> str:
        item: WorkItem = bell("A", 3, event)
        return failure(
            target, item, version=version, epoch=1, cause="internal_error", letter_id=letter, now=NOW
        ).id

    others = {
        "another bell": identity(event="bell-2"),
        "another letter": identity(letter="letter-2"),
        "another version": identity(version=4),
        "another target": identity("mailbox"),
    }
    assert others[what] != identity() == identity()


# --- whom nobody knows, and faults of ours -----------------------------------------------------------------


def test_a_student_whom_nobody_knows_is_one_letter_that_counts_and_one_for_each(plant: Plant) -> None:
    effects = plant.effects()
    for number, event in (("A", "bell-1"), ("A", "bell-1"), ("A", "bell-2"), ("B", "bell-1")):
        assert effects.admit([bell(number, 1, event)]) == {}
    letters = {letter.student_number: letter for letter in plant.letters()}
    assert {number: letter.attempts for number, letter in letters.items()} == {"A": 2, "B": 1}
    assert letters["A"].id != letters["B"].id
    assert letters["A"].cause == "unknown_student"
    with plant.database.write() as connection:
        letter_events.resolve(connection, plant.target.name, "A", up_to_version=9, how="dismissed", now=START)
    effects.admit([bell("A", 1, "bell-3")])
    assert {letter.student_number for letter in plant.letters()} == {"A", "B"}


def test_a_fault_that_comes_again_is_one_letter_that_counts(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    for event in ("bell-1", "bell-2"):
        effects.record_fault(bell("A", 1, event), KeyError("oops"))
    [letter] = plant.letters()
    assert letter.attempts == 2
