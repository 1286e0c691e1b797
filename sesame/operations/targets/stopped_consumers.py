"""Consumers stopped until an operator acts: quarantined, or after lost records."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection

from pipeline import lost_records, quarantine, status
from pipeline.audit import operator_notes
from pipeline.errors import SesameError
from schemas.language import gettext
from schemas.scalars import Text
from sesame.acts.acts import EVERYBODY, OPERATORS, Actor, ActPath, ActRequest, Report, act, utc
from sesame.acts.ports import Stored


class QuarantineLift(ActRequest):
    """The consumer to resume, and the reason."""

    consumer: str
    reason: Text


class NotInQuarantine(SesameError):
    """This consumer is not in quarantine. `sesame quarantine list` shows which are."""


class QuarantinedConsumer(Report):
    """A quarantined consumer."""

    consumer: str
    since: datetime
    reason: str


@act("quarantine.list", EVERYBODY, path=ActPath("list_quarantine", "GET", "/quarantine"))
def quarantined(site: Stored, _actor: Actor) -> list[QuarantinedConsumer]:
    """All quarantined consumers, by name."""
    with site.database.read() as connection:
        return [
            QuarantinedConsumer(
                consumer=row.consumer, since=utc(int(row.since)), reason=status.in_words(row.reason)
            )
            for row in quarantine.every(connection)
        ]


@act("quarantine.lift", OPERATORS, path=ActPath("lift_quarantine", "POST", "/quarantine/lift", 204))
def lift(site: Stored, actor: Actor, request: QuarantineLift) -> None:
    """Lift a consumer's quarantine, in every process, within seconds.

    Raises:
        NotInQuarantine: there is nothing to lift.
    """
    with site.database.write() as connection:
        if not quarantine.lift(connection, request.consumer):
            raise NotInQuarantine(gettext("{consumer} is not in quarantine", consumer=request.consumer))
        note_reason(connection, site, actor, "quarantine.lift", request.reason, consumer=request.consumer)


class NothingLost(SesameError):
    """This consumer waits for no loss to be accepted. `sesame lost-records list` shows which do."""


class LostRange(Report):
    """A consumer's unread part of a partition: from `offset` up to before `first`."""

    consumer: str
    topic: str
    partition: int
    offset: int
    first: int
    noticed_at: datetime


class LossAccepted(Report):
    """The number of partitions in which the consumer resumes from the log's beginning."""

    consumer: str
    partitions: int


@act("lost_records.list", EVERYBODY, path=ActPath("list_lost_records", "GET", "/lost-records"))
def unaccepted(site: Stored, _actor: Actor) -> list[LostRange]:
    """Losses not accepted yet: the consumer is stopped until then."""
    with site.database.read() as connection:
        losses = lost_records.unaccepted(connection)
    return [LostRange(**asdict(loss) | {"noticed_at": utc(loss.noticed_at)}) for loss in losses]


@act("lost_records.accept", OPERATORS)
def accept(site: Stored, actor: Actor, request: QuarantineLift) -> LossAccepted:
    """Accept a loss: the consumer resumes from the log's beginning.

    Raises:
        NothingLost: it waits for no loss.
    """
    with site.database.write() as connection:
        count = lost_records.accept(connection, site.database, request.consumer)
        if not count:
            raise NothingLost(
                gettext("{consumer} waits for no loss to be accepted", consumer=request.consumer)
            )
        note_reason(
            connection,
            site,
            actor,
            "lost_records.accept",
            request.reason,
            consumer=request.consumer,
            losses=count,
        )
    return LossAccepted(consumer=request.consumer, partitions=count)


def note_reason(
    connection: Connection, site: Stored, actor: Actor, action: str, reason: str, **detail: object
) -> None:
    """Record an operator's act, and the reason as written. `detail` names the consumer or target first."""
    operator_notes.keep_and_audit(
        connection,
        site.database,
        action=action,
        about=str(next(iter(detail.values()))),
        student_number=None,
        actor=actor.name,
        words=reason,
        detail=detail,
    )
