"""Questions about existing objects for an operator: their kinds and answers.

Each kind's words are in `words.toml`: `object_questions`, what was found; `object_remedies`, what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from sesame.operations.questions.adoption.adoptions import CORRECTED, AdoptionAnswer, QuestionRow
from sesame.operations.questions.adoption.sheet import FoundObject, Sheet, Standing


class QuestionKind(StrEnum):
    """Why an operator has to decide."""

    NAMES_AND_BIRTH_DATE = "names_and_birth_date"
    NUMBER_TWICE = "number_twice"
    SEVERAL_NUMBERS = "several_numbers"
    NUMBER_OF_OTHER = "number_of_other"
    LOGIN_SHARED = "login_shared"
    LOGIN_DIFFERS = "login_differs"
    USERNAME_CASE = "username_case"
    MAIL_SHARED = "mail_shared"
    MAIL_DIFFERS = "mail_differs"
    IDNUMBER_EMPTY = "idnumber_empty"
    IDNUMBER_OTHER = "idnumber_other"
    NAMES_DIFFER = "names_differ"
    LEDGER_OTHER = "ledger_other"
    LEDGER_ACTIVE = "ledger_active"
    ACCOUNT_DIFFERS = "account_differs"
    NUMBER_OF_NOBODY = "number_of_nobody"
    CORRECTED = CORRECTED


_LINKED, _SEPARATE = AdoptionAnswer.LINKED, AdoptionAnswer.SEPARATE
ANSWERS: Final[dict[str, tuple[AdoptionAnswer, ...]]] = {
    QuestionKind.NAMES_AND_BIRTH_DATE: (_LINKED, _SEPARATE),
    QuestionKind.NUMBER_OF_OTHER: (_LINKED,),
    QuestionKind.LOGIN_DIFFERS: (_LINKED,),
    QuestionKind.USERNAME_CASE: (_LINKED,),
    QuestionKind.MAIL_DIFFERS: (_LINKED,),
    QuestionKind.IDNUMBER_EMPTY: (_LINKED, _SEPARATE),
    QuestionKind.IDNUMBER_OTHER: (_LINKED, _SEPARATE),
    QuestionKind.NAMES_DIFFER: (_LINKED, _SEPARATE),
    QuestionKind.LEDGER_OTHER: (_LINKED, _SEPARATE),
    QuestionKind.NUMBER_OF_NOBODY: (_SEPARATE,),
    QuestionKind.CORRECTED: (_LINKED,),
}
"""The answers that each kind takes, where it takes any: LINKED, the object is this student's, as it is;
SEPARATE, it is another person's."""

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
