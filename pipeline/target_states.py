"""One row per target and student: the version observed there, and the lease.

A lease belongs to one process life. It is taken for longer than the call can last, by database time, and no
process enters earlier: not even the one that was killed and started again. A lease that was not given back
shows its successor that the outcome is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    String,
    Table,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.types import TypeEngine

from pipeline.db.bulk_sql import given, rows_among, rows_given
from pipeline.db.database import Database, insert_for
from pipeline.db.metadata import metadata, partial_index
from pipeline.db.persons import rows_of
from schemas.account import CANARY

target_states = Table(
    "target_states",
    metadata,
    Column("target", String(64), primary_key=True),
    Column("student_number", String(32), primary_key=True),
    Column("applied_version", Integer, nullable=False, default=0),
    Column("applied_at", Float),
    Column("digest", String(80)),
    Column(
        "replayed_event_id", String(64)
    ),  # the last replay that was carried out: its redelivery is a no-op
    Column(
        "suspect", Boolean, nullable=False, default=False
    ),  # an outcome is unknown: compare before writing
    Column("lease_owner", String(64)),  # a process life; None: free
    Column("lease_epoch", Integer, nullable=False, default=0),
    Column("lease_until", Float, nullable=False, default=0.0),  # database time
    Column("sequence", Integer, nullable=False, default=0),  # of the last outcome under the lease's epoch
    Column("state", String(16), nullable=False, default="new"),  # provisioned | waiting | retrying | failed
    Column("state_version", Integer, nullable=False, default=0),
    Column("reason", String(64)),
    Column("pending", Text),  # JSON list of names
    Column("since", Float),
    partial_index("ix_target_states_reason", "reason IS NOT NULL", "reason", "target", "student_number"),
    info=rows_of("student_number"),
)


_NUMBERS_PER_QUERY = 500

# Made once: making a statement for each turn costs more than the database does.
_ALL_STATES: Final = select(target_states).where(target_states.c.student_number == bindparam("number"))
_STATES: Final = select(target_states).where(target_states.c.target == bindparam("of_target"))
_UNDER_LEASE: Final = update(target_states).where(
    target_states.c.target == bindparam("of_target"),
    target_states.c.student_number == bindparam("number"),
    target_states.c.lease_epoch == bindparam("of_epoch"),
)


class State(StrEnum):
    """A student's state in one target."""

    NEW = "new"
    PROVISIONED = "provisioned"
    WAITING = "waiting"
    RETRYING = "retrying"
    FAILED = "failed"


@dataclass(frozen=True)
class TargetState:
    """One student's row for one target.

    Attributes:
        applied_version: the newest account version that was read back there; 0: none.
        suspect: an outcome is unknown: compare before writing.
        state, state_version, reason, pending, since: the state that is shown, and its start (epoch seconds).
    """

    target: str
    student_number: str
    applied_version: int
    digest: str | None
    replayed_event_id: str | None
    suspect: bool
    lease_owner: str | None
    lease_epoch: int
    lease_until: float
    sequence: int
    state: State
    state_version: int
    reason: str | None
    pending: tuple[str, ...]
    since: float | None

    def held(self, now: float) -> bool:
        """Return whether any process's call may still have an effect."""
        return self.lease_owner is not None and now < self.lease_until

    @property
    def abandoned(self) -> bool:
        """Whether the last lease was never given back: its outcome is unknown."""
        return self.lease_owner is not None


@dataclass(frozen=True)
class Conclusion:
    """The record of a turn's end.

    Attributes:
        applied_version: raise it to this; None: leave it.
        suspect: the target's content is in doubt: compare before writing.
        unknown: this call may still have an effect; the lease is kept until it runs out.
        replayed_event_id: the replay that was carried out; None: none was.
    """

    student_number: str
    epoch: int
    state: State
    state_version: int
    sequence: int
    reason: str | None = None
    pending: tuple[str, ...] = ()
    applied_version: int | None = None
    digest: str | None = None
    replayed_event_id: str | None = None
    suspect: bool = False
    unknown: bool = False


