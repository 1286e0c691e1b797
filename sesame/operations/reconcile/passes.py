"""The last comparison of each target: who begins the night's one, and what it came to."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Connection, Float, String, Table, Text, select, update

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody
from sesame.operations.acts import Report

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("target", String(64), primary_key=True),
    Column("claimed_at", Float, nullable=False),  # when somebody last began the night's comparison
    Column("document", Text),  # Pass as JSON; None: none has ended yet
    info=of_nobody("counts", named_in=("document",)),
)

_CLOCK_CHANGE_S = 2 * 3600.0
"""Where summer time ends, one night's time comes twice."""

KINDS = ("missing", "different", "extra", "orphaned")
"""What a difference is: see `TargetDrift`."""


class Pass(Report):
    """What the last comparison of a target came to.

    Attributes:
        seconds: how long it took.
        found: how many of each kind.
        trouble, approval: see `TargetReport`.
    """

    target: str
    ended_at: datetime
    seconds: float
    accounts: int
    objects: int
    unmanaged: int
    unsettled: int
    found: dict[str, int]
    trouble: str = ""
    approval: str = ""


def claim(connection: Connection, database: Database, target: str, due_at: float) -> bool:
    """Whether the caller is to begin the comparison that was due then: one process is told so, once.

    A target that was never compared waits for its first night.
    """
    first = database.insert(reconciliations).values(target=target, claimed_at=due_at)
    if connection.execute(first.on_conflict_do_nothing(index_elements=[reconciliations.c.target])).rowcount:
        return False
    due = reconciliations.c.target == target, reconciliations.c.claimed_at < due_at - _CLOCK_CHANGE_S
    return connection.execute(update(reconciliations).where(*due).values(claimed_at=due_at)).rowcount == 1


def release(connection: Connection, target: str) -> None:
    """Let somebody else begin the comparison that was claimed: it was not ended."""
    was = update(reconciliations).where(reconciliations.c.target == target)
    connection.execute(was.values(claimed_at=0.0))


def keep(connection: Connection, database: Database, ended: Pass) -> None:
    """Remember this one in the place of the one before."""
    document = ended.model_dump_json()
    statement = database.insert(reconciliations).values(
        target=ended.target, claimed_at=ended.ended_at.timestamp(), document=document
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[reconciliations.c.target], set_={"document": document}
        )
    )


def latest(connection: Connection) -> list[Pass]:
    """The last one of each target that has ended, by target."""
    ended = select(reconciliations.c.document).where(reconciliations.c.document.is_not(None))
    found = connection.scalars(ended.order_by(reconciliations.c.target))
    return [Pass.model_validate_json(text) for text in found]
