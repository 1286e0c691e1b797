"""Place and lift holds, which shut a student's access at once, singly or by list."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import Connection

from consumers.registry.people import People
from pipeline import accounts
from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.errors import SesameError
from producers import holds
from producers.holds import HoldRequest, HoldsRequest
from schemas.account import Account, Hold, StudentNumber
from schemas.language import gettext, local_time
from schemas.scalars import Text
from sesame.acts.acts import DESK, OPERATORS, Actor, ActPath, ActRequest, Report, act, shown, utc
from sesame.acts.ports import Publishing, Shutting, Stored
from sesame.operations.people.diagnosis.words import word
from sesame.operations.people.known_persons import NoSuchStudent, refuse_erased
from sesame.operations.people.search import holders_of


class NotAStudentNumber(SesameError):
    """A student number has 1 to 32 letters, digits, dots, hyphens or underscores."""

    exit_code = 2


class HoldChangeRequest(ActRequest):
    """A student's hold, and the reason.

    `unknown`: accept a number that the registry lacks: the hold waits for its import.
    """

    student_number: str
    kind: Hold
    reason: Text
    unknown: bool = False


class HoldReport(Report):
    """The hold after an act.

    Attributes:
        known: the registry has the student. Otherwise the hold waits for the import of this number.
        changed: a change was requested; False: it was so already.
        since: of the last request by an operator to place or lift it; None: none.
    """

    student_number: str
    kind: Hold
    known: bool
    changed: bool
    since: datetime | None


@act("hold.place", DESK, path=ActPath("place_hold", "POST", "/holds/place"))
def place(site: Shutting, actor: Actor, request: HoldChangeRequest) -> HoldReport:
    """Shut access to every target and end the sessions of the pages.

    The account's stage does not matter. Nothing is deleted.

    Raises:
        NotAStudentNumber, NoSuchStudent: nothing was done.
        LogUnavailable: it may have been published already; repeating it is harmless.
    """
    checked = _checked(site, actor, request)
    standing = _standing(site.database, request)
    if not standing.known:
        refuse_erased(site, request.student_number)
    _check_known(standing, request)
    if _stands(standing, _PLACE):
        return standing.report(changed=False)
    holds.place(checked, database=site.database, producer=site.producer)
    _end_sessions(site, [request.student_number])
    return standing.report(changed=True)


@act("hold.lift", OPERATORS, path=ActPath("lift_hold", "POST", "/holds/lift"))
def lift(site: Publishing, actor: Actor, request: HoldChangeRequest) -> HoldReport:
    """Lift one hold: its reason is gone. Other holds stay.

    Raises:
        NotAStudentNumber, NoSuchStudent: nothing was done.
        LogUnavailable: it may have been published already; repeating it is harmless.
    """
    checked = _checked(site, actor, request)
    standing = _standing(site.database, request)
    _check_known(standing, request)
    if _stands(standing, _LIFT):
        return standing.report(changed=False)
    holds.lift(checked, database=site.database, producer=site.producer)
    return standing.report(changed=True)


class HoldsRead(ActRequest):
    """Which holds to list; None: of every kind."""

    kind: Hold | None = None


class HeldStudent(Report):
    """A hold in force.

    `since`, `actor` and `reason` are those of the operator who placed it; None: the registry itself did.
    """

    student_number: str
    kind: Hold
    since: datetime | None
    actor: str | None
    reason: str | None


@act("hold.list", DESK, shows=lambda found, _request: shown(each.student_number for each in found))
def list_holds(site: Stored, _actor: Actor, request: HoldsRead) -> list[HeldStudent]:
    """List the holds in force, by student number."""
    with site.database.read() as connection:
        held = [
            (person.student_number, kind)
            for person in People(site.database).held(connection)
            for kind in sorted(person.holds)
            if request.kind in (None, kind)
        ]
        return [_held(connection, site.database, number, kind) for number, kind in held]


def _held(connection: Connection, database: Database, number: str, kind: Hold) -> HeldStudent:
    last = _last_note(connection, People(database).numbers(connection, number), kind)
    placed = last if last is not None and last.action == _PLACE else None
    return HeldStudent(
        student_number=number,
        kind=kind,
        since=None if placed is None else utc(placed.at),
        actor=None if placed is None else placed.actor,
        reason=None if placed is None else placed.words,
    )


class AccountHeld(SesameError):
    """A hold shuts this account. If its reason is gone, an operator lifts the hold first."""


class AccountShut(SesameError):
    """The account's stage shuts access: there is nothing for the desk to open."""


