"""Each live feed: how far it was read, and by which process."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Float, String, Table, case, or_, select, update

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody

TAKEN_OVER_S: Final = 60.0
"""A process that has read nothing for so long has left the feed to another."""

feed_polls = Table(
    "feed_polls",
    metadata,
    Column("feed", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("seen_at", Float, nullable=False),  # when its owner last read of it
    Column("through", BigInteger, nullable=False),  # all before this is imported; the feed's clock
    Column("finished_at", Float),  # when the last pass ended well
    info=of_nobody("moments"),
)

_C = feed_polls.c


class Poll(NamedTuple):
    """One feed's state; see its table. Times are epoch seconds."""

    feed: str
    through: int
    finished_at: float | None


def claim(connection: Connection, database: Database, feed: str, owner: str) -> bool:
    """Take the feed, or keep it; False: another process reads it."""
    now = database.now(connection)
    _begin(connection, database, feed, owner, now)
    free = or_(_C.owner == owner, _C.seen_at < now - TAKEN_OVER_S)
    mine = update(feed_polls).where(_C.feed == feed, free).values(owner=owner, seen_at=now)
    return connection.execute(mine).rowcount == 1


def release(connection: Connection, feed: str, owner: str) -> None:
    """Leave the feed to whoever comes next."""
    connection.execute(update(feed_polls).where(_C.feed == feed, _C.owner == owner).values(seen_at=0.0))


def finish(connection: Connection, database: Database, feed: str, through: int) -> float:
    """Record a pass that ended well, and return when. `through` never goes back."""
    now = database.now(connection)
    _begin(connection, database, feed, "", 0.0)
    further = case((_C.through < through, through), else_=_C.through)
    connection.execute(update(feed_polls).where(_C.feed == feed).values(through=further, finished_at=now))
    return now


def _begin(connection: Connection, database: Database, feed: str, owner: str, seen_at: float) -> None:
    values = {"feed": feed, "owner": owner, "seen_at": seen_at, "through": 0}
    connection.execute(database.insert_new(feed_polls), values)


def all_polls(connection: Connection) -> list[Poll]:
    """Every feed that was ever polled."""
    rows = connection.execute(select(feed_polls).order_by(_C.feed))
    return [Poll(row.feed, row.through, row.finished_at) for row in rows]
