"""All about one student, for support: who, each target's state, why, since when."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from sqlalchemy import Connection

from pipeline import accounts
from pipeline.errors import meaning
from schemas.language import gettext
from sesame.acts.acts import DESK, Actor, ActPath, ActRequest, Report, act, shown_one
from sesame.acts.ports import Diagnosable, Following
from sesame.operations.people.diagnosis.engine import DiagnosisReport, diagnose
from sesame.operations.people.diagnosis.person import PersonStatus
from sesame.operations.people.diagnosis.timeline import Moment, moments
from sesame.operations.people.known_persons import NoSuchStudent, Side, known
from sesame.operations.people.status import HeldInDoubt, NoEnrolmentLeft, standing
from sesame.operations.people.target_look import TargetLook, look_at


class StudentRequest(ActRequest):
    """The student. `live`: query the servers too, which takes seconds."""

    student_number: str = Field(max_length=64)
    live: bool = False


class StudentReport(Report):
    """One student.

    Attributes:
        who: names, birth date, enrolments; None: unknown to the registry.
        status: the account and each target; None: there is no account, for the reason in `why_none`.
        remedy: for that.
        merged_into: the number under which this one continues.
        moments: the history, the newest first.
        there: what each target shows now and what is wanted; only if the servers were queried.
    """

    student_number: str
    who: Side | None
    status: PersonStatus | None
    why_none: str
    remedy: str
    merged_into: str | None
    diagnosis: DiagnosisReport
    moments: Sequence[Moment]
    there: Sequence[TargetLook] = ()


class Timeline(Report):
    """A student's history, the newest first."""

    student_number: str
    moments: Sequence[Moment]


@act(
    "students.timeline",
    DESK,
    path=ActPath("show_timeline", "GET", "/students/{student_number}/timeline"),
    shows=lambda report, _number: shown_one(report.student_number),
)
def timeline(site: Following, _actor: Actor, student_number: str) -> Timeline:
    """List a student's history, the newest first.

    Raises:
        NoSuchStudent: no student has this number.
    """
    database = site.database
    with database.read() as connection:
        if known(connection, database, student_number) is None:
            raise NoSuchStudent(gettext("no account for student number {number!r}", number=student_number))
        found = _happened(connection, site.settings.targets, student_number)
    return Timeline(student_number=student_number, moments=found)


def _happened(connection: Connection, targets: Sequence[str], student_number: str) -> list[Moment]:
    return moments(connection, student_number, ("registry", *targets))


@act("students.show", DESK, shows=lambda report, asked: shown_one(report.student_number, live=asked.live))
def show(site: Diagnosable, _actor: Actor, request: StudentRequest) -> StudentReport:
    """All that is known of a student; one audit entry for the whole look."""
    number, status, why_none, remedy = request.student_number, None, "", ""
    merged: list[str] = []
    try:
        status = standing(site, number, merged=merged.append)
    except (NoSuchStudent, HeldInDoubt, NoEnrolmentLeft) as error:
        why_none, remedy = str(error), error.remedy or gettext(meaning(type(error)))
    found = diagnose(site, number, live=request.live)
    database = site.database
    with database.read() as connection:
        who = known(connection, database, number)
        happened = _happened(connection, site.settings.targets, number)
        account = accounts.find(connection, number) if request.live else None
    there = [] if account is None else look_at(site, site.settings.targets, account)
    return StudentReport(
        student_number=number,
        who=who,
        status=status,
        why_none=why_none,
        remedy=remedy,
        merged_into=merged[0] if merged else None,
        diagnosis=found.report(),
        moments=happened,
        there=there,
    )
