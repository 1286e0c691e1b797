"""Holds: a student's access is shut at once, or opened again."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, TypeAdapter, ValidationError

from consumers.registry.people import People
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
    """`known`: the registry has the student. Otherwise the hold waits for the import of this number."""

    student_number: str
    kind: Hold
    known: bool


@act("hold.place")
def place(site: Publishing, actor: Actor, request: HoldChange) -> HoldReport:
    """Shut access to every target, whatever the account's stage. Nothing is deleted.

    Raises:
        NotAStudentNumber: nothing was done.
        LogUnavailable: it may have been asked for already; asking again is harmless.
    """
    holds.place(_checked(actor, request), database=site.database, producer=site.producer)
    with site.database.read() as connection:
        known = request.student_number in People(site.database).asked_by(connection, [request.student_number])
    return HoldReport(student_number=request.student_number, kind=request.kind, known=known)


@act("hold.lift")
def lift(site: Publishing, actor: Actor, request: HoldChange) -> None:
    """Say that the reason to shut access is gone. Other holds stay.

    Raises:
        NotAStudentNumber: nothing was done.
        LogUnavailable: it may have been said already; saying it again is harmless.
    """
    holds.lift(_checked(actor, request), database=site.database, producer=site.producer)


def _checked(actor: Actor, request: HoldChange) -> HoldRequest:
    try:
        TypeAdapter(StudentNumber).validate_python(request.student_number)
    except ValidationError as error:
        raise NotAStudentNumber from error
    return HoldRequest(request.student_number, request.kind, request.reason, actor.name, request.at)
