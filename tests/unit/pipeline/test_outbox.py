"""The outbox: what the database has to say is said, persons first, and never lost between two acts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from pipeline import outbox
from pipeline.db.database import Database
from pipeline.eventlog.port import (
    LogError,
    LogUnavailable,
    NewRecord,
    Producer,
    RecordTooLarge,
    TopicPartition,
    UnknownTopic,
)
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.outbox import OutboxRelay
from pipeline.outbox import outbox as table
from sandbox.process import PATIENCE_S
from schemas import catalogue
from schemas.account import Lane, Stage
from schemas.envelope import Message, event_id, from_record
from schemas.events import AccountChanged, Cause
from sesame.testing.servers.database_kit import START, undone


def enqueue(
    database: Database, number: str, version: int = 1, *, lane: Lane = Lane.PERSONAL, topic: str | None = None
) -> None:
    event = AccountChanged(
        student_number=number, version=version, stage=Stage.ACTIVE, lane=lane, cause=Cause.ACTIVATION
    )
    identity = event_id(event.type, "registry", number, version)
    message = Message(identity, "/sesame/registry", datetime.fromtimestamp(START, UTC), event)
    with database.write() as connection:
        where = topic or catalogue.by_lane(catalogue.ACCOUNTS, lane)
        outbox.enqueue(connection, message, where, lane, (("x-note", "très bien".encode()),))


def read(log: SqliteEventLog, *topics: str) -> list[Message]:
    consumer = log.consumer("look", topics or catalogue.both_lanes(catalogue.ACCOUNTS), member="test")
    records = consumer.poll(1000, 0.0)
    consumer.close()
    assert all(dict(record.headers)["x-note"] == "très bien".encode() for record in records)
    return [from_record(record.key, record.headers, record.value) for record in records]


def said(log: SqliteEventLog) -> list[tuple[str, int]]:
    events = [message.event for message in read(log)]
    return [(event.student_number, event.version) for event in events if isinstance(event, AccountChanged)]


class Faulty:
    """A producer that raises what it is told to, before or after the records are in the log."""

    def __init__(self, inner: Producer) -> None:
        self.inner = inner
        self.before: LogError | None = None
        self.after: LogError | None = None
        self.refuses: dict[str, LogError] = {}  # by topic or key
        self.batches: list[list[str]] = []
        self.refused = 0

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        if self.before is not None:
            raise self.before
        for record in records:
            refusal = self.refuses.get(record.topic) or self.refuses.get(record.key)
            if refusal is not None:
                self.refused += 1
                raise refusal
        placed = self.inner.append(records)
        self.batches.append([record.key for record in records])
        if self.after is not None:
            raise self.after
        return placed

    def close(self) -> None:
        pass


def test_what_is_committed_is_sent_in_order_and_leaves_the_outbox(
    database: Database, log: SqliteEventLog, producer: Producer
) -> None:
    for version in (1, 2, 3):
        enqueue(database, "A", version)
    relay = OutboxRelay(database, producer)
    assert relay.waiting() == 3
    assert relay.send_page() == 3
    assert said(log) == [("A", 1), ("A", 2), ("A", 3)]
    assert (relay.waiting(), relay.send_page()) == (0, 0)


def test_persons_are_sent_before_what_nobody_waits_for(database: Database, producer: Producer) -> None:
    for number in ("B1", "B2"):
        enqueue(database, number, lane=Lane.BULK)
    enqueue(database, "P")
    faulty = Faulty(producer)
    OutboxRelay(database, faulty).send_page()
    assert faulty.batches == [["P", "B1", "B2"]]


def test_what_is_not_committed_is_not_sent(database: Database, producer: Producer) -> None:
    event = AccountChanged(
        student_number="A", version=1, stage=Stage.ACTIVE, lane=Lane.PERSONAL, cause=Cause.ACTIVATION
    )
    message = Message("id", "/sesame/registry", datetime.fromtimestamp(START, UTC), event)
    with undone(database) as connection:
        outbox.enqueue(connection, message, catalogue.ACCOUNTS, Lane.PERSONAL)
    assert OutboxRelay(database, producer).send_page() == 0


def test_a_crash_between_acknowledgement_and_deletion_sends_again_under_the_same_id(
    database: Database, log: SqliteEventLog, producer: Producer
) -> None:
    enqueue(database, "A")
    faulty = Faulty(producer)
    faulty.after = LogUnavailable("the answer was lost")
    relay = OutboxRelay(database, faulty)
    with pytest.raises(LogUnavailable):
        relay.send_page()
    assert relay.waiting() == 1
    faulty.after = None
    relay.send_page()
    first, second = read(log)
    assert first.id == second.id
    assert relay.waiting() == 0


def test_two_relays_at_once_lose_nothing(
    database: Database, log: SqliteEventLog, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "ROWS_PER_PAGE", 7)
    for number in range(40):
        enqueue(database, f"S{number}")

    def relay() -> None:
        one = OutboxRelay(database, producer)
        while one.send_page():
            pass

    threads = [threading.Thread(target=relay) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number for number, _ in said(log)} == {f"S{number}" for number in range(40)}
    assert OutboxRelay(database, producer).waiting() == 0


def test_a_row_whose_transaction_ended_late_is_found_though_its_id_is_low(
    database: Database, log: SqliteEventLog, producer: Producer
) -> None:
    enqueue(database, "A")
    enqueue(database, "B")
    with database.write() as connection:  # as PostgreSQL shows it: B is visible, A not yet
        [row] = connection.execute(table.select().where(table.c.key == "A")).mappings()
        connection.execute(table.delete().where(table.c.key == "A"))
    relay = OutboxRelay(database, producer)
    relay.send_page()
    with database.write() as connection:
        connection.execute(table.insert().values(**row))
    relay.send_page()
    assert [number for number, _ in said(log)] == ["B", "A"]


@pytest.mark.parametrize(
    ("refused", "error"),
    [("X", RecordTooLarge("too large")), (catalogue.PROPAGATION, UnknownTopic("no such topic"))],
)
def test_what_the_log_refuses_stays_and_does_not_hold_the_others_up(
    database: Database, log: SqliteEventLog, producer: Producer, refused: str, error: LogError
) -> None:
    enqueue(database, "A")
    enqueue(database, "X", topic=catalogue.PROPAGATION if refused != "X" else None)
    enqueue(database, "B")
    enqueue(database, "C", lane=Lane.BULK)
    faulty = Faulty(producer)
    faulty.refuses = {refused: error}
    relay = OutboxRelay(database, faulty)
    with pytest.raises(type(error)):
        relay.send_page()
    assert sorted(number for number, _ in said(log)) == ["A", "B", "C"]
    assert relay.waiting() == 1
    faulty.refuses = {}
    assert relay.send_page() == 1


def test_a_topic_that_is_missing_holds_nobody_up_however_many_wait_for_it_and_is_asked_for_once(
    database: Database, log: SqliteEventLog, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "ROWS_PER_PAGE", 3)
    for number in range(7):
        enqueue(database, f"X{number}", topic=catalogue.PROPAGATION)
    enqueue(database, "A")
    faulty = Faulty(producer)
    faulty.refuses = {catalogue.PROPAGATION: UnknownTopic("no such topic")}
    relay = OutboxRelay(database, faulty)
    with pytest.raises(UnknownTopic):
        relay.send_page()
    assert said(log) == [("A", 1)]
    assert faulty.refused == 1, "the topic's other rows would be refused too, each after a second on Kafka"
    assert relay.waiting() == 7


def test_the_relay_goes_on_after_troubles_tells_of_them_and_empties_the_outbox_at_its_end(
    database: Database, log: SqliteEventLog, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "ROWS_PER_PAGE", 2)
    faulty = Faulty(producer)
    faulty.before = LogUnavailable("away")
    relay = OutboxRelay(database, faulty)
    troubles: list[str] = []
    told, stopping = threading.Event(), threading.Event()

    def trouble(what: str) -> None:
        troubles.append(what)
        told.set()

    def run() -> None:
        relay.run(stopping, look_every_s=0.01, on_trouble=trouble)

    for number in range(9):
        enqueue(database, f"S{number}")
    thread = threading.Thread(target=run)
    thread.start()
    assert told.wait(PATIENCE_S)
    faulty.before = None
    stopping.set()
    relay.ring()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert troubles == ["away"]
    assert len(said(log)) == 9


def test_a_bell_between_a_look_and_the_wait_is_heard(
    database: Database, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, stopping, looks = OutboxRelay(database, producer), threading.Event(), 0

    def page() -> int:
        """Nothing is there; a moment later something is committed, and the bell rings."""
        nonlocal looks
        looks += 1
        if looks > 1:
            stopping.set()
        relay.ring()
        return 0

    monkeypatch.setattr(relay, "send_page", page)
    thread = threading.Thread(
        target=relay.run, args=(stopping,), kwargs={"look_every_s": 600.0, "on_trouble": print}, daemon=True
    )
    thread.start()
    thread.join(PATIENCE_S)
    assert looks > 1


def test_a_relay_that_is_stopped_while_the_log_is_away_ends_without_an_error(
    database: Database, producer: Producer
) -> None:
    enqueue(database, "A")
    faulty = Faulty(producer)
    faulty.before = LogUnavailable("away")
    troubles: list[str] = []
    relay, stopping = OutboxRelay(database, faulty), threading.Event()
    stopping.set()
    relay.run(stopping, look_every_s=0.01, on_trouble=troubles.append)
    assert troubles == ["away"]
    assert relay.waiting() == 1
