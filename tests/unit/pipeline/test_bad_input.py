"""Bad input: each gets a clear message, nothing is lost, and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text, update

from pipeline import parking
from pipeline.eventlog.port import LogError, NewRecord
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.parking import Kind, Parked, repair
from pipeline.parking.rows import parked as table
from schemas import catalogue
from schemas.account import Lane, Stage
from schemas.envelope import Message, event_id, to_record
from schemas.events import AccountChanged, Cause
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.effects_kit import UNKNOWN, bell, woken
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.pipeline_kit import Plant
from sesame.testing.servers.stores import sqlite_store
from sesame.testing.servers.target_kit import NOW

HOUR_S = 3600.0
ROW = Parked(
    student_number="A",
    kind=Kind.RETRY,
    version=1,
    bells=1,
    due_at=NOW.timestamp() + 60.0,
    attempts=2,
    first_at=NOW.timestamp(),
    age_s=10.0,
    counted_at=NOW.timestamp(),
    cause="target_busy",
    message="busy",
    lane=Lane.PERSONAL,
    event_id="bell",
    replay=False,
)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW.timestamp())


@pytest.fixture
def plant(tmp_path: Path, clock: Clock) -> Iterator[Plant]:
    """On SQLite, which lets more be written by hand than PostgreSQL does, and whose clock is told."""
    plant = Plant(tmp_path, sqlite_store(tmp_path), clock=clock)
    yield plant
    plant.close()


def park(plant: Plant, row: Parked) -> None:
    with plant.database.write() as connection:
        parking.park(connection, plant.database, plant.target.name, row, seen=None)


# --- records --------------------------------------------------------------------------------------


def account_changed(number: str) -> NewRecord:
    event = AccountChanged(
        student_number=number, version=1, stage=Stage.ACTIVE, lane=Lane.PERSONAL, cause=Cause.ACTIVATION
    )
    headers, value = to_record(Message(event_id(event.type, "test", number), "/sesame/test", NOW, event))
    return NewRecord(catalogue.ACCOUNTS, number, value, headers)


def test_a_record_of_a_future_version_is_a_dead_letter_that_names_it_and_the_others_are_served(
    plant: Plant,
) -> None:
    record = account_changed("A")
    headers = tuple((name, text_.replace(b".v1", b".v9")) for name, text_ in record.headers)
    plant.producer.append([replace_headers(record, headers), NewRecord(catalogue.ACCOUNTS, "A", b"\x00", ())])
    plant.account("B")
    plant.ring("B")
    plant.start()
    plant.until(lambda: plant.applied("B") == 1)
    plant.stop()
    future, poison = sorted(plant.letters(), key=lambda letter: letter.offset or 0)
    assert future.cause == "unknown_event_type"
    assert "v9" in future.message
    assert poison.cause == "not_an_event"
    assert plant.lag() == 0


def replace_headers(record: NewRecord, headers: tuple[tuple[str, bytes], ...]) -> NewRecord:
    return NewRecord(record.topic, record.key, record.value, headers)


# --- the clock ------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_an_hour_leaves_parked_students_the_delay_that_they_had(
    plant: Plant, clock: Clock
) -> None:
    park(plant, ROW)
    clock.now -= HOUR_S
    with plant.database.write() as connection:
        moved, seconds = repair.clock_went_back(connection, plant.target.name, clock.now)
    row = plant.parked("A")
    assert (moved, seconds) == (1, HOUR_S)
    assert row is not None
    assert row.due_at == clock.now + 60.0
    assert row.attempts == 2


def test_the_worker_says_that_the_clock_went_back_and_serves_the_student(plant: Plant, clock: Clock) -> None:
    plant.account("A")
    park(plant, replace(ROW, due_at=NOW.timestamp()))
    clock.now -= HOUR_S
    plant.start()
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()
    assert any("clock went back by 3600 s" in trouble for trouble in plant.observer.troubles)


def test_a_lease_of_before_the_clock_went_back_ends_all_the_same(plant: Plant, clock: Clock) -> None:
    plant.account("A")
    dead, successor = plant.effects(), plant.effects()
    plant.ring("A")
    assert dead.admit([bell("A")])
    clock.now -= HOUR_S
    assert successor.admit([bell("A")]) == {}
    row = present(plant.parked("A"))
    assert row.due_at is not None
    assert row.due_at < clock.now + 3 * plant.lease_s
    clock.now = row.due_at
    assert successor.admit([woken(plant, "A")])["A"].task.compare


def test_a_clock_that_goes_back_during_a_call_of_unknown_outcome_does_not_put_the_next_attempt_off(
    plant: Plant, clock: Clock
) -> None:
    plant.account("A")
    effects = plant.effects()
    plant.ring("A")
    entry = effects.admit([bell("A")])
    clock.now -= HOUR_S
    effects.finish(entry, {"A": UNKNOWN})
    for _ in range(2):  # the lease of before the clock went back is looked at once, and shortened
        row = present(plant.parked("A"))
        assert row.due_at is not None
        assert row.due_at < clock.now + 3 * plant.lease_s
        clock.now = row.due_at
        entry = effects.admit([woken(plant, "A")])
    assert entry["A"].task.compare


def test_a_clock_that_was_ahead_for_a_while_does_not_put_off_one_who_met_a_lease_meanwhile(
    plant: Plant, clock: Clock
) -> None:
    """Parked before, put off while it was ahead: the lease's time is what is left, not the whole hour."""
    plant.account("A")
    park(plant, ROW)
    clock.now += HOUR_S
    plant.effects().admit([bell("A")])  # and that process dies
    assert plant.effects().admit([woken(plant, "A")]) == {}
    before = plant.parked("A")
    clock.now -= HOUR_S
    with plant.database.write() as connection:
        repair.clock_went_back(connection, plant.target.name, clock.now)
    row = plant.parked("A")
    assert before is not None
    assert row is not None
    assert row.due_at is not None
    assert row.due_at - clock.now < 3 * plant.lease_s
    assert (row.attempts, row.age_s) == (before.attempts, before.age_s) == (ROW.attempts, ROW.age_s + 60.0)


