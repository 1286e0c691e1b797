"""What operators have decided, and what they are asked."""

from __future__ import annotations

from collections.abc import Iterable

from sesame.operations.adoption.adoptions import AdoptionAnswer, QuestionRow
from sesame.operations.adoption.questions import BY_HAND, QuestionKind
from sesame.operations.adoption.sheet import Row, Sheet, Standing


class Answers:
    """What operators have decided about some objects."""

    def __init__(self, questions: Iterable[QuestionRow]) -> None:
        self._states = {(q.object, q.student_number or "", q.kind): q.state for q in questions}
        self._by_hand = {
            q.object: q.student_number
            for q in questions
            if q.kind == BY_HAND and q.state is AdoptionAnswer.LINKED and q.student_number
        }

    def by_hand(self, row: Row) -> str | None:
        """The student whom an operator said that this is."""
        return self._by_hand.get(row.ref)

    def of(self, row: Row, student: str, kind: QuestionKind) -> AdoptionAnswer:
        """How the question stands whether this is the student's."""
        return self._states.get((row.ref, student, kind), AdoptionAnswer.OPEN)


def ask(sheet: Sheet, row: Row, student: str, kind: QuestionKind, answers: Answers, detail: str = "") -> None:
    """Have an operator decide, or take what was decided."""
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
