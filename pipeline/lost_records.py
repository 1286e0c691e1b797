"""Records that the log lost unread, beyond repair. The consumer waits until an operator accepts the loss."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Connection, Float, Integer, String, Table, select, update

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody

lost_records = Table(
    "lost_records",
    metadata,
    Column("consumer", String(64), primary_key=True),
    Column("topic", String(64), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),  # the one that was to be read next
    Column("first", BigInteger, nullable=False),  # where the log can be read from
    Column("noticed_at", Float, nullable=False),
    Column("accepted_at", Float),
    info=of_nobody("places in the log"),
)
_t = lost_records.c


@dataclass(frozen=True)
class Loss:
    """A consumer's unread records, from `offset` to before `first`. Times in epoch seconds."""

    consumer: str
    topic: str
    partition: int
    offset: int
    first: int
    noticed_at: float
    accepted_at: float | None


def notice(
    connection: Connection,
    database: Database,
    consumer: str,
    topic: str,
    partition: int,
    *,
    offset: int,
    first: int,
) -> bool:
    """Note a loss. True: an operator has accepted exactly this one."""
    statement = database.insert(lost_records).values(
        consumer=consumer,
        topic=topic,
        partition=partition,
        offset=offset,
        first=first,
        noticed_at=database.now(connection),
    )
    keys = [_t.consumer, _t.topic, _t.partition, _t.offset]
    row = connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_={"first": first}).returning(_t.accepted_at)
    ).one()
    return row.accepted_at is not None


def unaccepted(connection: Connection) -> list[Loss]:
    """Return the losses that no operator has accepted yet, oldest first."""
    query = select(lost_records).where(_t.accepted_at.is_(None)).order_by(_t.noticed_at)
    return [Loss(**row) for row in connection.execute(query).mappings()]


def accept(connection: Connection, database: Database, consumer: str) -> int:
    """Accept every loss of a consumer; return how many."""
    now = database.now(connection)
    done = connection.execute(
        update(lost_records).where(_t.consumer == consumer, _t.accepted_at.is_(None)).values(accepted_at=now)
    )
    return done.rowcount
