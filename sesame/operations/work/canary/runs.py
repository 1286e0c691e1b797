"""The canary's newest run: a row for each of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
)

from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody
from sesame.acts.acts import Report, utc

canary_steps = Table(
    "canary_steps",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("cause", Text, nullable=False),
    Column("at", Float, nullable=False),  # the run's end, in epoch seconds
    info=of_nobody("how the canary's newest run went"),
)


class CanaryStep(Report):
    """One step. `seconds`: how long it took; of a target, since the activation. `cause`: why it failed."""

    name: str
    seconds: float
    ok: bool
    cause: str = ""


class CanaryRun(Report):
    """One run. `steps`: those that were tried; one that needs a failed step is left out."""

    ok: bool
    at: datetime
    steps: tuple[CanaryStep, ...]


def save(connection: Connection, steps: Sequence[CanaryStep], now: float) -> CanaryRun:
    """Keep a run instead of the one before. `now`: epoch seconds."""
    connection.execute(delete(canary_steps))
    rows = [{"position": place, "at": now, **each.model_dump()} for place, each in enumerate(steps)]
    connection.execute(insert(canary_steps), rows)
    return _run(steps, now)


def newest(connection: Connection) -> CanaryRun | None:
    """The newest run; None: there was none."""
    rows = connection.execute(select(canary_steps).order_by(canary_steps.c.position)).all()
    steps = [CanaryStep(name=row.name, seconds=row.seconds, ok=row.ok, cause=row.cause) for row in rows]
    return _run(steps, rows[0].at) if rows else None


def _run(steps: Sequence[CanaryStep], at: float) -> CanaryRun:
    return CanaryRun(ok=all(each.ok for each in steps), at=utc(at), steps=tuple(steps))
