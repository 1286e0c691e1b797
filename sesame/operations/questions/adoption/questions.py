"""Questions about existing objects for an operator: each kind in words, answers."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Self

from schemas.language import gettext_noop
from sesame.operations.questions.adoption.adoptions import AdoptionAnswer, QuestionRow
from sesame.operations.questions.adoption.sheet import FoundObject, Sheet, Standing

_LINKED, _SEPARATE = AdoptionAnswer.LINKED, AdoptionAnswer.SEPARATE
_LOOK: Final = gettext_noop("Look at both, then decide: link, or separate."), _LINKED, _SEPARATE


class QuestionKind(StrEnum):
    """Why an operator has to decide.

    Attributes:
        what: what was found.
        remedy: what an operator does about it.
        answers: LINKED, where the object may be this student's, as it is; SEPARATE, where it may be another
            person's.
    """

    what: str
    remedy: str
    answers: tuple[AdoptionAnswer, ...]

    def __new__(cls, token: str, what: str, remedy: str, *answers: AdoptionAnswer) -> Self:
        """Make a kind of its token, its words and the answers that it takes."""
        kind = str.__new__(cls, token)
        kind._value_, kind.what, kind.remedy, kind.answers = token, what, remedy, answers
        return kind

    NAMES_AND_BIRTH_DATE = (
        "names_and_birth_date",
        gettext_noop("an entry without a student number has the names and the birth date of a student"),
        *_LOOK,
    )
    NUMBER_TWICE = (
        "number_twice",
        gettext_noop("several objects of one target carry one student number"),
        gettext_noop("Remove the number from those that are not the student's, then adopt again."),
    )
    SEVERAL_NUMBERS = (
        "several_numbers",
        gettext_noop("an entry carries several student numbers"),
        gettext_noop(
            "Leave the one that is right, then adopt again; two numbers of one "
            "person: sesame identities merge."
        ),
    )
    NUMBER_OF_OTHER = (
        "number_of_other",
        gettext_noop(
            "an object carries a student number, and its names are nothing like those of the registrar"
        ),
        gettext_noop(
            "The same person under other names: link. Somebody else: correct the "
            "number there, then adopt again."
        ),
        _LINKED,
    )
    LOGIN_SHARED = (
        "login_shared",
        gettext_noop("one login is different persons' in two targets, or in two entries"),
        gettext_noop("Rename one of them, then adopt again; the same person after all: sesame adopt link."),
    )
    LOGIN_DIFFERS = (
        "login_differs",
        gettext_noop("a student's login in a target is not the one of the directory"),
        gettext_noop(
            "Link: the directory's replaces it when this target is written. Or rename it there yourself."
        ),
        _LINKED,
    )
    USERNAME_CASE = (
        "username_case",
        gettext_noop("a Moodle username has capitals, which Moodle itself would refuse"),
        gettext_noop("Link: it is written in lower case when Moodle is written."),
        _LINKED,
    )
    MAIL_SHARED = (
        "mail_shared",
        gettext_noop("one mail address is different persons'"),
        gettext_noop("Correct it where it is wrong, then adopt again."),
    )
    MAIL_DIFFERS = (
        "mail_differs",
        gettext_noop("a student's mail address differs from the directory's"),
        gettext_noop(
            "Link: the directory's replaces it when this target is written. Or correct the one that is wrong."
        ),
        _LINKED,
    )
    IDNUMBER_EMPTY = (
        "idnumber_empty",
        gettext_noop(
            "a user with a student's login, or address, and that student's names, carries no student number"
        ),
        *_LOOK,
    )
    IDNUMBER_OTHER = (
        "idnumber_other",
        gettext_noop(
            "a user with a student's login, and that student's names, carries what is no student number"
        ),
        *_LOOK,
    )
    NAMES_DIFFER = (
        "names_differ",
        gettext_noop(
            "a user with a student's login, or address, carries no student number, and has other names"
        ),
        *_LOOK,
    )
    LEDGER_OTHER = (
        "ledger_other",
        gettext_noop("a name is in use here, and was given to a student who has not activated the account"),
        gettext_noop(
            "Link: it stays with this object, and the student who has not seen it "
            "is given another; an object "
            "without a student number is that student's then. Separate: it is another person's, likewise."
        ),
        _LINKED,
        _SEPARATE,
    )
    LEDGER_ACTIVE = (
        "ledger_active",
        gettext_noop("a name is in use here, and is that of another student's active account"),
        gettext_noop(
            "Rename one of the two, or write the right student number into the object; then adopt again."
        ),
    )
    ACCOUNT_DIFFERS = (
        "account_differs",
        gettext_noop("a student's account is active under another login than the entry's"),
        gettext_noop("Rename the entry, or remove the student number from it; then adopt again."),
    )
    NUMBER_OF_NOBODY = (
        "number_of_nobody",
        gettext_noop("an object carries a student number that no account has, or an erased one's"),
        gettext_noop(
            "Ask the registrar whose it is. If it is to stay as it is: separate, and it is not told again. "
            "Otherwise remove it at the target."
        ),
        _SEPARATE,
    )


KINDS: Final = {kind.value: kind for kind in QuestionKind}

BY_HAND: Final = "operator"
"""Kind of a link that an operator made without a question."""


class Answers:
    """The operators' decisions about some objects."""

    def __init__(self, questions: Iterable[QuestionRow]) -> None:
        self._states = {(q.object, q.student_number or "", q.kind): q.state for q in questions}
        self._by_hand = {
            q.object: q.student_number
            for q in questions
            if q.kind == BY_HAND and q.state is AdoptionAnswer.LINKED and q.student_number
        }

    def by_hand(self, row: FoundObject) -> str | None:
        """The student to whom an operator linked this object."""
        return self._by_hand.get(row.ref)

    def of(self, row: FoundObject, student: str, kind: QuestionKind) -> AdoptionAnswer:
        """The answer to the question whether this object is the student's."""
        return self._states.get((row.ref, student, kind), AdoptionAnswer.OPEN)


def ask(
    sheet: Sheet, row: FoundObject, student: str, kind: QuestionKind, answers: Answers, detail: str = ""
) -> None:
    """Put a question on the sheet, or apply its earlier decision."""
    match answers.of(row, student, kind):
        case AdoptionAnswer.LINKED:
            row.student, row.evidence = student, row.evidence or BY_HAND
            if row.standing is Standing.STRANGER:
                row.standing = Standing.MATCH
        case AdoptionAnswer.SEPARATE:
            row.student, row.evidence, row.standing = "", "", Standing.STRANGER
        case _:
            row.student = row.student or student
            candidate = kind is QuestionKind.NAMES_AND_BIRTH_DATE
            row.standing = Standing.CANDIDATE if candidate else Standing.CONFLICT
            sheet.contradict(row, kind, student, detail)