def account_of_desk(
    connection: Connection, database: Database, student_number: str, *, shut: Callable[[Account], bool]
) -> Account:
    """An account for a desk's act. `shut`: True if there is nothing to open.

    Raises:
        NoSuchStudent: there is no account.
        AccountHeld: with each hold and its reason.
        AccountShut: with the stage.
    """
    account = accounts.find(connection, student_number)
    if account is None:
        raise NoSuchStudent(gettext("no account for student number {number!r}", number=student_number))
    _refuse_held(connection, database, student_number)
    if shut(account):
        stage = word("stages", account.stage)
        raise AccountShut(gettext("{number} is not open: {stage}", number=student_number, stage=stage))
    return account


def _refuse_held(connection: Connection, database: Database, student_number: str) -> None:
    person = People(database).known(connection, student_number)
    holds = () if person is None else sorted(person.holds)
    held = [_held(connection, database, student_number, kind) for kind in holds]
    if held:
        words = "; ".join(map(_hold_words, held))
        raise AccountHeld(gettext("{number} is held: {holds}", number=student_number, holds=words))


def _hold_words(held: HeldStudent) -> str:
    kind = word("holds", held.kind)
    if held.since is None:
        return kind
    told = {"by": held.actor, "time": local_time(held.since), "reason": held.reason}
    return gettext("{hold} ({reason}; {by}, {time})", hold=kind, **told)


class HoldListRequest(BaseModel):
    """Request to place or lift one kind of hold for the students on a list.

    Attributes:
        lines: of the list: a student number, a login or a mail address each, or a CSV with that in its first
            column. Empty lines and comments (`#`) are skipped.
        file: the list's name, for the audit.
    """

    kind: Hold
    reason: str
    at: datetime
    file: str
    lines: tuple[str, ...]
    dry_run: bool = False


class HoldsReport(Report):
    """Result of a list of holds.

    Attributes:
        students: those named, each once.
        changed: how many were, or would be, changed; the others already are as requested.
        wrong: the numbers of lines that match no student here.
    """

    kind: Hold
    dry_run: bool
    students: int
    changed: int
    wrong: tuple[int, ...]


@act("hold.place_all", OPERATORS)
def place_all(site: Shutting, actor: Actor, request: HoldListRequest) -> HoldsReport:
    """Place a hold on every student of a list whom the registry knows.

    Wrong lines are reported and skipped.

    Raises:
        LogUnavailable: some may have been published already; repeating it is harmless.
    """
    report, asked = _all(site, actor, request, unless=_PLACE)
    if not request.dry_run:
        holds.place_all(asked, database=site.database, producer=site.producer)
        _end_sessions(site, asked.students)
    return report


@act("hold.lift_all", OPERATORS)
def lift_all(site: Publishing, actor: Actor, request: HoldListRequest) -> HoldsReport:
    """Lift a hold for every student of a list; wrong lines are reported and skipped.

    Raises:
        LogUnavailable: some may have been published already; repeating it is harmless.
    """
    report, asked = _all(site, actor, request, unless=_LIFT)
    if not request.dry_run:
        holds.lift_all(asked, database=site.database, producer=site.producer)
    return report


_PLACE, _LIFT = "hold.place", "hold.lift"
_NAMES_PER_LOOK = 300
_HEADERS = frozenset({"student_number", "numero", "login", "identifiant", "mail", "courriel", "email"})


