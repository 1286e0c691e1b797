"""Which records a target consumer reads, and which of them are bells for it."""

from __future__ import annotations

from pipeline import dead_letters
from pipeline.db.database import Database
from pipeline.dead_letters import DeadLetter
from pipeline.engine import Bell, Place
from pipeline.eventlog.port import Record
from schemas import catalogue
from schemas.account import Stage
from schemas.envelope import EnvelopeError, Message, event_id
from schemas.events import AccountChanged, ReplayRequested, TargetProvisioned


def topics_for(follows: str | None) -> tuple[str, ...]:
    """What a target consumer reads: its bells, and the replays that operators ask for.

    One that follows another target is rung by that one's outcomes; of accounts it reads what shuts access.
    """
    asked = (*catalogue.both_lanes(catalogue.ACCOUNTS), *catalogue.both_lanes(catalogue.ACTIVATIONS))
    return (*catalogue.both_lanes(catalogue.OUTCOMES), *asked) if follows else asked


def bell_for(name: str, follows: str | None, message: Message, place: Place) -> Bell | None:
    """The bell that this event is for the consumer `name`; None: it is for somebody else."""
    event = message.event
    if isinstance(event, ReplayRequested):
        mine = event.consumer == name
        return Bell(event.student_number, 0, place.lane, message.id, True, place) if mine else None
    if follows is None and isinstance(event, AccountChanged):
        return Bell(event.student_number, event.version, event.lane, message.id, False, place)
    if isinstance(event, AccountChanged) and _shuts(event):
        return Bell(
            event.student_number, 0, event.lane, message.id, False, place
        )  # says nothing of the leader
    if follows is not None and isinstance(event, TargetProvisioned) and event.target == follows:
        return Bell(event.student_number, event.version, event.lane, message.id, False, place)
    return None


def _shuts(event: AccountChanged) -> bool:
    return bool(event.holds) or event.stage is Stage.EXPIRED


def bury_poison(database: Database, consumer: str, record: Record, error: EnvelopeError) -> None:
    """A record that cannot be read goes to the dead letters, with its place.

    Raises:
        StoreUnavailable: nothing was recorded.
    """
    with database.write() as connection:
        letter = DeadLetter(
            id=event_id("poison", consumer, record.topic, record.partition, record.offset),
            consumer=consumer,
            student_number=None,
            version=None,
            cause=error.cause,
            message=dead_letters.unreadable(record, error),
            attempts=1,
            recorded_at=database.now(connection),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
        )
        dead_letters.record(connection, database, letter)
