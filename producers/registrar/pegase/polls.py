"""Each live feed: how far it was read, by which process, and its trouble."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Float, String, Table, Text, case, or_, select, update

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
    Column("trouble", Text, nullable=False),  # of the last pass; empty: none
    Column("differences", Text, nullable=False),  # from the contract: JSON of text to rows
    info=of_nobody("moments, and names of fields"),
)

_C = feed_polls.c


class Poll(NamedTuple):
    """One feed's state; see its table. Times are epoch seconds."""

    feed: str
    through: int
    finished_at: float | None
    trouble: str
    differences: Mapping[str, int]


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


def finish(
    connection: Connection, database: Database, feed: str, through: int, differences: Mapping[str, int]
) -> float:
    """Record a pass that ended well, and return when. `through` never goes back."""
    now = database.now(connection)
    _begin(connection, database, feed, "", 0.0)
    known = case((_C.through < through, through), else_=_C.through)
    values = {"finished_at": now, "trouble": "", "differences": json.dumps(differences)}
    connection.execute(update(feed_polls).where(_C.feed == feed).values(through=known, **values))
    return now


def fail(connection: Connection, feed: str, trouble: str) -> None:
    """Record what is wrong with a pass; the next one reads the same window again."""
    connection.execute(update(feed_polls).where(_C.feed == feed).values(trouble=trouble))


def _begin(connection: Connection, database: Database, feed: str, owner: str, seen_at: float) -> None:
    values = {"feed": feed, "owner": owner, "seen_at": seen_at, "through": 0}
    connection.execute(database.insert_new(feed_polls), {**values, "trouble": "", "differences": "{}"})


def all_polls(connection: Connection) -> list[Poll]:
    """Every feed that was ever polled."""
    rows = connection.execute(select(feed_polls).order_by(_C.feed))
    return [
        Poll(row.feed, row.through, row.finished_at, row.trouble, json.loads(row.differences)) for row in rows
    ]
