"""Publish `identity.decided`: two numbers are one person, or a holder stays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.eventlog.port import NewRecord, Producer
from schemas import catalogue
from schemas.envelope import SOURCE_PREFIX, Message, event_id, to_record
from schemas.events import IdentityDecided, IdentityDecision

EMITTER = "identities"


@dataclass(frozen=True)
class DecisionRequest:
    """An operator's decision.

    Attributes:
        student_number: the number in doubt; merged, its enrolments are `other`'s from now on.
        other: the other number; None: the doubt is about the holder of `student_number`.
        reason: why, in the operator's own words: for support. They stay in the store.
        actor: the operator's user name.
        at: when, with a zone. Of several decisions about one doubt the newest holds.
        rule: the rule by which the operator settles many; None: these two were decided singly.
    """

    student_number: str
    other: str | None
    decision: IdentityDecision
    reason: str
    actor: str
    at: datetime
    rule: str | None = None


def decide(decision: DecisionRequest, *, database: Database, producer: Producer) -> None:
    """Publish the decision, in the personal lane. Raises LogUnavailable: perhaps published; repeatable."""
    number, action = decision.student_number, f"identity.{decision.decision.value}"
    detail = {"student_number": number, "other": decision.other, "decision": decision.decision}
    if decision.rule is not None:
        detail["rule"] = decision.rule
    with database.write() as connection:
        ref = operator_notes.keep_and_audit(
            connection,
            database,
            action=action,
            about=decision.other or "",
            student_number=number,
            actor=decision.actor,
            words=decision.reason,
            detail=detail,
        )
    event = IdentityDecided(
        student_number=number,
        other=decision.other,
        decision=decision.decision,
        rule=decision.rule,
        reason_ref=ref,
    )
    moment = decision.at.isoformat()
    identity = event_id(event.type, EMITTER, number, decision.other or "", decision.decision, moment)
    headers, value = to_record(Message(identity, SOURCE_PREFIX + EMITTER, decision.at, event))
    producer.append([NewRecord(catalogue.ACTIVATIONS, number, value, headers)])