# --- the database ---------------------------------------------------------------------------------


def test_a_store_that_turns_read_only_stops_the_consumer_which_says_so_and_goes_on_afterwards(
    plant: Plant,
) -> None:
    plant.account("A")
    read_only(plant, "ON")
    plant.ring("A")
    plant.start()
    plant.until(lambda: any("readonly" in trouble for trouble in plant.observer.troubles))
    assert "down" in plant.observer.states
    read_only(plant, "OFF")
    plant.until(lambda: plant.applied("A") == 1)


def read_only(plant: Plant, switch: str) -> None:
    """Every connection of the pool refuses to write, or writes again."""
    from sqlalchemy import event

    def refuse(connection: object, _record: object, _proxy: object) -> None:
        connection.execute(f"PRAGMA query_only={switch}")  # type: ignore[attr-defined]

    event.listen(plant.database.engine, "checkout", refuse)


# --- rows edited by hand --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edited",
    [
        {"kind": "retried"},
        {"lane": "fast"},
        {"attempts": -3},
        {"attempts": "many"},
        {"age_s": -1.0},
        {"due_at": 4e12},
        {"due_at": "tomorrow"},
        {"bells": "x", "version": -1},
    ],
)
def test_a_parked_row_that_was_edited_by_hand_is_looked_at_again_and_the_operator_told(
    plant: Plant, edited: dict[str, object]
) -> None:
    for number in ("A", "B"):
        plant.account(number)
        park(plant, replace(ROW, student_number=number, due_at=NOW.timestamp()))
    with plant.database.write() as connection:
        assignments = ", ".join(f"{name} = :{name}" for name in edited)
        connection.execute(text(f"UPDATE parked SET {assignments} WHERE student_number = 'A'"), edited)  # noqa: S608
    plant.start()
    plant.until(lambda: plant.applied("A") == plant.applied("B") == 1)
    plant.stop()
    assert any("1 parked rows were not as Sésame writes them" in told for told in plant.observer.troubles)
    assert plant.parked("A") is None


def test_rows_as_they_should_be_are_left_alone(plant: Plant) -> None:
    park(plant, ROW)
    park(plant, replace(ROW, student_number="B", kind=Kind.WAITING, due_at=None, lane=Lane.BULK))
    with plant.database.write() as connection:
        assert repair.mend(connection, plant.target.name, NOW.timestamp()) == 0
        assert repair.clock_went_back(connection, plant.target.name, NOW.timestamp()) == (0, 0.0)
    assert plant.parked("A") == ROW


# --- settings that changed between two runs -------------------------------------------------------


def test_another_number_of_partitions_is_refused_with_what_to_do(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "log.db")
    log.ensure_topics({catalogue.ACCOUNTS: 2})
    with pytest.raises(LogError, match=r"has 2 partitions, not 3: .*set it back to what it was"):
        log.ensure_topics({catalogue.ACCOUNTS: 3})
    log.close()


def test_another_batch_size_finds_the_backlog_and_the_parked_as_they_were(plant: Plant) -> None:
    numbers = [f"S{number}" for number in range(12)]

    for number in numbers:
        plant.account(number)
        plant.ring(number)
    with plant.database.write() as connection:
        parking.park(
            connection, plant.database, plant.target.name, replace(ROW, student_number="S0"), seen=None
        )
        connection.execute(update(table).values(due_at=NOW.timestamp()))
    plant.limits = plant.limits.model_copy(update={"batch_size": 1, "slots": 2, "slots_personal": 0})
    plant.start()
    plant.until(lambda: all(plant.applied(number) == 1 for number in numbers))
    plant.stop()
    assert plant.parked("S0") is None
    assert plant.lag() == 0
    assert max(len(call) for call in plant.target.calls) == 1
