"""Activate students on an operator's request: named ones, a list, or all imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field
from sqlalchemy import and_, case, func, not_, select

from consumers.registry.people import People, people
from pipeline.accounts import COUNTED, accounts, number_pages
from pipeline.db.database import Database
from producers.activation.activation_requests import activate as publish
from producers.activation.policy import PasswordJudge
from producers.registrar.feed_memory import SqlFeedMemory
from schemas.account import CANARY, Account, Lane
from sesame.acts import acts
from sesame.acts.acts import DESK, OPERATORS, Actor, ActPath, ActRequest, Report, act
from sesame.acts.ports import Sealing
from sesame.operations.imports.first_courses import first_courses

if TYPE_CHECKING:
    from sesame.settings import Settings

_NAMED_MAX = 20  # numbers in one audit entry; a list is named by its file
_PAGE = 1000
_FEW = 500  # numbers in one look

Progress = Callable[[int], None]
"""Called with the number of students in each batch."""


class ActivateAllRequest(ActRequest):
    """Options to activate all imported students.

    Attributes:
        passwords: by student number.
        language: of the messages to them; None: the registrar's or the site's.
        republish: publish inactive accounts again, for a log that lost them.
        dry_run: only count.
    """

    passwords: Mapping[str, str] = Field(default_factory=dict, repr=False)
    language: Literal["fr", "en"] | None = None
    republish: bool = False
    dry_run: bool = False


class Activation(ActivateAllRequest):
    """The students to activate. `file`: the list's name, for the audit."""

    students: tuple[str, ...]
    file: str | None = None


class Everybody(BaseModel):
    """State of all imported students before `activate --all`, in numbers.

    Attributes:
        active: with an active account.
        held: without one, and with a hold: an activated student stays shut out until it is lifted.
        not_enrolled: without an account to activate: no enrolment of a current year.
        without_mail: inactive, without a personal address to write to.
    """

    active: int
    held: int
    not_enrolled: int
    without_mail: int


class Activated(Report):
    """Counts of a request. See `producers.activation.activation_requests.ActivationReport`.

    Attributes:
        already: requested before; with `everybody`, active ones too.
        on_their_way: imported, and not yet read by the registry.
        not_known_yet: numbers that no file has brought. The requests are kept.
        everybody: of `activate --all`.
    """

    requested: int
    already: int
    repeated: int
    without_password: int
    on_their_way: list[str]
    not_known_yet: list[str]
    dry_run: bool
    everybody: Everybody | None = None


@act("activate", DESK, path=ActPath("activate_students", "POST", "/activations"))
def activate(
    site: Sealing, actor: Actor, request: Activation, *, clock: Callable[[], datetime], progress: Progress
) -> Activated:
    """Activate these students in the personal lane.

    Raises:
        WeakPasswords: of these students; nothing was published.
        StudentListUnusable: an entry is no student number; nothing of its batch was published.
        LogUnavailable, StoreUnavailable: retry; what is in doubt is published again.
    """
    students = request.students
    named = set(students)
    given = {number: password for number, password in request.passwords.items() if number in named}
    password_judge(site.database, site.settings).refuse_weak(given)
    if not request.dry_run:
        acts.note(
            site.database,
            actor,
            "activate",
            students=len(students),
            student_numbers=list(students) if len(students) <= _NAMED_MAX else None,
            file=request.file,
            republish=request.republish,
        )
    return ask_for(site, students, request, Lane.PERSONAL, clock, progress)


class EverybodyRequest(ActivateAllRequest):
    """All imported students. `first_courses`: a file of when their components begin, whose order counts."""

    first_courses: Path | None = None


