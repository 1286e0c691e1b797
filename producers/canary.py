"""Publish the canary's facts: its enrolment, and its reset. They leave with the caller's transaction."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

from sqlalchemy import Connection

from pipeline import outbox
from schemas import catalogue
from schemas.account import CANARY, Administrative, Lane, Pedagogical
from schemas.envelope import SOURCE_PREFIX, Message, event_id
from schemas.events import CanaryReset, EnrolmentRecorded, Event

EMITTER: Final = "canary"
STEP: Final = "CANARI"
"""Step of its enrolment, hence in the name of its cohort."""


def enrol(connection: Connection, year: int, now: float) -> int:
    """Publish its enrolment in this academic year. Return the fact's source sequence.

    `now`: epoch seconds.
    """
    sequence = int(now * 1000)
    event = EnrolmentRecorded(
        student_number=CANARY,
        source=EMITTER,
        source_sequence=sequence,
        year=year,
        step=STEP,
        step_version="1",
        step_label="Canari de Sésame",
        component=STEP,
        primary=True,
        administrative=Administrative.IN_FORCE,
        pedagogical=Pedagogical.VALIDATED,
        birth_name="Sésame",
        given_name="Canari",
        birth_date=date(2000, 1, 1),
    )
    _enqueue(connection, event, catalogue.ENROLMENTS, now)
    return sequence


def reset(connection: Connection, now: float) -> None:
    """Publish its reset."""
    _enqueue(connection, CanaryReset(student_number=CANARY), catalogue.ACTIVATIONS, now)


def _enqueue(connection: Connection, event: Event, topic: str, now: float) -> None:
    identity = event_id(event.type, EMITTER, str(now))
    message = Message(identity, SOURCE_PREFIX + EMITTER, datetime.fromtimestamp(now, UTC), event)
    outbox.enqueue(connection, message, topic, Lane.PERSONAL)
