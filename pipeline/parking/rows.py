"""The parking lot: students to look at later. One row per consumer and student.

A row carries the highest version that rang and a counter that every bell raises. Success deletes it only if
neither has moved since the turn began: so a bell that rang meanwhile is kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    not_,
    or_,
    select,
    update,
)

from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of
from schemas.account import CANARY, Lane

if TYPE_CHECKING:  # it loads the envelope's library, which those who only look do without
    from pipeline.engine.bell import WorkItem

parked = Table(
    "parked",
    metadata,
    Column("consumer", String(64), primary_key=True),
    Column("student_number", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),  # retry | waiting | leased | resync
    Column("version", Integer, nullable=False),  # the highest version that rang
    Column("bells", Integer, nullable=False, default=1),  # raised by each bell; see pipeline.parking
    Column("due_at", Float),  # None: only an event wakes it
    Column("attempts", Integer, nullable=False, default=0),
    Column("first_at", Float, nullable=False),
    Column("age_s", Float, nullable=False, default=0.0),  # counted only while the target was up
    Column("counted_at", Float, nullable=False),  # up to when `age_s` was counted
    Column("cause", String(64), nullable=False),
    Column("message", Text, nullable=False, default=""),
    Column("lane", String(16), nullable=False),
    Column("event_id", String(64), nullable=False),  # of the bell that rang last
    Column("replay", Boolean, nullable=False, default=False),
    Column("attempts_version", Integer, nullable=False, server_default="0"),  # whose attempts are counted
    Column("key_hash", BigInteger, nullable=False, server_default="0"),  # owners fetch due rows by it
    Index("ix_parked_consumer_lane_due_at", "consumer", "lane", "due_at"),
    info=rows_of("student_number", named_in=("message",)),
)


# Made once: making a statement for each look costs more than the database does.
_ROWS: Final = select(parked).where(parked.c.consumer == bindparam("of_consumer"))
_ROWS_OF_ONE: Final = select(parked).where(parked.c.student_number == bindparam("number"))
_ROW: Final = _ROWS.where(parked.c.student_number == bindparam("number"))
_SET: Final = update(parked).where(
    parked.c.consumer == bindparam("of_consumer"), parked.c.student_number == bindparam("number")
)
_VERSION: Final = bindparam("rung", type_=parked.c.version.type)
_RUNG: Final = _SET.values(
    bells=parked.c.bells + bindparam("more"),
    version=case((parked.c.version < _VERSION, _VERSION), else_=parked.c.version),
)
_UNMOVED: Final = delete(parked).where(
    parked.c.consumer == bindparam("of_consumer"),
    parked.c.student_number == bindparam("number"),
    parked.c.version == bindparam("seen_version"),
    parked.c.bells == bindparam("seen_bells"),
)
_DUE: Final = (
    select(parked)
    .where(
        parked.c.consumer == bindparam("of_consumer"),
        parked.c.lane == bindparam("of_lane"),
        parked.c.due_at <= bindparam("moment"),
    )
    .order_by(parked.c.due_at)
    .limit(bindparam("page"))
)
_DUE_OF_SHARE: Final = _DUE.where(
    (parked.c.key_hash % bindparam("shares")).in_(bindparam("numbers", expanding=True))
)


class Kind(StrEnum):
    """A reason to park a student."""

    RETRY = "retry"  # a transient failure; attempts and age are counted
    WAITING = "waiting"  # a business precondition is missing; nothing is counted
    LEASED = "leased"  # another process may be writing; nothing is counted
    RESYNC = "resync"  # the log lost what may have been a bell, or a row was mended; nothing is counted

    @property
    def only_looks(self) -> bool:
        """Whether the row only requests a look at this student."""
        return self in (Kind.LEASED, Kind.RESYNC)


_NEXT_DUE: Final = select(
    *(
        select(func.min(parked.c.due_at))
        .where(parked.c.consumer == bindparam("of_consumer"), parked.c.lane == lane)
        .scalar_subquery()
        .label(lane)
        for lane in Lane
    )
)
"""One look at the index for each lane, in one statement."""


@dataclass(frozen=True)
class Parked:
    """A parked student.

    Attributes:
        due_at: when to look again (database time, epoch seconds); None: only an event wakes it.
        attempts, age_s: failures so far, and for how long, counted only while the target was up; of the
            account version `attempts_version`.
        lane, event_id: of the bell to ring when it is due.
        replay: an operator's comparison is not done yet; `event_id` is that request's.
    """

    student_number: str
    kind: Kind
    version: int
    bells: int
    due_at: float | None
    attempts: int
    first_at: float
    age_s: float
    counted_at: float
    cause: str
    message: str
    lane: Lane
    event_id: str
    replay: bool
    attempts_version: int = 0

    def age_at(self, now: float) -> float:
        """Return `age_s` at this moment (database time).

        Of the time since it was counted, at most the planned delay counts: a turn comes only while the target
        is up.
        """
        planned_s = (self.due_at if self.due_at is not None else now) - self.counted_at
        return self.age_s + max(0.0, min(now - self.counted_at, planned_s))


@dataclass(frozen=True)
class Share:
    """The students of one owner among several: hash modulo `of` is in `numbers`."""

    numbers: frozenset[int]
    of: int

    @property
    def whole(self) -> bool:
        """Whether the share is all students."""
        return len(self.numbers) >= self.of


def key_hash(student_number: str) -> int:
    """Return the hash that shares are made of."""
    return zlib.crc32(student_number.encode())


def parked_of(connection: Connection, consumer: str, student_numbers: Sequence[str]) -> dict[str, Parked]:
    """Return the parked ones among these students."""
    rows = rows_among(connection, _ROWS, parked.c.student_number, student_numbers, of_consumer=consumer)
    return {row["student_number"]: parked_in(row) for row in rows.mappings()}


def all_parked_of(connection: Connection, student_number: str) -> dict[str, Parked]:
    """Return one student's parked work, by consumer."""
    rows = connection.execute(_ROWS_OF_ONE, {"number": student_number}).mappings()
    return {row["consumer"]: parked_in(row) for row in rows}