@act("activate.all", OPERATORS)
def activate_all(
    site: Sealing,
    actor: Actor,
    request: EverybodyRequest,
    *,
    clock: Callable[[], datetime],
    progress: Progress,
) -> Activated:
    """Activate all imported students in the bulk lane.

    Raises:
        WeakPasswords: of any student; nothing was published.
        FirstCoursesUnusable: likewise.
        LogUnavailable, StoreUnavailable: retry; what is in doubt is published again.
    """
    password_judge(site.database, site.settings).refuse_weak(request.passwords)
    turns = first_courses(request.first_courses)
    if not request.dry_run:
        acts.note(
            site.database,
            actor,
            "activate",
            students="all",
            student_numbers=[],
            republish=request.republish,
        )
    before = _everybody(site.database)
    asked = ask_for(site, _not_activated(site.database, turns), request, Lane.BULK, clock, progress)
    return asked.model_copy(update={"everybody": before, "already": asked.already + before.active})


def password_judge(database: Database, settings: Settings) -> PasswordJudge:
    """Build the judge of passwords, for students' and operators' alike."""
    words = [settings.portal.institution, settings.registry.mail_domain]
    return PasswordJudge(database, settings.password, site_words=words, known=People(database))


def ask_for(
    site: Sealing,
    students: Iterable[str],
    request: ActivateAllRequest,
    lane: Lane,
    clock: Callable[[], datetime],
    progress: Progress = lambda _students: None,
) -> Activated:
    """Request these students' accounts, or count them.

    Raises:
        StudentListUnusable, LogUnavailable, StoreUnavailable: as `activate`.
    """
    report = publish(
        students,
        request.passwords,
        lane=lane,
        known=People(site.database),
        database=site.database,
        vault=site.vault,
        producer=site.producer,
        clock=clock,
        hashing=site.settings.activation,
        language=request.language,
        republish=request.republish,
        dry_run=request.dry_run,
        progress=progress,
    )
    brought = _brought(site.database, report.not_known_yet)
    told = asdict(report) | {"not_known_yet": [n for n in report.not_known_yet if n not in brought]}
    return Activated(**told, on_their_way=sorted(brought), dry_run=request.dry_run)


def _brought(database: Database, students: Sequence[str]) -> set[str]:
    """The imported ones of these students that the registry lacks."""
    feed = SqlFeedMemory(database)
    pages = (students[start : start + _FEW] for start in range(0, len(students), _FEW))
    return {number for page in pages for number in feed.known_students(page)}


def _everybody(database: Database) -> Everybody:
    active = accounts.c.activated_at.is_not(None)
    account, held = accounts.c.student_number.is_not(None), people.c.holds != "[]"
    figures = {
        "active": active,
        "held": and_(not_(active), held),
        "not_enrolled": and_(not_(account), not_(held)),
        "without_mail": and_(not_(active), func.coalesce(people.c.personal_mail, "") == ""),
    }
    query = (
        select(*(func.count(case((each, 1))).label(name) for name, each in figures.items()))
        .select_from(people)
        .outerjoin(accounts, accounts.c.student_number == people.c.student_number)
        .where(people.c.merged_into.is_(None), people.c.student_number != CANARY)
    )
    with database.read() as connection:
        return Everybody.model_validate(dict(connection.execute(query).mappings().one()))


def _not_activated(database: Database, turns: Mapping[str, int]) -> Iterator[str]:
    """Students with an unrequested account, by turn and by number; read in pages."""
    if not turns:
        for page in number_pages(database, accounts.c.activated_at.is_(None), size=_PAGE):
            yield from page
        return
    columns = accounts.c.student_number, accounts.c.document
    query = select(*columns).where(accounts.c.activated_at.is_(None), COUNTED)
    with database.read() as connection:
        rows = connection.execute(query.execution_options(yield_per=_PAGE))
        in_turn = sorted((_turn(document, turns), number) for number, document in rows)
    yield from (number for _, number in in_turn)


def _turn(document: str, turns: Mapping[str, int]) -> int:
    """The first turn of the account's components; the last one, if none has one."""
    components = Account.model_validate_json(document).entities
    return min((turns[each] for each in components if each in turns), default=len(turns))
