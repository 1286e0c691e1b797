"""One row per target and student: the version that was observed there, and the lease for writing it.

A lease belongs to one process life. It is taken for longer than the call can last, by database time, and
nobody enters earlier: not even the process that was killed and started again. A lease that was not given
back tells its successor that the outcome is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, RowMapping, bindparam, func, select, update

from pipeline.store.database import Database
from pipeline.store.tables import target_states as t

_NUMBERS_PER_QUERY = 500


class State(StrEnum):
    """Where a student stands with one target."""

    NEW = "new"
    PROVISIONED = "provisioned"
    WAITING = "waiting"
    RETRYING = "retrying"
    FAILED = "failed"


@dataclass(frozen=True)
class TargetState:
    """What is known of one student in one target.

    Attributes:
        applied_version: the newest account version that was read back there; 0: none.
        suspect: an outcome is unknown: compare before writing.
        state, state_version, reason, pending, since: what is shown of it, and since when (epoch seconds).
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
        """Whether a call may still have an effect, whoever made it."""
        return self.lease_owner is not None and now < self.lease_until

    @property
    def abandoned(self) -> bool:
        """Whether the last lease was never given back: its outcome is unknown."""
        return self.lease_owner is not None


@dataclass(frozen=True)
class Conclusion:
    """What is written when a turn ends.

    Attributes:
        applied_version: raise it to this; None: leave it.
        suspect: what the target holds is in doubt: compare before writing.
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


def states_of(connection: Connection, target: str, student_numbers: Sequence[str]) -> dict[str, TargetState]:
    """What is known of these students in one target."""
    rows = connection.execute(
        select(t).where(t.c.target == target, t.c.student_number.in_(student_numbers))
    ).mappings()
    return {row["student_number"]: _state(row) for row in rows}


def replayed(connection: Connection, target: str, event_ids: Mapping[str, str]) -> set[str]:
    """Of these students, whose replay (its event's id) was the last that was carried out: their ids."""
    found: set[str] = set()
    numbers = list(event_ids)
    for start in range(0, len(numbers), _NUMBERS_PER_QUERY):
        page = numbers[start : start + _NUMBERS_PER_QUERY]
        query = select(t.c.replayed_event_id).where(t.c.target == target, t.c.student_number.in_(page))
        found.update(each for each in connection.execute(query).scalars() if each is not None)
    return found & set(event_ids.values())


def written_between(connection: Connection, target: str, since: float, until: float) -> list[str]:
    """Who was last written to, or compared with, this target in that time (epoch seconds)."""
    query = select(t.c.student_number).where(
        t.c.target == target, t.c.applied_at >= since, t.c.applied_at < until
    )
    return list(connection.execute(query.order_by(t.c.student_number)).scalars())


def all_states_of(connection: Connection, student_number: str) -> dict[str, TargetState]:
    """What is known of one student, by target."""
    rows = connection.execute(select(t).where(t.c.student_number == student_number)).mappings()
    return {row["target"]: _state(row) for row in rows}


def lease(
    connection: Connection,
    database: Database,
    target: str,
    epochs: dict[str, int],
    *,
    owner: str,
    until: float,
) -> set[str]:
    """Take the lease of these students, each at the epoch that follows the one that was seen.

    Returns:
        Who was leased. Those who are missing were leased by somebody else since the caller looked.
    """
    if not epochs:
        return set()
    statement = database.insert(t)
    new = statement.excluded
    taken = connection.execute(
        statement.on_conflict_do_update(
            index_elements=[t.c.target, t.c.student_number],
            set_={
                "lease_owner": new.lease_owner,
                "lease_epoch": new.lease_epoch,
                "lease_until": new.lease_until,
                "sequence": new.sequence,
            },
            where=t.c.lease_epoch == new.lease_epoch - 1,
        ).returning(t.c.student_number),
        [
            {
                "target": target,
                "student_number": number,
                "lease_owner": owner,
                "lease_epoch": epochs[number],
                "lease_until": until,
                "sequence": 0,
            }
            for number in sorted(epochs)  # in one order, so that two processes cannot wait for each other
        ],
    )
    return {row.student_number for row in taken}


def conclude(
    connection: Connection, database: Database, target: str, ended: Sequence[Conclusion], now: float
) -> set[str]:
    """Write how turns ended, at most one for each student, and give their leases back.

    Returns:
        Whose end was written. Those who are missing had lost their lease, and nothing was written for them.
    """
    if not ended:
        return set()
    numbers = [each.student_number for each in ended]
    query = select(t).where(t.c.target == target, t.c.student_number.in_(numbers))
    rows = {
        row.student_number: row
        for row in connection.execute(database.locking(query.order_by(t.c.student_number)))
    }
    values = [
        _ended(each, row, now)
        for each in ended
        if (row := rows.get(each.student_number)) is not None and row.lease_epoch == each.epoch
    ]
    if values:
        connection.execute(_CONCLUDE, [{"of_target": target, **each} for each in values])
    return {str(each["of_student"]) for each in values}


_ENDED: Final = (
    "lease_owner",
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
# One statement for a whole batch: building one for each student costs more than the database does.
_CONCLUDE: Final = (
    update(t)
    .where(t.c.target == bindparam("of_target"), t.c.student_number == bindparam("of_student"))
    .values({name: bindparam(f"new_{name}", type_=t.c[name].type) for name in _ENDED})
)


def _ended(ended: Conclusion, row: Row[Any], now: float) -> dict[str, object]:
    """The row as the turn's end leaves it."""
    same = (row.state, row.state_version, row.reason) == (ended.state, ended.state_version, ended.reason)
    applied = ended.applied_version is not None
    values = {
        "lease_owner": row.lease_owner if ended.unknown else None,
        "state": ended.state,
        "state_version": ended.state_version,
        "sequence": ended.sequence,
        "reason": ended.reason,
        "pending": json.dumps(list(ended.pending), ensure_ascii=False),
        "since": row.since if same and row.since is not None else now,
        "suspect": ended.suspect or ended.unknown,
        "applied_version": max(row.applied_version, ended.applied_version or 0),
        "applied_at": now if applied else row.applied_at,
        "digest": ended.digest if applied else row.digest,
        "replayed_event_id": ended.replayed_event_id or row.replayed_event_id,
    }
    return {"of_student": ended.student_number, **{f"new_{name}": value for name, value in values.items()}}


def mark_suspect(connection: Connection, target: str, student_numbers: Sequence[str]) -> None:
    """Somebody may have written behind the back of the present owner: compare again.

    The epoch is raised, so that an owner who is at work now cannot record what it reads back as certain.
    """
    if student_numbers:
        connection.execute(
            update(t)
            .where(t.c.target == target, t.c.student_number.in_(student_numbers))
            .values(suspect=True, lease_epoch=t.c.lease_epoch + 1)
        )


def shorten(connection: Connection, target: str, student_number: str, epoch: int, until: float) -> None:
    """Let a lease end at `until`, if it is still the one of this epoch."""
    here = (t.c.target == target, t.c.student_number == student_number, t.c.lease_epoch == epoch)
    connection.execute(update(t).where(*here).values(lease_until=until))


def give_back(
    connection: Connection, target: str, student_number: str, epoch: int, *, suspect: bool, unknown: bool
) -> None:
    """End a lease without an outcome (the target was down).

    Args:
        connection: the caller's transaction.
        target: which.
        student_number: whose.
        epoch: under which the lease was taken; if it is another one's now, nothing happens.
        suspect: what the target holds is in doubt: compare before writing.
        unknown: something may still be written; the lease then runs out by itself.
    """
    values: dict[str, object] = {"suspect": suspect or unknown}
    if not unknown:
        values["lease_owner"] = None
    connection.execute(
        update(t)
        .where(t.c.target == target, t.c.student_number == student_number, t.c.lease_epoch == epoch)
        .values(**values)
    )


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
    """A turn ended by a fault that nobody foresaw: what the target holds is in doubt. Return the new epoch.

    A lease that is held runs out by itself.
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
    statement = database.insert(t).values(
        target=target, student_number=student_number, lease_epoch=1, **values
    )
    return int(
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[t.c.target, t.c.student_number],
                set_={**values, "lease_epoch": t.c.lease_epoch + 1},
            ).returning(t.c.lease_epoch)
        ).scalar_one()
    )


def _state(row: RowMapping) -> TargetState:
    fields: dict[str, Any] = dict(row)
    fields.pop("applied_at")
    fields["state"] = State(fields["state"])
    fields["pending"] = tuple(json.loads(fields["pending"] or "[]"))
    return TargetState(**fields)


def waiting_counts(connection: Connection) -> dict[tuple[str, str], int]:
    """How many students wait for a business precondition, by target and reason."""
    rows = connection.execute(
        select(t.c.target, t.c.reason, func.count())
        .where(t.c.state == State.WAITING)
        .group_by(t.c.target, t.c.reason)
    )
    return {(row[0], row[1] or ""): row[2] for row in rows}