def drawn(connection: Connection, target: str, *, newest: int, by_lot: int) -> list[str]:
    """Sample students provisioned there: the newest ones, and others at random."""
    there = (
        select(target_states.c.student_number)
        .where(target_states.c.target == target)
        .where(target_states.c.state == State.PROVISIONED, target_states.c.applied_version > 0)
    )
    last = connection.scalars(
        there.order_by(target_states.c.applied_at.desc().nulls_last()).limit(newest)
    ).all()
    lot = there.where(target_states.c.student_number.not_in(last)).order_by(func.random()).limit(by_lot)
    return [*last, *connection.scalars(lot)]


def states_of(connection: Connection, target: str, student_numbers: Sequence[str]) -> dict[str, TargetState]:
    """Return these students' states in one target."""
    rows = rows_among(connection, _STATES, target_states.c.student_number, student_numbers, of_target=target)
    return {row["student_number"]: state_in(row) for row in rows.mappings()}


def replayed(
    connection: Connection, target: str, event_ids: Mapping[str, str], asked_at: Mapping[str, float]
) -> set[str]:
    """Return the event ids of those of the students' replays that were carried out.

    A row knows the last replay only: an earlier one counts as carried out, too, if the target was brought to
    the student's state after the request.
    """
    found: set[str] = set()
    numbers = list(event_ids)
    for start in range(0, len(numbers), _NUMBERS_PER_QUERY):
        page = numbers[start : start + _NUMBERS_PER_QUERY]
        query = select(
            target_states.c.student_number, target_states.c.replayed_event_id, target_states.c.applied_at
        ).where(
            target_states.c.target == target,
            target_states.c.student_number.in_(page),
            target_states.c.replayed_event_id.is_not(None),
        )
        for number, last, applied_at in connection.execute(query):
            later = applied_at is not None and applied_at >= asked_at[number]
            if last == event_ids[number] or later:
                found.add(event_ids[number])
    return found


def waiting_for(connection: Connection, target: str, reason: str, since: float, until: float) -> list[str]:
    """Return the students waiting for this reason, by number. Since [`since`, `until`), in epoch seconds."""
    rows = target_states.c
    query = select(rows.student_number).where(
        rows.target == target,
        rows.state == State.WAITING,
        rows.reason == reason,
        rows.since >= since,
        rows.since < until,
    )
    return list(connection.execute(query.order_by(rows.student_number)).scalars())


def written_between(connection: Connection, target: str, since: float, until: float) -> list[str]:
    """Return those last written or compared in that time (epoch seconds), by number."""
    query = select(target_states.c.student_number).where(
        target_states.c.target == target,
        target_states.c.applied_at >= since,
        target_states.c.applied_at < until,
    )
    return list(connection.execute(query.order_by(target_states.c.student_number)).scalars())


def all_states_of(
    connection: Connection, student_number: str, targets: Sequence[str]
) -> dict[str, TargetState]:
    """Return one student's states, by target.

    The index begins with the target: without the targets' names the whole table would be read.
    """
    rows = rows_among(
        connection, _ALL_STATES, target_states.c.target, targets, number=student_number
    ).mappings()
    return {row["target"]: state_in(row) for row in rows}


def lease(
    connection: Connection,
    database: Database,
    target: str,
    epochs: dict[str, int],
    *,
    owner: str,
    until: float,
) -> set[str]:
    """Take these leases, each at the epoch after the one seen. Return the students who were still free."""
    if not epochs:
        return set()
    rows = sorted(epochs.items())  # in one order, so that two processes cannot wait for each other
    parameters = rows_given(rows) | {"of_target": target, "by_owner": owner, "until": until}
    return set(connection.execute(_leasing(database.is_sqlite), parameters).scalars())


_WANTED: Final[Mapping[str, TypeEngine[Any]]] = {"number": String(), "epoch": Integer()}


