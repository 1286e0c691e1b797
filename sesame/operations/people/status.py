"""One person at a glance: the account, each target, and the number kept instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from consumers.registry.people import People
from pipeline.errors import SesameError
from schemas.account import Hold
from schemas.language import gettext
from sesame.acts.acts import DESK, Actor, ActPath, act, shown_one
from sesame.acts.ports import Following
from sesame.operations.people.diagnosis.person import PersonStatus, TargetStatus, person_status
from sesame.operations.people.known_persons import NoSuchStudent
from sesame.operations.questions.reconcile import passes

if TYPE_CHECKING:
    from sqlalchemy import Connection


class HeldInDoubt(SesameError):
    """This student number may be somebody's second one, or is held by an operator: no account is made for it.
    `sesame identities show STUDENT` shows who it may be, and how to decide it."""


class NoEnrolmentLeft(SesameError):
    """The registrar's files have brought this student, and every enrolment was cancelled before an account
    was made: there is none, and nothing to activate. The next file that has an enrolment makes it by itself;
    if the student is enrolled, ask the registrar's office why the files say otherwise."""


@act(
    "status.show",
    DESK,
    path=ActPath("show_student", "GET", "/students/{student_number}"),
    shows=lambda report, _number: shown_one(report.student_number),
)
def show(
    site: Following,
    _actor: Actor,
    student_number: str,
    *,
    merged: Callable[[str], None] = lambda _other: None,
) -> PersonStatus:
    """Status of a student; of a merged one without an account, the kept number's.

    Args:
        merged: called with the number kept instead of this one, as an operator decided.

    Raises:
        NoSuchStudent, HeldInDoubt, NoEnrolmentLeft: there is no account.
    """
    return standing(site, student_number, merged=merged)


def _as_compared(connection: Connection, found: PersonStatus) -> PersonStatus:
    """Drop the versions of targets that a comparison later found to lack the student."""

    def seen(target: TargetStatus) -> TargetStatus:
        last = passes.of_target(connection, target.target) if target.state == "provisioned" else None
        if last is None or found.student_number not in last.left.get("missing", ()):
            return target
        at = last.noticed_at or last.ended_at
        if target.since is not None and target.since > at:
            return target
        why = gettext("It was missing there when it was compared.")
        step = gettext("`sesame reconcile --target {target} --repair` writes it again.", target=target.target)
        return replace(target, version=0, cause=why, next=step)

    return found.model_copy(update={"targets": tuple(map(seen, found.targets))})


def standing(
    site: Following, student_number: str, *, merged: Callable[[str], None] = lambda _other: None
) -> PersonStatus:
    """As `show`, for other acts.

    Raises:
        NoSuchStudent, HeldInDoubt, NoEnrolmentLeft: there is no account.
    """
    database, targets = site.database, site.settings.targets
    with database.read() as connection:
        look = partial(person_status, connection, database, targets=targets, follows=site.follows)
        person, found = People(database).known(connection, student_number), look(student_number)
        other = person.merged_into if person is not None else None
        if other is not None and found is None:
            found = look(other)
        if found is not None:
            found = _as_compared(connection, found)
        steps = People(database).steps(connection, student_number) if found is None else []
    if other is not None:
        merged(other)
    if found is not None:
        return found
    cancelled = [key for key, is_cancelled in steps if is_cancelled]
    held = person is not None and Hold.TECHNICAL in person.holds
    if cancelled and not held:
        raise NoEnrolmentLeft(
            gettext(
                "no account for student number {number}: cancelled are {steps}",
                number=student_number,
                steps=", ".join(f"{year} {step}-{version}" for year, step, version in cancelled),
            )
        )
    raise (HeldInDoubt if held else NoSuchStudent)(
        gettext("no account for student number {number!r}", number=student_number)
    )