def _all(
    site: Stored, actor: Actor, request: HoldListRequest, *, unless: str
) -> tuple[HoldsReport, HoldsRequest]:
    """Resolve a list: the report, and the request for those who need a change."""
    students: dict[str, None] = {}
    wrong: list[int] = []
    with site.database.read() as connection:
        named = list(_named(request.lines))
        for start in range(0, len(named), _NAMES_PER_LOOK):
            some = named[start : start + _NAMES_PER_LOOK]
            found = holders_of(connection, site.database, [name for _, name in some])
            for line, name in some:
                number = found.get(name)
                if number is None:
                    wrong.append(line)
                else:
                    students[number] = None
        changed = [
            number
            for number in students
            if not _stands(_standing_in(connection, site.database, number, request.kind), unless)
        ]
    report = HoldsReport(
        kind=request.kind,
        dry_run=request.dry_run,
        students=len(students),
        changed=len(changed),
        wrong=tuple(wrong),
    )
    asked = HoldsRequest(changed, request.kind, request.reason, actor.name, request.at, request.file)
    return report, asked


def _named(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Each line's number and the name in it."""
    for number, line in enumerate(lines, start=1):
        text = line.removeprefix("\ufeff").strip()
        if not text or text.startswith("#"):
            continue
        separator = next((sign for sign in ";,\t" if sign in text), ";")
        name = next(csv.reader([text], delimiter=separator))[0].strip()
        if not (number == 1 and name.lower() in _HEADERS):
            yield number, name


def _stands(standing: _Standing, act_name: str) -> bool:
    """Whether the hold is already as requested."""
    if act_name == _PLACE:
        return standing.held and standing.asked != _LIFT
    settles_doubts = standing.kind is Hold.TECHNICAL  # which need not have shut anything
    return not standing.held and standing.asked != _PLACE and not settles_doubts


def is_as_asked(connection: Connection, database: Database, student_number: str, kind: Hold) -> bool:
    """Whether the registry has applied the last act on this hold. True if there was none."""
    standing = _standing_in(connection, database, student_number, kind)
    return not standing.known or standing.asked is None or standing.held is (standing.asked == _PLACE)


def _end_sessions(site: Shutting, students: Sequence[str]) -> None:
    with site.database.write() as connection:
        now = site.database.now(connection)
        for number in students:
            site.end_sessions(connection, number, now)


@dataclass(frozen=True)
class _Standing:
    """A hold's state. `asked`: the last act requested, which the registry may not have read."""

    student_number: str
    kind: Hold
    known: bool
    held: bool
    asked: str | None
    asked_at: float | None

    def report(self, *, changed: bool) -> HoldReport:
        return HoldReport(
            student_number=self.student_number,
            kind=self.kind,
            known=self.known,
            changed=changed,
            since=None if self.asked_at is None else datetime.fromtimestamp(self.asked_at, UTC),
        )


def _standing(database: Database, request: HoldChangeRequest) -> _Standing:
    with database.read() as connection:
        return _standing_in(connection, database, request.student_number, request.kind)


def _check_known(standing: _Standing, request: HoldChangeRequest) -> None:
    if not standing.known and not request.unknown:
        number = standing.student_number
        raise NoSuchStudent(gettext("no account for student number {number!r}", number=number))


def _standing_in(connection: Connection, database: Database, number: str, kind: Hold) -> _Standing:
    people = People(database)
    person = people.known(connection, number)
    last = _last_note(connection, people.numbers(connection, number), kind)
    return _Standing(
        number,
        kind,
        known=person is not None,
        held=person is not None and kind in person.holds,
        asked=None if last is None else last.action,
        asked_at=None if last is None else last.at,
    )


def _last_note(connection: Connection, numbers: Iterable[str], kind: Hold) -> operator_notes.Remark | None:
    """The last act on a hold. It is the person's, whichever of these numbers it names."""
    noted = [
        note
        for number in numbers
        for note in operator_notes.of_student(connection, number)
        if note.about == kind and note.action in (_PLACE, _LIFT)
    ]
    return max(noted, key=lambda note: note.at, default=None)


def _checked(site: Stored, actor: Actor, request: HoldChangeRequest) -> HoldRequest:
    try:
        TypeAdapter(StudentNumber).validate_python(request.student_number)
    except ValidationError as error:
        raise NotAStudentNumber from error
    with site.database.read() as connection:
        at = utc(site.database.now(connection))
    return HoldRequest(request.student_number, request.kind, request.reason, actor.name, at)