@cache
def _leasing(is_sqlite: bool) -> Any:  # noqa: FBT001  # by its position, for the cache
    wanted = given(_WANTED, is_sqlite=is_sqlite)
    names = ["target", "student_number", "lease_owner", "lease_epoch", "lease_until", "sequence"]
    values = select(
        bindparam("of_target", type_=String()),
        wanted.c.number,
        bindparam("by_owner", type_=String()),
        wanted.c.epoch,
        bindparam("until", type_=Float()),
        literal(0, Integer()),
    ).where(literal_column("true"))  # SQLite's manual: else ON CONFLICT is taken for a join's ON
    statement = insert_for(target_states, is_sqlite=is_sqlite).from_select(names, values)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[target_states.c.target, target_states.c.student_number],
        set_={name: new[name] for name in names[2:]},
        where=target_states.c.lease_epoch == new.lease_epoch - 1,
    ).returning(target_states.c.student_number)


def conclude(
    connection: Connection, database: Database, target: str, ended: Sequence[Conclusion], now: float
) -> set[str]:
    """Record the ends of turns, at most one per student, and release their leases.

    Returns the students recorded; nothing was written for the others, who had lost their lease.
    """
    if not ended:
        return set()
    # In one order, so that two processes cannot wait for each other.
    rows = [_end(target, each, now) for each in sorted(ended, key=_number)]
    return set(connection.execute(_concluding(database.is_sqlite), rows_given(rows)).scalars())


@cache
def _concluding(is_sqlite: bool) -> Any:  # noqa: FBT001  # by its position, for the cache
    """Build an INSERT that always meets its row: SQLite runs UPDATE … FROM as one scan per given row."""
    ends = given(_ENDS, is_sqlite=is_sqlite)
    here = (target_states.c.target == ends.c.target, target_states.c.student_number == ends.c.student_number)
    held = exists().where(*here, target_states.c.lease_epoch == ends.c.lease_epoch)
    statement = insert_for(target_states, is_sqlite=is_sqlite).from_select(
        list(_ENDS), select(*ends.c).where(held).order_by(ends.c.student_number)
    )
    new = statement.excluded
    applied = new.applied_at.is_not(None)
    same = and_(
        target_states.c.state == new.state,
        target_states.c.state_version == new.state_version,
        target_states.c.reason.is_not_distinct_from(new.reason),
    )
    plain = ("state", "state_version", "sequence", "reason", "pending", "suspect")
    return statement.on_conflict_do_update(
        index_elements=[target_states.c.target, target_states.c.student_number],
        set_={
            **{name: new[name] for name in plain},
            "lease_owner": case((new.lease_owner.is_(None), null()), else_=target_states.c.lease_owner),
            "since": case((same, func.coalesce(target_states.c.since, new.since)), else_=new.since),
            "applied_version": case(
                (new.applied_version > target_states.c.applied_version, new.applied_version),
                else_=target_states.c.applied_version,
            ),
            "applied_at": func.coalesce(new.applied_at, target_states.c.applied_at),
            "digest": case((applied, new.digest), else_=target_states.c.digest),
            "replayed_event_id": func.coalesce(new.replayed_event_id, target_states.c.replayed_event_id),
        },
        where=target_states.c.lease_epoch == new.lease_epoch,
    ).returning(target_states.c.student_number)


_KEPT: Final = "kept"  # in place of an owner: the lease is to run out
_ENDS: Final[Mapping[str, TypeEngine[Any]]] = {
    name: target_states.c[name].type
    for name in (
        "target",
        "student_number",
        "lease_owner",
        "lease_epoch",
        "state",
        "state_version",
        "sequence",
        "reason",
        "pending",
        "since",
        "suspect",
        "applied_version",
        "applied_at",
        "digest",
        "replayed_event_id",
    )
}


def _number(ended: Conclusion) -> str:
    return ended.student_number


