"""Consumers in quarantine: which, why, and letting one go on."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from pipeline import quarantine
from pipeline.audit import operator_notes
from pipeline.errors import SesameError
from sesame.operations.acts import Actor, Report, act, utc
from sesame.operations.ports import Stored


class NotInQuarantine(SesameError):
    """This consumer is not in quarantine. `sesame quarantine list` shows which are."""


class QuarantinedConsumer(Report):
    """One of them."""

    consumer: str
    since: datetime
    reason: str


class Lift(BaseModel):
    """Which consumer may go on, and why."""

    consumer: str
    reason: str


@act("quarantine.list")
def quarantined(site: Stored, _actor: Actor) -> list[QuarantinedConsumer]:
    """All of them, by consumer."""
    with site.database.read() as connection:
        return [
            QuarantinedConsumer(consumer=row.consumer, since=utc(int(row.since)), reason=row.reason)
            for row in quarantine.every(connection)
        ]


@act("quarantine.lift")
def lift(site: Stored, actor: Actor, request: Lift) -> None:
    """Let a consumer go on, in every process, within seconds.

    Raises:
        NotInQuarantine: there is nothing to lift.
    """
    with site.database.write() as connection:
        if not quarantine.lift(connection, request.consumer):
            raise NotInQuarantine(f"{request.consumer} is not in quarantine")
        operator_notes.keep_and_audit(
            connection,
            site.database,
            action="quarantine.lift",
            about=request.consumer,
            student_number=None,
            actor=actor.name,
            words=request.reason,
            detail={"consumer": request.consumer},
        )
