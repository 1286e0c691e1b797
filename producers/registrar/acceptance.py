"""Accept values that look damaged but are right: exactly those of one student.

The refusal of such a value names the code that accepts it, `NUMBER:CODE`, made from the student and the
line's damaged values: another value needs another code.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from pipeline.errors import SesameError
from producers.registrar.faults import Fault, Rejection
from producers.registrar.feed_memory import SqlFeedMemory
from producers.registrar.spool import canonical
from schemas.language import gettext, gettext_noop

_CODE_CHARACTERS = 8
CODE = re.compile(rf"[\w.-]+:[0-9a-f]{{{_CODE_CHARACTERS}}}", re.ASCII)
"""The form of a code for `--accept`."""


class AcceptanceUnfit(SesameError):
    """What is to be accepted does not stand in this file. Nothing was published."""

    exit_code = 2
    remedy = gettext_noop(
        "Accept what the rejects file of this import gives in its detail, or leave --accept out."
    )


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An operator's acceptance of damaged-looking values. `given`: codes from the rejects file."""

    given: frozenset[str]
    actor: str


class AcceptedValues:
    """The values that one import accepts: codes given to it, and earlier acceptances."""

    def __init__(self, acceptance: Acceptance | None, memory: SqlFeedMemory) -> None:
        self._given = acceptance.given if acceptance is not None else frozenset()
        self._actor = acceptance.actor if acceptance is not None else ""
        self._students = {each.rpartition(":")[0] for each in self._given}
        self._memory = memory
        self._before: Collection[tuple[str, str]] | None = None
        self._new: set[tuple[str, str]] = set()
        self._met: set[str] = set()  # given codes, and their students, that were met in the file

    def note(self, student: str) -> None:
        """Note that the file has a line of this student."""
        if student in self._students:
            self._met.add(student)

    def judge(self, rejections: Sequence[Rejection]) -> list[Rejection]:
        """Drop a line's accepted faults (empty: accepted whole). Give others the code that accepts them."""
        damaged = [each for each in rejections if each.fault is Fault.DAMAGED_TEXT]
        if not damaged:
            return list(rejections)
        student = rejections[0].student_number
        key = student, _digest(student, damaged)
        code = f"{student}:{key[1][:_CODE_CHARACTERS]}"
        given = code in self._given
        if given:
            self._met.add(code)
        if self._before is None:
            self._before = self._memory.accepted()
        if len(damaged) == len(rejections) and (given or key in self._before):
            if key not in self._before:
                self._new.add(key)
            return []
        if not CODE.fullmatch(code):  # the number is wrong too
            return list(rejections)
        return [
            replace(each, detail=f"{each.detail} (--accept {code})") if each in damaged else each
            for each in rejections
        ]

    def check(self, path: Path) -> None:
        """Check that every given code fits the file that was read. Raises AcceptanceUnfit: one does not."""
        for code in sorted(self._given - self._met):
            student = code.rpartition(":")[0]
            if student in self._met:
                what = gettext(
                    "{path}: --accept {code} is about another value than this file has of the student",
                    path=path,
                    code=code,
                )
            else:
                what = gettext("{path}: --accept {code}: no line is of this student", path=path, code=code)
            raise AcceptanceUnfit(what)

    def remember(self, import_id: int) -> int:
        """Record new acceptances; return for how many students. Raises ImportSuperseded, StoreUnavailable."""
        if self._new:
            self._memory.accept(import_id, self._new, actor=self._actor)
        return len({student for student, _ in self._new})


def _digest(student: str, damaged: Sequence[Rejection]) -> str:
    values = canonical([student, *([each.column, each.value] for each in damaged)])
    return blake2b(values.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