def _end(target: str, ended: Conclusion, now: float) -> tuple[object, ...]:
    """Return a row of `_ENDS`."""
    return (
        target,
        ended.student_number,
        _KEPT if ended.unknown else None,
        ended.epoch,
        ended.state,
        ended.state_version,
        ended.sequence,
        ended.reason,
        json.dumps(ended.pending, ensure_ascii=False) if ended.pending else "[]",
        now,
        ended.suspect or ended.unknown,
        ended.applied_version or 0,
        None if ended.applied_version is None else now,
        ended.digest,
        ended.replayed_event_id,
    )


def mark_suspect(connection: Connection, target: str, student_numbers: Sequence[str]) -> None:
    """Mark students whom another program may have changed: compare them.

    The epoch is raised, so that an owner who is at work now cannot record what it reads back as certain.
    """
    if student_numbers:
        connection.execute(
            update(target_states)
            .where(target_states.c.target == target, target_states.c.student_number.in_(student_numbers))
            .values(suspect=True, lease_epoch=target_states.c.lease_epoch + 1)
        )


def shorten(connection: Connection, target: str, student_number: str, epoch: int, until: float) -> None:
    """Shorten a lease to `until`, if it still has this epoch."""
    here = {"of_target": target, "number": student_number, "of_epoch": epoch}
    connection.execute(_UNDER_LEASE, {**here, "lease_until": until})


def prolong(connection: Connection, target: str, student_numbers: Sequence[str], until: float) -> None:
    """Let leases that this transaction has just taken end at `until`."""
    theirs = (target_states.c.target == target, target_states.c.student_number.in_(student_numbers))
    connection.execute(update(target_states).where(*theirs).values(lease_until=until))


def give_back(
    connection: Connection, target: str, student_number: str, epoch: int, *, suspect: bool, unknown: bool
) -> None:
    """End a lease without an outcome, if it still has this epoch: the target was down.

    `suspect`: what the target holds is in doubt: compare before writing. `unknown`: something may still be
    written; the lease is kept until it runs out.
    """
    values: dict[str, object] = {"suspect": suspect or unknown}
    if not unknown:
        values["lease_owner"] = None
    here = {"of_target": target, "number": student_number, "of_epoch": epoch}
    connection.execute(_UNDER_LEASE, {**here, **values})


def fail(
    connection: Connection,
    database: Database,
    target: str,
    student_number: str,
    *,
    version: int,
    reason: str,
    now: float,
) -> int:
    """Record a turn that ended by an unforeseen fault; return the new epoch.

    What the target holds is in doubt. A lease that is held is kept until it runs out.
    """
    values: dict[str, object] = {
        "suspect": True,
        "state": State.FAILED,
        "state_version": version,
        "sequence": 1,
        "reason": reason,
        "pending": "[]",
        "since": now,
    }
    statement = database.insert(target_states).values(
        target=target, student_number=student_number, lease_epoch=1, **values
    )
    return int(
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[target_states.c.target, target_states.c.student_number],
                set_={**values, "lease_epoch": target_states.c.lease_epoch + 1},
            ).returning(target_states.c.lease_epoch)
        ).scalar_one()
    )


def state_in(row: Mapping[Any, Any]) -> TargetState:
    """Return the state in a row, by the names of its columns."""
    fields: dict[str, Any] = dict(row)
    del fields["applied_at"]
    fields["state"] = State(fields["state"])
    fields["pending"] = tuple(json.loads(fields["pending"] or "[]"))
    return TargetState(**fields)


def waiting_counts(connection: Connection) -> dict[tuple[str, str], int]:
    """Count students who wait for a business precondition, by target and reason."""
    rows = connection.execute(
        select(target_states.c.target, target_states.c.reason, func.count())
        .where(target_states.c.state == State.WAITING, target_states.c.reason.is_not(None))
        .where(target_states.c.student_number != CANARY)
        .group_by(target_states.c.target, target_states.c.reason)
    )
    return {(row[0], row[1]): row[2] for row in rows}
