"""Figures for observers: progress of propagations, results of the last imports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from consumers.propagation.rows import propagation as p
from producers.registrar.import_runs import imports

IN_PROGRESS = "in_progress"


@dataclass(frozen=True)
class LastImport:
    """A feed's newest finished import.

    Attributes:
        finished_at: epoch seconds, UTC.
        counts: lines and facts by what became of them, without anything personal.
        held: nothing was published: an operator's approval is awaited.
    """

    feed: str
    finished_at: float
    counts: Mapping[str, int]
    held: bool


def propagation_counts(connection: Connection) -> dict[tuple[str, str], int]:
    """Count students by the state and lane of their newest propagation."""
    rows = connection.execute(select(p.c.state, p.c.lane, func.count()).group_by(p.c.state, p.c.lane))
    return {(row[0], row[1]): row[2] for row in rows}


def oldest_in_progress(connection: Connection, now: float) -> dict[str, float]:
    """The age in seconds, less waits, of the oldest propagation in progress, by lane."""
    rows = connection.execute(
        select(p.c.lane, func.min(p.c.opened_at + p.c.waited_s))
        .where(p.c.state == IN_PROGRESS)
        .group_by(p.c.lane)
    )
    return {row[0]: max(0.0, now - row[1]) for row in rows}


def last_imports(connection: Connection) -> list[LastImport]:
    """The newest finished import of each feed."""
    newest = (
        select(func.max(imports.c.id)).where(imports.c.finished_at.is_not(None)).group_by(imports.c.source)
    )
    rows = connection.execute(select(imports).where(imports.c.id.in_(newest)).order_by(imports.c.source))
    found = []
    for row in rows:
        counts = json.loads(row.summary or "{}")
        held = bool(counts.pop("held", 0))
        found.append(LastImport(row.source, row.finished_at, counts, held))
    return found
