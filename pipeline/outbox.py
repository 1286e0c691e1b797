"""The outbox: events are stored with the rows that cause them, then sent.

A row is deleted once the log has acknowledged it, row by row and never by a watermark: a row whose
transaction ended late has a low id and is still found. Personal rows go first. A crash between
acknowledgement and deletion sends a row again, with the same event id.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
)

from pipeline.db.database import Database, StoreUnavailable
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of
from pipeline.eventlog.port import LogError, LogUnavailable, NewRecord, NotAllowed, Producer, UnknownTopic
from schemas.account import Lane
from schemas.envelope import Headers, Message, to_record

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("lane", Integer, nullable=False),  # 0 personal, 1 bulk: personal rows are sent first
    Column("topic", String(64), nullable=False),
    Column("key", String(32), nullable=False),
    Column("headers", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Index("ix_outbox_lane_id", "lane", "id"),
    sqlite_autoincrement=True,
    info=rows_of("key"),
)


ROWS_PER_PAGE = 500
LAST_PAGES_S_MAX = 5.0
Rows = Sequence[Row[Any]]

_OF_THE_TOPIC = (UnknownTopic, NotAllowed)
"""Refusals that the topic's other rows would meet too: on Kafka each of them takes a second."""

_LANE_ORDER = {Lane.PERSONAL: 0, Lane.BULK: 1}

# Made once: making a statement for each page costs more than the database does.
_PAGE: Final = (
    select(outbox)
    .where(outbox.c.topic.not_in(bindparam("aside", expanding=True)))
    .order_by(outbox.c.lane, outbox.c.id)
    .limit(bindparam("rows"))
)
_FORGET: Final = delete(outbox).where(outbox.c.id.in_(bindparam("ids", expanding=True)))
_ENQUEUE: Final = insert(outbox)


def enqueue(
    connection: Connection, message: Message, topic: str, lane: Lane, extra_headers: Headers = ()
) -> None:
    """Send `message` to `topic` after this transaction is committed."""
    headers, value = to_record(message)
    row = {
        "lane": _LANE_ORDER[lane],
        "topic": topic,
        "key": message.event.student_number,
        "headers": json.dumps([[name, text.decode()] for name, text in (*headers, *extra_headers)]),
        "value": value,
    }
    connection.execute(_ENQUEUE, row)


@dataclass(frozen=True)
class OutboxPage:
    """A page of rows, those that the log acknowledged, and its refusal of others."""

    rows: Rows
    sent: Rows
    refusal: LogError | None


class OutboxRelay:
    """Sends the outbox's rows.

    Of the relays of several processes one sends at a time; when it dies, another takes over. On SQLite, where
    one process is the rule, several are harmless.
    """

    def __init__(self, database: Database, producer: Producer) -> None:
        self._database = database
        self._producer = producer
        self._bell = threading.Event()

    def ring(self) -> None:
        """Wake the relay: there may be something to send."""
        self._bell.set()

    def send_page(self) -> int:
        """Send one page; return how many rows were sent.

        Raises:
            StoreUnavailable, LogUnavailable: nothing is lost; call again.
            LogError: the log refuses some rows (a missing topic, a record too large). They stay; the other
                rows of the page were sent, and those behind it, if it was refused as a whole.
        """
        aside: set[str] = set()  # topics of which nothing could be sent
        refusal: LogError | None = None
        while True:
            page = self._send_embedded(aside) if self._database.is_sqlite else self._send_alone(aside)
            refusal = refusal or page.refusal
            if page.sent or not page.rows:
                break
            aside.update(row.topic for row in page.rows)
        if refusal is not None:
            raise refusal
        return len(page.sent)

    def _send_embedded(self, aside: Collection[str]) -> OutboxPage:
        """Send outside a transaction: SQLite's writer must not wait for the log. Another relay may resend."""
        with self._database.read() as connection:
            rows = _page(connection, aside)
        page = self._sent(rows)
        if page.sent:
            with self._database.write() as connection:
                _forget(connection, page.sent)
        return page

    def _send_alone(self, aside: Collection[str]) -> OutboxPage:
        """Send under a lock, one relay at a time: nothing overtakes what is older."""
        with self._database.write() as connection:
            if not self._database.alone_at_once(connection, "outbox"):
                return OutboxPage([], [], None)
            page = self._sent(_page(connection, aside))
            if page.sent:
                _forget(connection, page.sent)
        return page

    def _sent(self, rows: Rows) -> OutboxPage:
        sent, refusal = self._append(rows) if rows else ([], None)
        return OutboxPage(rows, sent, refusal)

    def _append(self, rows: Rows) -> tuple[Rows, LogError | None]:
        """Append all at once. On refusal topic by topic, then row by row if the topic is not the cause."""
        try:
            self._producer.append([_record(row) for row in rows])
        except LogUnavailable:
            raise
        except LogError as refusal:
            by_topic: dict[str, list[Row[Any]]] = {}
            for row in rows:
                by_topic.setdefault(row.topic, []).append(row)
            parts: list[list[Row[Any]]] = list(by_topic.values())
            if len(parts) == 1:
                if len(rows) == 1 or isinstance(refusal, _OF_THE_TOPIC):
                    return [], refusal
                parts = [[row] for row in rows]
            ends = [self._append(part) for part in parts]
            refusals = [refused for _, refused in ends if refused is not None]
            return [row for sent, _ in ends for row in sent], refusals[0] if refusals else None
        return rows, None

    def waiting(self) -> int:
        """Count the rows that wait to be sent."""
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(outbox)).scalar_one()

    def run(
        self, stopping: threading.Event, *, look_every_s: float, on_trouble: Callable[[str], None]
    ) -> None:
        """Send until `stopping` is set; then send the remaining rows."""
        while not stopping.is_set():
            self._bell.clear()
            try:
                if self.send_page():
                    continue
            except (StoreUnavailable, LogError) as error:
                on_trouble(str(error))
                stopping.wait(1.0)
            self._bell.wait(look_every_s)
        give_up_at = time.monotonic() + LAST_PAGES_S_MAX
        try:
            while self.send_page() and time.monotonic() < give_up_at:
                pass
        except (StoreUnavailable, LogError) as error:
            on_trouble(str(error))


def _page(connection: Connection, aside: Collection[str]) -> Rows:
    return connection.execute(_PAGE, {"rows": ROWS_PER_PAGE, "aside": list(aside)}).all()


def _forget(connection: Connection, sent: Rows) -> None:
    connection.execute(_FORGET, {"ids": [row.id for row in sent]})


def _record(row: Row[Any]) -> NewRecord:
    headers = tuple((name, text.encode()) for name, text in json.loads(row.headers))
    return NewRecord(row.topic, row.key, row.value, headers)
