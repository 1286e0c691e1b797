"""Publish `hold.placed` and `hold.lifted`. Operators shut access at once, or lift a hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline import audit
from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.eventlog.port import NewRecord, Producer
from schemas import catalogue
from schemas.account import Hold
from schemas.envelope import SOURCE_PREFIX, Message, event_id, to_record
from schemas.events import HoldLifted, HoldPlaced

EMITTER = "holds"


STUDENTS_PER_STEP = 500
NAMED_MAX = 25
"""Students in one audit entry: its receivers accept lines of some kilobytes."""


@dataclass(frozen=True)
class HoldRequest:
    """An operator's request about one student's hold.

    Attributes:
        reason: why, in the operator's own words: for support. They stay in the store.
        actor: the operator's user name.
        at: when, with a zone.
    """

    student_number: str
    hold: Hold
    reason: str
    actor: str
    at: datetime


@dataclass(frozen=True)
class HoldsRequest:
    """A request about many students' holds; `file`: the list's name. Others: see `HoldRequest`."""

    students: Sequence[str]
    hold: Hold
    reason: str
    actor: str
    at: datetime
    file: str


def place(request: HoldRequest, *, database: Database, producer: Producer) -> None:
    """Place a hold, in the personal lane. Raises LogUnavailable: perhaps published; may be repeated."""
    _publish(request, HoldPlaced, "hold.place", database, producer)


def lift(request: HoldRequest, *, database: Database, producer: Producer) -> None:
    """Lift one hold: its reason is gone. Other holds stay. Raises LogUnavailable: as `place`."""
    _publish(request, HoldLifted, "hold.lift", database, producer)


def place_all(request: HoldsRequest, *, database: Database, producer: Producer) -> None:
    """`place` for many: record all of some hundreds, then publish them. Raises as `place`."""
    _publish_all(request, HoldPlaced, "hold.place", database, producer)


def lift_all(request: HoldsRequest, *, database: Database, producer: Producer) -> None:
    """`lift` for many; raises as `place_all`."""
    _publish_all(request, HoldLifted, "hold.lift", database, producer)


def _publish(
    request: HoldRequest,
    kind: type[HoldPlaced | HoldLifted],
    action: str,
    database: Database,
    producer: Producer,
) -> None:
    number, hold = request.student_number, request.hold
    with database.write() as connection:
        ref = operator_notes.keep_and_audit(
            connection,
            database,
            action=action,
            about=hold,
            student_number=number,
            actor=request.actor,
            words=request.reason,
            detail={"student_number": number, "hold": hold},
        )
    producer.append([_record(kind, number, hold, ref, request.at)])


def _publish_all(
    request: HoldsRequest,
    kind: type[HoldPlaced | HoldLifted],
    action: str,
    database: Database,
    producer: Producer,
) -> None:
    said = {"action": action, "about": request.hold, "actor": request.actor, "words": request.reason}
    for start in range(0, len(request.students), STUDENTS_PER_STEP):
        numbers = request.students[start : start + STUDENTS_PER_STEP]
        with database.write() as connection:
            refs = {
                number: operator_notes.keep(connection, database, student_number=number, **said)
                for number in numbers
            }
            of_all = operator_notes.keep(connection, database, student_number=None, **said)
            for first in range(0, len(numbers), NAMED_MAX):
                named = list(numbers[first : first + NAMED_MAX])
                detail = {"students": named, "hold": request.hold, "file": request.file}
                audit.note(
                    connection,
                    database,
                    actor=request.actor,
                    action=action,
                    detail={**detail, "reason_ref": of_all},
                )
        producer.append(
            [_record(kind, number, request.hold, ref, request.at) for number, ref in refs.items()]
        )


def _record(
    kind: type[HoldPlaced | HoldLifted], number: str, hold: Hold, ref: str, at: datetime
) -> NewRecord:
    event = kind(student_number=number, hold=hold, reason_ref=ref)
    identity = event_id(event.type, EMITTER, number, hold, at.isoformat())
    headers, value = to_record(Message(identity, SOURCE_PREFIX + EMITTER, at, event))
    return NewRecord(catalogue.ACTIVATIONS, number, value, headers)
