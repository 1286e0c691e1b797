"""Holds: an operator shuts a student's access at once, or says that the reason is gone.

Publishes `hold.placed` and `hold.lifted`, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.eventlog.port import NewRecord, Producer
from schemas import catalogue
from schemas.account import Hold
from schemas.envelope import SOURCE_PREFIX, Message, event_id, to_record
from schemas.events import HoldLifted, HoldPlaced

EMITTER = "holds"


@dataclass(frozen=True)
class HoldRequest:
    """What an operator asks for.

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


def place(request: HoldRequest, *, database: Database, producer: Producer) -> None:
    """Ask for access to be shut. In the personal lane: it waits behind no batch.

    Raises:
        LogUnavailable: it may have been asked for already; asking again is harmless.
    """
    _publish(request, HoldPlaced, "hold.place", database, producer)


def lift(request: HoldRequest, *, database: Database, producer: Producer) -> None:
    """Say that this reason to shut access is gone. Other holds stay.

    Raises:
        LogUnavailable: it may have been said already; saying it again is harmless.
    """
    _publish(request, HoldLifted, "hold.lift", database, producer)


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
    event = kind(student_number=number, hold=hold, reason_ref=ref)
    identity = event_id(event.type, EMITTER, number, hold, request.at.isoformat())
    headers, value = to_record(Message(identity, SOURCE_PREFIX + EMITTER, request.at, event))
    producer.append([NewRecord(catalogue.ACTIVATIONS, number, value, headers)])
