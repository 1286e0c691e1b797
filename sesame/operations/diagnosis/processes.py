"""The consumers by their processes: where each runs, what it says, and who has gone silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection

from pipeline import status
from pipeline.db.database import Database
from pipeline.status import ConsumerStatus

OF_THE_STORE: Final = ("registry", "propagation")
"""The consumers that are there whatever the targets."""
RUNNING, SILENT, ABSENT = "running", "silent", "absent"


@dataclass(frozen=True)
class Process:
    """One consumer's loop in one process.

    Attributes:
        place: `host:pid`, and which of its workers, if not the first (`#2`).
        state, reason: what it said last.
        since: of that state. seen_at: its last sign of life.
        silent: it has given none for too long: it is dead, or hangs.
        words: the state for people, with the place.
    """

    place: str
    state: str
    reason: str
    since: datetime
    seen_at: datetime
    silent: bool
    words: str


@dataclass(frozen=True)
class Consumer:
    """One consumer over all its processes, the newest sign of life first.

    Attributes:
        state: the worst of those that are alive; silent: none of them is; absent: there is none at all.
    """

    state: str
    reason: str
    processes: Sequence[Process]


def consumers(connection: Connection, database: Database, expected: Sequence[str]) -> dict[str, Consumer]:
    """Every consumer: those that are expected first, in their order, then whoever else has said something."""
    now = database.now(connection)
    found: dict[str, list[Process]] = {name: [] for name in expected}
    for each in status.statuses(connection):
        found.setdefault(each.consumer, []).append(_process(each, now))
    return {name: _consumer(processes) for name, processes in found.items()}


def _process(row: ConsumerStatus, now: float) -> Process:
    silent = row.is_silent(now)
    words = f"{row.state} ({row.place})"
    if silent:
        words = f"silent for {row.silent_s(now):.0f} s ({row.place}), last state {row.state}"
    return Process(
        row.place,
        row.state,
        row.reason,
        datetime.fromtimestamp(row.since, UTC),
        datetime.fromtimestamp(row.seen_at, UTC),
        silent,
        words,
    )


def _consumer(processes: Sequence[Process]) -> Consumer:
    if not processes:
        return Consumer(ABSENT, "no process runs it", processes)
    alive = [process for process in processes if not process.silent]
    if not alive:
        return Consumer(SILENT, processes[0].words, processes)
    worst = next((process for process in alive if process.state != RUNNING), alive[0])
    return Consumer(worst.state, worst.reason, processes)
