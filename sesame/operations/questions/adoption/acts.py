"""Acts on an existing population, each with its right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from sqlalchemy import Connection

from consumers.directory import NAME as DIRECTORY
from consumers.mailbox import NAME as MAILBOX
from consumers.registry.people import People
from pipeline import accounts
from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.errors import SesameError
from producers.replay.requests import replay
from schemas.account import Lane
from schemas.language import gettext
from schemas.scalars import Text
from sesame.acts.acts import OPERATORS, Actor, ActPath, ActRequest, Report, act, shown
from sesame.acts.ports import Adopting, Configured, HasConnectors, Publishing, Sealing, Stored, check_target
from sesame.operations.access.activation import ActivateAllRequest, ask_for
from sesame.operations.people.diagnosis.words import word
from sesame.operations.people.known_persons import Side, known
from sesame.operations.people.target_look import TargetLook, look_at
from sesame.operations.questions.adoption import adoptions, run
from sesame.operations.questions.adoption.adoptions import Adoption, AdoptionAnswer, QuestionRow
from sesame.operations.questions.adoption.questions import ANSWERS, BY_HAND, QuestionKind
from sesame.operations.questions.adoption.readers import readers
from sesame.operations.questions.adoption.run import AdoptionReport
from sesame.operations.questions.adoption.sheet import PAGE

Clock = Callable[[], datetime]

_ID_CHARACTERS_MIN: Final = 6


class NoSuchQuestion(SesameError):
    """No question, or more than one, begins with this id. `sesame adopt questions` lists the open ones."""

    exit_code = 2


class NotDecidable(SesameError):
    """This answer would leave the targets contradicting one another: such a conflict ends where it is, in the
    directory or in the other target. Mend it there, then adopt again."""


class UnclearAnswer(SesameError):
    """Give the ids of questions, or a kind, and not both."""

    exit_code = 2


class UnknownStudent(SesameError):
    """The registry knows no student of this number. Check it, or import the registrar's file first."""


class AdoptionRequest(BaseModel):
    """`report_path`: where a line for each object goes; None: nowhere. `dry_run`: change nothing anywhere."""

    dry_run: bool = False
    report_path: Path | None = None


class AdoptionQuestion(Report):
    """What waits for an operator, or did: personal data. `raised_at`: in epoch seconds."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: str
    target: str
    object: str
    student_number: str | None
    state: AdoptionAnswer
    raised_at: float = Field(exclude=True)


class QuestionReport(Report):
    """A question with both sides: personal data.

    Attributes:
        what, remedy: what was found, and what to do about it, in words.
        linkable, separable: which answers it takes.
        student: who the registrar says has the number; None: none.
        look: what the target shows of the account now, and what is wanted; None: there is no account.
    """

    question: AdoptionQuestion
    what: str
    remedy: str
    linkable: bool
    separable: bool
    student: Side | None
    look: TargetLook | None


class Judging(HasConnectors, Configured, Protocol):
    """The store, and the targets, read-only."""


class QuestionsRequest(BaseModel):
    """Filter: open questions or all, of one kind or all."""

    kind: str | None = None
    everything: bool = Field(False, description="Decided ones, too.")


class AnswerRequest(ActRequest):
    """The answer to these questions, by the beginnings of their ids, or to every open one of a kind.

    Attributes:
        until: of a kind: those that were raised up to this time (epoch seconds), and none that came since.
    """

    ids: tuple[str, ...] = ()
    kind: str | None = None
    until: FiniteFloat | None = None
    answer: Literal[AdoptionAnswer.LINKED, AdoptionAnswer.SEPARATE]
    reason: Text


class QuestionsAnswered(Report):
    """How many were answered, and how. `replayed`: students looked at again at once."""

    decided: int
    answer: AdoptionAnswer
    replayed: int = 0


class LinkRequest(BaseModel):
    """Link a target's object to a student, and why; `object`: as the report names it."""

    student_number: str
    object: str
    target: str
    reason: str


class ObjectLinked(Report):
    """The linked object, as the next adoption knows it."""

    object: str
    student_number: str


