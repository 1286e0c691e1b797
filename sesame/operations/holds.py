"""Holds: a student's access is shut at once, or opened again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, TypeAdapter, ValidationError

from consumers.registry.people import People
from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.errors import SesameError
from producers import holds
from producers.holds import HoldRequest
from schemas.account import Hold, StudentNumber
from sesame.operations.acts import Actor, Report, act
from sesame.operations.ports import Publishing


class NotAStudentNumber(SesameError):
    """A student number has 1 to 32 letters, digits, dots, hyphens or underscores."""

    exit_code = 2


class HoldChange(BaseModel):
    """Which hold of whom, why, and when it was asked for."""

    student_number: str
    kind: Hold
    reason: str
    at: datetime


class HoldReport(Report):
    """What came of it.

    Attributes:
        known: the registry has the student. Otherwise the hold waits for the import of this number.
        changed: something was asked for; False: it stands so already.
        since: when an operator last asked for this hold, or for its end; None: nobody did.
    """

    student_number: str
    kind: Hold
    known: bool
    changed: bool
    since: datetime | None


@act("hold.place")
def place(site: Publishing, actor: Actor, request: HoldChange) -> HoldReport:
    """Shut access to every target, whatever the account's stage. Nothing is deleted.

    Raises:
        NotAStudentNumber: nothing was done.
        LogUnavailable: it may have been asked for already; asking again is harmless.
    """
    checked = _checked(actor, request)
    standing = _standing(site.database, request)
    if standing.held and standing.asked != _LIFT:
        return standing.report(changed=False)
    holds.place(checked, database=site.database, producer=site.producer)
    return standing.report(changed=True)


@act("hold.lift")
def lift(site: Publishing, actor: Actor, request: HoldChange) -> HoldReport:
    """Say that the reason to shut access is gone. Other holds stay.

    Raises:
        NotAStudentNumber: nothing was done.
        LogUnavailable: it may have been said already; saying it again is harmless.
    """
    checked = _checked(actor, request)
    standing = _standing(site.database, request)
    settles_doubts = request.kind is Hold.TECHNICAL  # which need not have shut anything
    if not standing.held and standing.asked != _PLACE and not settles_doubts:
        return standing.report(changed=False)
    holds.lift(checked, database=site.database, producer=site.producer)
    return standing.report(changed=True)


_PLACE, _LIFT = "hold.place", "hold.lift"


@dataclass(frozen=True)
class _Standing:
    """How a hold stands. `asked`: what an operator asked for last, which the registry may not have read."""

    request: HoldChange
    known: bool
    held: bool
    asked: str | None
    asked_at: float | None

    def report(self, *, changed: bool) -> HoldReport:
        return HoldReport(
            student_number=self.request.student_number,
            kind=self.request.kind,
            known=self.known,
            changed=changed,
            since=None if self.asked_at is None else datetime.fromtimestamp(self.asked_at, UTC),
        )


def _standing(database: Database, request: HoldChange) -> _Standing:
    number, kind = request.student_number, request.kind
    with database.read() as connection:
        person = People(database).known(connection, number)
        noted = [
            remark
            for remark in operator_notes.of_student(connection, number)
            if remark.about == kind and remark.action in (_PLACE, _LIFT)
        ]
    last = noted[-1] if noted else None
    return _Standing(
        request,
        known=person is not None,
        held=person is not None and kind in person.holds,
        asked=None if last is None else last.action,
        asked_at=None if last is None else last.at,
    )


def _checked(actor: Actor, request: HoldChange) -> HoldRequest:
    try:
        TypeAdapter(StudentNumber).validate_python(request.student_number)
    except ValidationError as error:
        raise NotAStudentNumber from error
    return HoldRequest(request.student_number, request.kind, request.reason, actor.name, request.at)
