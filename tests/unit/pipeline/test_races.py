"""Two processes at once: SQLite has one writer; on PostgreSQL locks see to what must not cross."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing

from sqlalchemy import Connection, insert, select

from consumers.propagation.rows import propagation
from pipeline import outbox, timers
from pipeline.db.database import Database
from pipeline.eventlog.port import NewRecord, Record, TopicPartition
from pipeline.facts import Fact
from pipeline.outbox import OutboxRelay
from pipeline.outbox import outbox as outbox_table
from sandbox.process import PATIENCE_S
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import Message, event_id, to_record
from sesame.testing.servers.database_kit import ONLY_POSTGRESQL, START, meanwhile
from sesame.testing.servers.registry_kit import LEA, RegistryHarness, activation, enrolled
from sesame.testing.servers.registry_kit import START as START_OF_TERM


def test_an_activation_and_the_first_enrolment_at_once_do_not_miss_each_other(store_url: str) -> None:
    """The one is put aside while the other, which would take it up, cannot see it yet."""
    here, elsewhere = RegistryHarness(store_url), RegistryHarness(store_url)
    event = activation(LEA)
    message = Message(event_id(event.type, "test", "1"), "/sesame/test", START_OF_TERM, event)
    headers, value = to_record(message)
    topic = catalogue.by_lane(catalogue.ACTIVATIONS, Lane.PERSONAL)
    record = Record(topic, 0, 0, LEA, value, headers, 0)
    with closing(here.database), closing(elsewhere.database), ExitStack() as transaction:
        connection = transaction.enter_context(here.database.write())
        here.registry.handle(connection, [Fact(record, message)])
        with meanwhile(lambda: elsewhere.apply(enrolled())) as enrolling:
            enrolling.join(0.3)
            transaction.close()
        assert here.account().activated_at is not None


class Slow:
    """A log that takes its time, and what it was given in which order."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.appending, self.go_on = threading.Event(), threading.Event()

    def append(self, records: list[NewRecord]) -> list[tuple[TopicPartition, int]]:
        self.appending.set()
        assert self.go_on.wait(PATIENCE_S)
        self.keys += [record.key for record in records]
        return []

    def close(self) -> None:
        pass


def fill(database: Database, keys: list[str]) -> None:
    with database.write() as connection:
        for key in keys:
            row = {"lane": 0, "topic": "t", "key": key, "headers": "[]", "value": b""}
            connection.execute(insert(outbox_table).values(**row))


@ONLY_POSTGRESQL
def test_of_two_relays_one_sends_at_a_time_and_nothing_is_sent_twice(database: Database) -> None:
    log = Slow()
    one, other = OutboxRelay(database, log), OutboxRelay(database, log)  # type: ignore[arg-type]
    fill(database, ["A", "B"])
    with meanwhile(one.send_page):
        assert log.appending.wait(PATIENCE_S)
        fill(database, ["C"])
        assert other.send_page() == 0  # nothing overtakes what is on its way
        log.go_on.set()
    assert other.send_page() == 1
    assert log.keys == ["A", "B", "C"]
    assert outbox.OutboxRelay(database, log).waiting() == 0  # type: ignore[arg-type]


@ONLY_POSTGRESQL
def test_a_fact_and_a_timer_of_one_student_at_once_do_not_lock_each_other_out(database: Database) -> None:
    """A timer locks the student's row, then takes itself away; a fact goes in that order too."""
    with database.write() as connection:
        timers.arm(connection, database, "late", "A", START - 1)
        connection.execute(
            insert(propagation).values(
                student_number="A", version=1, lane="personal", opened_at=START, state="in_progress"
            )
        )
    looked: list[str] = []
    row = select(propagation).where(propagation.c.student_number == "A").with_for_update()

    def on_due(due: Connection, number: str, _now: float) -> None:
        due.execute(row)
        looked.append(number)

    with database.write() as connection:
        connection.execute(row)
        with meanwhile(lambda: timers.run_due(database, {"late": on_due})) as running:
            running.join(0.2)
            timers.disarm(connection, ("late",), "A")
            connection.commit()
    assert timers.armed(database) == {}
    assert len(looked) <= 1


@ONLY_POSTGRESQL
def test_two_processes_do_not_run_the_same_timers_at_once(database: Database) -> None:
    with database.write() as connection:
        timers.arm(connection, database, "late", "A", START - 1)
    ran: list[int] = []

    def on_due(_due: Connection, _number: str, _now: float) -> None:
        ran.append(timers.run_due(database, {"late": on_due}))  # another process, in the middle of it

    assert timers.run_due(database, {"late": on_due}) == 1
    assert ran == [0]