class ActivateAdoptedReport(Report):
    """Activations requested now and before, and the targets that are written now."""

    requested: int
    already: int
    written: list[str]


@act("adopt", OPERATORS)
def adopt(
    site: Adopting, actor: Actor, request: AdoptionRequest, *, clock: Clock, progress: Callable[[str], None]
) -> AdoptionReport:
    """Record what exists in the targets, and republish accounts that differ from it.

    Raises:
        TargetDown, Misconfigured: a target cannot be read; nothing was written.
        StoreUnavailable, LogUnavailable: what was written stays; repeat the adoption.
        UnusableFile: the report cannot be written.
    """
    found = run.adopt(
        readers(site),
        site.database,
        actor=actor.name,
        dry_run=request.dry_run,
        report_path=request.report_path,
        progress=progress,
    )
    if found.written is not None and found.written.differing:
        replay(
            found.written.differing,
            consumer="registry",
            reason="adopted: the names in use are kept",
            actor=actor.name,
            lane=Lane.BULK,
            producer=site.producer,
            database=site.database,
            clock=clock,
        )
    return found


@act(
    "adopt.questions",
    OPERATORS,
    path=ActPath("list_adoption_questions", "GET", "/adoption/questions"),
    shows=lambda report, request: shown(
        (each.student_number for each in report),
        **request.model_dump(include={"kind"}),
    ),
)
def questions(site: Stored, _actor: Actor, request: QuestionsRequest) -> list[AdoptionQuestion]:
    """The objects that an adoption or a comparison asks about, oldest first.

    Personal data.
    """
    states = tuple(AdoptionAnswer) if request.everything else (AdoptionAnswer.OPEN,)
    with site.database.read() as connection:
        found = adoptions.questions(connection, states, kind=request.kind)
    return [AdoptionQuestion.model_validate(each) for each in found]


@act(
    "adopt.show",
    OPERATORS,
    path=ActPath("show_adoption_question", "GET", "/adoption/questions/{question_id}"),
    shows=lambda report, _id: shown([report.question.student_number], kind=report.question.kind),
)
def show(site: Judging, _actor: Actor, question_id: str) -> QuestionReport:
    """One question with all that an operator needs to answer it; query the server.

    Raises:
        NoSuchQuestion: no question has this id.
    """
    with site.database.read() as connection:
        found = _beginning_with(connection, question_id)
        number = found.student_number
        person = None if number is None else known(connection, site.database, number)
        account = None if number is None else accounts.find(connection, number)
    answers = () if number is None else ANSWERS.get(found.kind, ())
    configured = found.target in site.settings.targets
    return QuestionReport(
        question=AdoptionQuestion.model_validate(found),
        what=word("object_questions", found.kind),
        remedy=word("object_remedies", found.kind),
        linkable=AdoptionAnswer.LINKED in answers,
        separable=AdoptionAnswer.SEPARATE in answers,
        student=person,
        look=look_at(site, [found.target], account)[0] if account is not None and configured else None,
    )


