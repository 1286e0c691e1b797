"""Publishes `hold.placed` and `hold.lifted`, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.eventlog.port import NewRecord, Producer
from pipeline.store import audit
from pipeline.store.database import Database
from schemas import catalogue
from schemas.account import Hold
from schemas.envelope import SOURCE_PREFIX, Message, event_id, to_record
from schemas.events import HoldLifted, HoldPlaced

EMITTER = "holds"


@dataclass(frozen=True)
class HoldRequest:
    """What an operator asks for.

    Attributes:
        reason: why, for the audit; no personal data.
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
    event = HoldPlaced(student_number=request.student_number, hold=request.hold, reason=request.reason)
    _publish(request, event, "hold.place", database, producer)


def lift(request: HoldRequest, *, database: Database, producer: Producer) -> None:
    """Say that this reason to shut access is gone. Other holds stay.

    Raises:
        LogUnavailable: it may have been said already; saying it again is harmless.
    """
    event = HoldLifted(student_number=request.student_number, hold=request.hold, reason=request.reason)
    _publish(request, event, "hold.lift", database, producer)


def _publish(
    request: HoldRequest, event: HoldPlaced | HoldLifted, action: str, database: Database, producer: Producer
) -> None:
    with database.write() as connection:
        detail = {"student_number": event.student_number, "hold": event.hold, "reason": event.reason}
        audit.note(connection, database, actor=request.actor, action=action, detail=detail)
    number, moment = event.student_number, request.at.isoformat()
    message = Message(
        event_id(event.type, EMITTER, number, event.hold, moment), SOURCE_PREFIX + EMITTER, request.at, event
    )
    headers, value = to_record(message)
    producer.append([NewRecord(catalogue.ACTIVATIONS, number, value, headers)])
