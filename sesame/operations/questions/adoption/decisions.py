"""Operators' decisions about existing objects: permanent and audited."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from consumers.directory import NAME as DIRECTORY
from consumers.registry.people import People
from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.errors import SesameError
from schemas.language import gettext
from sesame.operations.questions.adoption import adoptions
from sesame.operations.questions.adoption.adoptions import AdoptionAnswer, QuestionRow
from sesame.operations.questions.adoption.questions import BY_HAND, WORDS, QuestionKind
from sesame.operations.questions.adoption.sheet import PAGE

_ID_CHARACTERS_MIN = 6


class NoSuchQuestion(SesameError):
    """No question, or more than one, begins with this id. `sesame adopt questions` lists the open ones."""

    exit_code = 2


class NotDecidable(SesameError):
    """This answer would leave the targets contradicting one another: such a conflict ends where it is, in the
    directory or in the other target. Mend it there, then adopt again."""


class UnknownStudent(SesameError):
    """The registry knows no student of this number. Check it, or import the registrar's file first."""


@dataclass(frozen=True)
class Decision:
    """An operator's answer.

    Attributes:
        answer: LINKED or SEPARATE.
        actor: the operator's user name.
        reason: why, in their own words.
    """

    answer: AdoptionAnswer
    actor: str
    reason: str


def find(database: Database, ids: Sequence[str]) -> list[QuestionRow]:
    """The questions whose ids have these beginnings.

    Raises:
        NoSuchQuestion: one of them matches none, or several.
    """
    found = []
    with database.read() as connection:
        for prefix in ids:
            several = adoptions.beginning_with(connection, prefix)
            if len(prefix) < _ID_CHARACTERS_MIN or len(several) != 1:
                raise NoSuchQuestion(gettext("{id!r} names {n} questions", id=prefix, n=len(several)))
            found += several
    return found


def decide(database: Database, questions: Sequence[QuestionRow], decision: Decision) -> None:
    """Record the answer to all of these questions; the next adoption acts on it.

    Raises:
        NotDecidable: one of them cannot be answered so; nothing was recorded.
    """
    for question in questions:
        words = WORDS.get(QuestionKind(question.kind)) if question.kind in set(QuestionKind) else None
        allowed = words is not None and (
            words.linkable if decision.answer is AdoptionAnswer.LINKED else words.separable
        )
        if not allowed or question.student_number is None:
            remedy = words.remedy if words is not None else ""
            raise NotDecidable(f"{question.kind} cannot be answered by {decision.answer}", remedy=remedy)
    with database.write() as connection:
        now = database.now(connection)
        for question in questions:
            adoptions.decide(connection, question, decision.answer, now)
            _note(connection, database, question, decision, about=question.kind)


def link(database: Database, question: QuestionRow, decision: Decision) -> None:
    """Record that an object is a student's, without an open question.

    Raises:
        UnknownStudent: the registry does not know the number.
    """
    question = replace(question, kind=BY_HAND)
    with database.write() as connection:
        if People(database).known(connection, question.student_number or "") is None:
            raise UnknownStudent(
                gettext("the registry knows no student number {number!r}", number=question.student_number)
            )
        now = database.now(connection)
        adoptions.ask(connection, database, [question], now)
        adoptions.decide(connection, question, decision.answer, now)
        _note(connection, database, question, decision, about=question.target)


def to_activate(database: Database) -> Iterator[str]:
    """Students with an adopted entry, a page at a time: their account works."""
    after = ""
    while True:
        with database.read() as connection:
            page = adoptions.students_after(connection, DIRECTORY, after, limit=PAGE)
            known = People(database).known_among(connection, page)
        if not page:
            return
        after = page[-1]
        yield from (number for number in page if number in known)


def _note(
    connection: Connection, database: Database, question: QuestionRow, decision: Decision, *, about: str
) -> None:
    operator_notes.keep_and_audit(
        connection,
        database,
        action=f"adopt.{decision.answer}",
        about=about,
        student_number=question.student_number,
        actor=decision.actor,
        words=decision.reason,
        detail={
            "question": question.id,
            "target": question.target,
            "student_number": question.student_number,
            "kind": question.kind,
        },
    )
