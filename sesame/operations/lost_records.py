"""What the log lost before the registry had read it: accepted once the facts were brought again."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from pydantic import BaseModel

from pipeline import lost_records
from pipeline.audit import operator_notes
from pipeline.errors import SesameError
from sesame.operations.acts import Actor, Report, act, utc
from sesame.operations.ports import Stored


class NothingLost(SesameError):
    """This consumer waits for no loss to be accepted. `sesame lost-records list` shows which do."""


class LostRange(Report):
    """What a consumer has not read of a partition: from `offset` up to before `first`."""

    consumer: str
    topic: str
    partition: int
    offset: int
    first: int
    noticed_at: datetime


class LossAcceptance(BaseModel):
    """Which consumer may go on, and why."""

    consumer: str
    reason: str


class LossAccepted(Report):
    """In how many partitions it goes on from where the log begins."""

    consumer: str
    partitions: int


@act("lost_records.list")
def unaccepted(site: Stored, _actor: Actor) -> list[LostRange]:
    """The losses that nobody has accepted: the consumer stands still until then."""
    with site.database.read() as connection:
        losses = lost_records.unaccepted(connection)
    return [LostRange(**asdict(loss) | {"noticed_at": utc(loss.noticed_at)}) for loss in losses]


@act("lost_records.accept")
def accept(site: Stored, actor: Actor, request: LossAcceptance) -> LossAccepted:
    """Let a consumer go on from where the log begins.

    Raises:
        NothingLost: it waits for no loss.
    """
    with site.database.write() as connection:
        count = lost_records.accept(connection, site.database, request.consumer)
        if not count:
            raise NothingLost(f"{request.consumer} waits for no loss to be accepted")
        operator_notes.keep_and_audit(
            connection,
            site.database,
            action="lost_records.accept",
            about=request.consumer,
            student_number=None,
            actor=actor.name,
            words=request.reason,
            detail={"consumer": request.consumer, "losses": count},
        )
    return LossAccepted(consumer=request.consumer, partitions=count)