def due(
    connection: Connection, consumer: str, now: float, *, limit: int, share: Share | None = None
) -> list[Parked]:
    """Return a page of due rows per lane, of `share` or all: personal first, the longest due first."""
    query, whose = _DUE, dict[str, object]()
    if share is not None and not share.whole:
        query, whose = _DUE_OF_SHARE, {"shares": share.of, "numbers": sorted(share.numbers)}
    whose |= {"of_consumer": consumer, "moment": now, "page": limit}
    return [
        parked_in(row)
        for lane in Lane
        for row in connection.execute(query, {**whose, "of_lane": lane}).mappings()
    ]


def next_due(connection: Connection, consumer: str) -> float | None:
    """Return when the next row is due, in any share; None: no row has a time."""
    moments = connection.execute(_NEXT_DUE, {"of_consumer": consumer}).one()
    # A text written by hand may be there: see `pipeline.parking.repair`.
    return min((moment for moment in moments if isinstance(moment, float | int)), default=None)


def park(
    connection: Connection, database: Database, consumer: str, row: Parked, *, seen: Parked | None
) -> None:
    """Park a student, replacing the row seen at the turn's start (None: no row).

    If bells rang meanwhile (in another process), they are kept: the row is then due at once.
    """
    new = {"consumer": consumer, "key_hash": key_hash(row.student_number), **row.__dict__}
    here = {"of_consumer": consumer, "number": row.student_number}
    locked = database.locking(_ROW)
    while (found := connection.execute(locked, here).mappings().one_or_none()) is None:
        if connection.execute(database.insert_new(parked), new).rowcount:
            return
        # Another process parked this student since the look: join what it wrote.
    present = parked_in(found)
    if seen is None or (present.version, present.bells) != (seen.version, seen.bells):
        row = _joined(row, present)
    connection.execute(_SET, {**here, **row.__dict__})


