"""Store for each receiver the events of the log that it wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection

from consumers.webhooks import NAME, PREFIX, rows, sender_of
from pipeline import accounts, replays
from pipeline.db.database import Database
from pipeline.db.persons import Forgotten, nobody
from pipeline.eventlog.port import Record
from pipeline.facts import Fact
from schemas import catalogue
from schemas.account import CANARY, Lane
from schemas.envelope import Message
from schemas.events import (
    AccountChanged,
    DeadLetterRecorded,
    DeadLetterResolved,
    Event,
    PropagationBreached,
    PropagationCompleted,
    PropagationLate,
    ReplayRequested,
)

NEWS_S: Final = 7 * 86_400.0
"""Older events are not sent: a new receiver does not get a year's completions."""


class Webhooks:
    """The consumer that stores receivers' events; it touches only the store. Senders do the rest.

    Args:
        receivers: the types of events that each wants, by name.
        clock: seconds since the epoch.
        forgotten: the erased students, about whom no receiver is notified.
    """

    name = NAME
    topics: tuple[str, ...] = (
        catalogue.PROPAGATION,
        catalogue.DEAD_LETTERS,
        *catalogue.both_lanes(catalogue.ACCOUNTS),
        *catalogue.both_lanes(catalogue.ACTIVATIONS),  # replays
    )

    def __init__(
        self,
        database: Database,
        receivers: Mapping[str, Collection[str]],
        *,
        clock: Callable[[], float] = time.time,
        forgotten: Forgotten = nobody,
    ) -> None:
        self._database = database
        self._clock = clock
        self._forgotten = forgotten
        self._receivers = receivers
        self._senders = {sender_of(name): name for name in receivers}

    def handle(self, connection: Connection, facts: Sequence[Fact]) -> None:
        """Store events for the receivers that want them, or let a sender replay."""
        for record, message in facts:
            self._store(connection, record, message)

    def _store(self, connection: Connection, record: Record, message: Message) -> None:
        event = message.event
        if isinstance(event, ReplayRequested):
            if (receiver := self._senders.get(event.consumer)) is not None:
                self._say_again(connection, receiver, event, message.id)
            return
        if message.time.timestamp() < self._clock() - NEWS_S:
            return
        wanting = [name for name, types in self._receivers.items() if event.type in types]
        if wanting and not _is_about_us(event) and not self._is_nobody(connection, event.student_number):
            rows.add(connection, self._database, wanting, message, topic=record.topic, lane=_lane_of(event))

    def _is_nobody(self, connection: Connection, student_number: str) -> bool:
        if student_number == CANARY:
            return True
        known = accounts.version_of(connection, student_number) is not None
        return not known and self._forgotten(connection, student_number)

    def make_up_for_lost(self, _connection: Connection) -> str:
        """Do nothing. Sent events are in the log; operators know which programs missed some."""
        return ""

    def _say_again(
        self, connection: Connection, receiver: str, event: ReplayRequested, replay_id: str
    ) -> None:
        if not rows.again(connection, receiver, event.student_number, replay_id):
            replays.end(connection, event.consumer, {event.student_number: (replay_id,)}, failed=())


def _is_about_us(event: Event) -> bool:
    """True for a sender's own dead letter: sent on, it could cause the next one."""
    return isinstance(event, DeadLetterRecorded | DeadLetterResolved) and event.consumer.startswith(PREFIX)


def _lane_of(event: Event) -> Lane:
    if isinstance(event, PropagationLate | PropagationBreached):
        return Lane.PERSONAL  # bulk work has no window
    return event.lane if isinstance(event, AccountChanged | PropagationCompleted) else Lane.BULK