@act("adopt.decide", OPERATORS, path=ActPath("answer_adoption_questions", "POST", "/adoption/decide"))
def decide(site: Publishing, actor: Actor, request: AnswerRequest) -> QuestionsAnswered:
    """Answer questions for good; the next adoption acts on the answers.

    A correction's is acted on at once, by a turn of its target.

    Raises:
        UnclearAnswer, NoSuchQuestion, NotDecidable: nothing was answered.
        LogUnavailable: the answers are recorded; a correction's counts at the next turn.
    """
    if bool(request.ids) == (request.kind is not None):
        raise UnclearAnswer
    with site.database.write() as connection:
        if request.kind is None:
            found = [_beginning_with(connection, each) for each in request.ids]
        else:
            found = adoptions.questions(connection, [AdoptionAnswer.OPEN], kind=request.kind)
            found = [each for each in found if request.until is None or each.raised_at <= request.until]
        for each in found:
            if request.answer not in ANSWERS.get(each.kind, ()) or each.student_number is None:
                remedy = word("object_remedies", each.kind)
                raise NotDecidable(f"{each.kind} cannot be answered by {request.answer}", remedy=remedy)
        for each in found:
            _answer(connection, site.database, actor, each, request.answer, request.reason, about=each.kind)
        corrected = [
            Adoption(each.target, each.student_number, each.object, BY_HAND)
            for each in found
            if each.kind == QuestionKind.CORRECTED and each.student_number is not None
        ]
        adoptions.adopt(connection, site.database, corrected, site.database.now(connection))
    for target in sorted({each.target for each in corrected}):
        replay(
            [each.student_number for each in corrected if each.target == target],
            consumer=target,
            reason="a correction was accepted",
            actor=actor.name,
            lane=Lane.BULK,
            producer=site.producer,
            database=site.database,
            clock=partial(datetime.now, UTC),
        )
    return QuestionsAnswered(decided=len(found), answer=request.answer, replayed=len(corrected))


@act("adopt.link", OPERATORS)
def link(site: Configured, actor: Actor, request: LinkRequest) -> ObjectLinked:
    """Link an unmarked object to a student; the next adoption acts on it.

    Raises:
        UnknownTarget: the settings name no such target.
        UnknownStudent: the registry does not know the number.
    """
    check_target(site, request.target)
    named_in_any_case = request.target in (DIRECTORY, MAILBOX)
    ref = request.object.lower() if named_in_any_case else request.object
    question = QuestionRow(request.target, ref, request.student_number, BY_HAND)
    linked, database = AdoptionAnswer.LINKED, site.database
    with database.write() as connection:
        if People(database).known(connection, request.student_number) is None:
            raise UnknownStudent(
                gettext("the registry knows no student number {number!r}", number=request.student_number)
            )
        adoptions.ask(connection, database, [question], database.now(connection))
        _answer(connection, database, actor, question, linked, request.reason, about=request.target)
    return ObjectLinked(object=ref, student_number=request.student_number)


@act("adopt.activate", OPERATORS)
def activate(
    site: Sealing, _actor: Actor, request: ActivateAllRequest, *, clock: Clock
) -> ActivateAdoptedReport:
    """Provision all students with an adopted entry, as if they had activated.

    Raises:
        LogUnavailable, StoreUnavailable: retry.
    """
    report = ask_for(site, to_activate(site.database), request, Lane.BULK, clock)
    return ActivateAdoptedReport(
        requested=report.requested, already=report.already, written=written_targets(site)
    )


def written_targets(site: Configured) -> list[str]:
    """The targets that are written, not only observed."""
    settings = site.settings
    return [target for target in settings.targets if target not in settings.observed]


def to_activate(database: Database) -> Iterator[str]:
    """Students with an adopted entry, a page at a time: their account works."""
    for page in adoptions.student_pages(database, DIRECTORY, size=PAGE):
        with database.read() as connection:
            known = People(database).known_among(connection, page)
        yield from (number for number in page if number in known)


def _beginning_with(connection: Connection, prefix: str) -> QuestionRow:
    """The one question whose id has this beginning."""
    several = adoptions.beginning_with(connection, prefix)
    if len(prefix) < _ID_CHARACTERS_MIN or len(several) != 1:
        raise NoSuchQuestion(gettext("{id!r} names {n} questions", id=prefix, n=len(several)))
    return several[0]


def _answer(
    connection: Connection,
    database: Database,
    actor: Actor,
    question: QuestionRow,
    answer: AdoptionAnswer,
    reason: str,
    *,
    about: str,
) -> None:
    """Record an answer, permanently, with its reason."""
    adoptions.decide(connection, question, answer, database.now(connection))
    operator_notes.keep_and_audit(
        connection,
        database,
        action=f"adopt.{answer}",
        about=about,
        student_number=question.student_number,
        actor=actor.name,
        words=reason,
        detail={
            "question": question.id,
            "target": question.target,
            "student_number": question.student_number,
            "kind": question.kind,
        },
    )