def _joined(row: Parked, rung: Parked) -> Parked:
    # One that only asks for a look takes nothing away of what is counted, nor of the reason that is shown.
    counted = replace(rung, event_id=row.event_id, replay=row.replay) if row.kind.only_looks else row
    return replace(
        counted,
        version=max(row.version, rung.version),
        bells=rung.bells + 1,  # a caller that read the row earlier has not seen this bell
        due_at=0.0,
        lane=Lane.PERSONAL if Lane.PERSONAL in (row.lane, rung.lane) else row.lane,
        event_id=rung.event_id if rung.replay and not row.replay else row.event_id,
        replay=row.replay or rung.replay,
    )


def ring(
    connection: Connection,
    consumer: str,
    parked: Parked,
    *,
    version: int,
    bells: int,
    lane: Lane,
    replay: str | None,
) -> Parked:
    """Record bells of the log in a parked student's row; return the row with them.

    `version`: the highest that rang. `replay`: the id of one among them: the row keeps it until it is carried
    out.
    """
    rung = replace(parked, version=max(parked.version, version), bells=parked.bells + bells, lane=lane)
    values: dict[str, object] = {"more": bells, "rung": version, "lane": lane}
    if replay is not None:
        values |= {"replay": True, "event_id": replay}
    here = {"of_consumer": consumer, "number": parked.student_number}
    connection.execute(_RUNG, {**here, **values})
    return rung


def unpark(connection: Connection, consumer: str, student_number: str, *, version: int, bells: int) -> bool:
    """Delete the row if its version and bells are unchanged; else make it due now."""
    here = {"of_consumer": consumer, "number": student_number}
    if connection.execute(_UNMOVED, {**here, "seen_version": version, "seen_bells": bells}).rowcount:
        return True
    connection.execute(_SET, {**here, "due_at": 0.0, "kind": Kind.LEASED, "attempts": 0, "age_s": 0.0})
    return False


def remove(connection: Connection, consumer: str, student_number: str, *, replays: Sequence[str]) -> None:
    """Delete a student's row, even if bells rang: a dead letter replaces it.

    A row with a replay other than these stays: an operator requested it meanwhile.
    """
    here = and_(parked.c.consumer == consumer, parked.c.student_number == student_number)
    connection.execute(delete(parked).where(here, or_(not_(parked.c.replay), parked.c.event_id.in_(replays))))


def hasten(connection: Connection, consumer: str, student_number: str, due_at: float, *, now: float) -> bool:
    """Make a parked student due at `due_at` or earlier, counted from `now`. False: not parked."""
    here = and_(parked.c.consumer == consumer, parked.c.student_number == student_number)
    soon = parked.c.due_at < due_at
    aged = case((parked.c.counted_at < now, parked.c.age_s + now - parked.c.counted_at), else_=parked.c.age_s)
    done = connection.execute(
        update(parked)
        .where(here)
        .values(
            due_at=case((soon, parked.c.due_at), else_=due_at),
            counted_at=case((soon, parked.c.counted_at), else_=now),
            age_s=case((soon, parked.c.age_s), else_=aged),
            bells=parked.c.bells + 1,
        )
    )
    return bool(done.rowcount)


def postpone(connection: Connection, consumer: str, parked: Parked, due_at: float, *, now: float) -> None:
    """Move a parked student's due time. The delay runs from `now`, should the clock go back (`repair`)."""
    here = {"of_consumer": consumer, "number": parked.student_number}
    connection.execute(_SET, {**here, "due_at": due_at, "counted_at": now, "age_s": parked.age_at(now)})


def rest(connection: Connection, consumer: str, seen: Parked) -> None:
    """Leave this student to the next event; not if one rang since the row was seen."""
    here = and_(parked.c.consumer == consumer, parked.c.student_number == seen.student_number)
    unmoved = and_(parked.c.version == seen.version, parked.c.bells == seen.bells)
    connection.execute(update(parked).where(here, unmoved).values(due_at=None))


