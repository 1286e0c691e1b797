"""Consumers by process: where each runs, what it reports, and which went silent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from pipeline import status
from pipeline.db.database import Database
from pipeline.errors import SesameError
from pipeline.status import ConsumerStatus
from schemas.language import gettext
from sesame.acts.acts import EVERYBODY, OPERATORS, Actor, ActPath, Report, act, note, utc
from sesame.acts.ports import Configured, Stored
from sesame.operations.people.diagnosis.words import word

RUNNING, SILENT, ABSENT = "running", "silent", "absent"


class NoSuchProcess(SesameError):
    """No process has said something under this name. `sesame processes list` shows those that have."""


class StillAlive(SesameError):
    """This process gives signs of life: it would be listed again at once. Stop it."""


class Process(Report):
    """One consumer's loop in one process.

    Attributes:
        place: `host:pid`, and which of its workers, if not the first (`#2`).
        state, reason: its last report.
        since: of that state. seen_at: its last sign of life.
        silent: without a sign of life for too long: it is dead, or hangs.
        words: the state for people, with the place.
        lag: records of its topics that are not settled.
        per_s: students whose turns end in a second, of late; 0 of what works by facts.
    """

    place: str
    state: str
    reason: str
    since: datetime
    seen_at: datetime
    silent: bool
    words: str
    lag: int
    per_s: float


class ConsumerProcess(Report):
    """One consumer over all its processes, the newest sign of life first.

    Attributes:
        state: the worst of the living ones; silent: none lives; absent: there is none at all.
        lag, per_s: of all that live.
    """

    state: str
    reason: str
    processes: Sequence[Process]
    lag: int = 0
    per_s: float = 0.0


class Forgotten(Report):
    """A process no longer listed, and the consumers that ran in it."""

    process: str
    consumers: tuple[str, ...]


@act("process.list", EVERYBODY, path=ActPath("list_processes", "GET", "/processes"))
def listed(site: Configured, _actor: Actor) -> dict[str, ConsumerProcess]:
    """Each consumer's processes, without those that ended properly."""
    with site.database.read() as connection:
        return consumers(connection, site.database, site.settings.consumers)


@act("process.forget", OPERATORS)
def forget(site: Stored, actor: Actor, process: str) -> Forgotten:
    """Forget a dead process (`host:pid`) that will not return.

    Raises:
        NoSuchProcess, StillAlive: nothing was done.
    """
    database = site.database
    with database.read() as connection:
        now = database.now(connection)
        rows = [one for one in status.statuses(connection) if one.place.partition("#")[0] == process]
    if not rows:
        raise NoSuchProcess(gettext("no process is called {process!r}", process=process))
    if not all(one.is_silent(now) for one in rows):
        ago = f"{min(one.silent_s(now) for one in rows):.0f}"
        raise StillAlive(gettext("{process} was seen {seconds} s ago", process=process, seconds=ago))
    note(database, actor, "process.forget", process=process)
    with database.write() as connection:
        for one in rows:
            status.forget(connection, one.process, one.consumer)
    return Forgotten(process=process, consumers=tuple(sorted({one.consumer for one in rows})))


def consumers(
    connection: Connection, database: Database, expected: Sequence[str]
) -> dict[str, ConsumerProcess]:
    """Every consumer: the expected ones first, in order, then others that reported."""
    now = database.now(connection)
    found: dict[str, list[Process]] = {name: [] for name in expected}
    for each in status.statuses(connection):
        found.setdefault(each.consumer, []).append(_process(each, now))
    return {name: _consumer(processes) for name, processes in found.items()}


def _process(row: ConsumerStatus, now: float) -> Process:
    silent = row.is_silent(now)
    state = word("states", row.state)
    words = f"{state} ({row.place})"
    if silent:
        words = gettext(
            "silent for {seconds} s ({place}), last state {state}",
            seconds=f"{row.silent_s(now):.0f}",
            place=row.place,
            state=state,
        )
    return Process(
        place=row.place,
        state=row.state,
        reason=status.in_words(row.reason),
        since=utc(row.since),
        seen_at=utc(row.seen_at),
        silent=silent,
        words=words,
        lag=row.lag_personal + row.lag_bulk,
        per_s=row.per_s,
    )


def _consumer(processes: Sequence[Process]) -> ConsumerProcess:
    if not processes:
        return ConsumerProcess(state=ABSENT, reason=gettext("no process runs it"), processes=processes)
    alive = [process for process in processes if not process.silent]
    if not alive:
        return ConsumerProcess(state=SILENT, reason=processes[0].words, processes=processes)
    worst = next((process for process in alive if process.state != RUNNING), alive[0])
    return ConsumerProcess(
        state=worst.state,
        reason=worst.reason,
        processes=processes,
        lag=sum(process.lag for process in alive),
        per_s=round(sum(process.per_s for process in alive), 1),
    )
