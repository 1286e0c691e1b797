"""What each consumer says of itself, so that no stop is silent and every process can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from pipeline.store.database import Database
from pipeline.store.tables import consumer_status as s


@dataclass(frozen=True)
class ConsumerStatus:
    """One consumer in one process: its state, why, since when, and when it last said so (epoch seconds).

    `lag_personal`, `lag_bulk`: records of its topics that are not settled, by lane.
    """

    consumer: str
    process: str
    state: str
    reason: str
    since: float
    seen_at: float
    lag_personal: int = 0
    lag_bulk: int = 0


def report(connection: Connection, database: Database, status: ConsumerStatus) -> None:
    """Say where a consumer stands, in place of what its process said before."""
    values = {
        "state": status.state,
        "reason": status.reason,
        "since": status.since,
        "seen_at": status.seen_at,
        "lag_personal": status.lag_personal,
        "lag_bulk": status.lag_bulk,
    }
    statement = database.insert(s).values(consumer=status.consumer, process=status.process, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[s.c.consumer, s.c.process], set_=values)
    )


def forget_others(connection: Connection, consumer: str, *, seen_before: float) -> None:
    """Forget processes that have not been heard of for long."""
    connection.execute(delete(s).where(s.c.consumer == consumer, s.c.seen_at < seen_before))


def statuses(connection: Connection) -> list[ConsumerStatus]:
    """Every consumer of every process."""
    rows = connection.execute(select(s).order_by(s.c.consumer, s.c.seen_at.desc())).mappings()
    return [ConsumerStatus(**row) for row in rows]