def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """Count the parked students, by consumer and kind."""
    rows = connection.execute(
        select(parked.c.consumer, parked.c.kind, func.count())
        .where(parked.c.student_number != CANARY)
        .group_by(parked.c.consumer, parked.c.kind)
    )
    return {(row[0], row[1]): row[2] for row in rows}


@dataclass(frozen=True)
class Retries:
    """Students that a consumer retries for one cause. `oldest_at`: database time, epoch seconds."""

    consumer: str
    cause: str
    students: int
    oldest_at: float


def retries(connection: Connection) -> list[Retries]:
    """Return the students retried after failures, by consumer and cause."""
    rows = connection.execute(
        select(parked.c.consumer, parked.c.cause, func.count(), func.min(parked.c.first_at))
        .where(parked.c.kind == Kind.RETRY, parked.c.student_number != CANARY)
        .group_by(parked.c.consumer, parked.c.cause)
        .order_by(parked.c.consumer, parked.c.cause)
    )
    return [Retries(*row) for row in rows]


_KINDS, _LANES = frozenset(kind.value for kind in Kind), frozenset(lane.value for lane in Lane)


def parked_in(row: Mapping[Any, Any]) -> Parked:
    """Return the student parked in a row, by the names of its columns."""
    fields: dict[str, Any] = dict(row)
    del fields["consumer"], fields["key_hash"]
    # A value written by hand must not stop the others: see `pipeline.parking.repair`.
    fields["kind"] = Kind(fields["kind"]) if fields["kind"] in _KINDS else Kind.RESYNC
    fields["lane"] = Lane(fields["lane"]) if fields["lane"] in _LANES else Lane.PERSONAL
    return Parked(**fields)


LEASE_RETRY_MARGIN_S = 1.0
"""The wait after a lease's end, so that it has ended by every clock."""


@dataclass(frozen=True)
class Why:
    """The reason and due time of a parked student.

    Attributes:
        due_at: database time, epoch seconds; None: only an event wakes it.
        owed: whether the replays of the item are still to be carried out.
    """

    kind: Kind
    due_at: float | None
    cause: str
    message: str = ""
    owed: bool = True


def parked_item(item: WorkItem, parked: Parked | None, now: float, why: Why) -> Parked:
    """The row that parks this item, in place of `parked`. Waiting for a precondition forgets failures."""
    forget = parked is None or Kind.WAITING in (why.kind, parked.kind)
    owed = replays_of(item, parked) if why.owed else ()
    return Parked(
        student_number=item.student_number,
        kind=why.kind,
        version=max(item.version, parked.version if parked is not None else 0),
        bells=parked.bells if parked is not None else 1,
        due_at=why.due_at,
        attempts=0 if parked is None or forget else parked.attempts,
        first_at=now if parked is None or forget else parked.first_at,
        age_s=0.0 if parked is None or forget else parked.age_s,
        counted_at=now,
        cause=why.cause,
        message=why.message,
        lane=lane_for(item, parked),
        event_id=owed[-1] if owed else item.bell.event_id,
        replay=bool(owed),
        attempts_version=0 if parked is None or forget else parked.attempts_version,
    )


def replays_of(item: WorkItem, parked: Parked | None) -> tuple[str, ...]:
    """Return the ids of the replays to carry out, the parked one first."""
    owed = (parked.event_id,) if parked is not None and parked.replay else ()
    return tuple(dict.fromkeys((*owed, *item.replays)))


def lane_for(item: WorkItem, parked: Parked | None) -> Lane:
    """Return the lane of an item and its row. A row that waits for a precondition does not count."""
    waits = parked is not None and parked.lane is Lane.PERSONAL and parked.kind is not Kind.WAITING
    return Lane.PERSONAL if waits else item.lane
