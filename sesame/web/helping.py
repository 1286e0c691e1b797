"""Why it does not work yet, and how a case gets to the support desk: what the pages use of `diagnosis` and
`support`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesame.operations.diagnosis.engine import StudentCause, StudentDiagnosis, diagnose
from sesame.operations.ports import Diagnosable
from sesame.operations.support import Case, Support
from sesame.web.languages import Spoken

if TYPE_CHECKING:
    from producers.activation.smtp import Post

SETTLED = frozenset({"cas_not_tried"})
"""Causes that the page says in its own way."""


class Help:
    """Diagnosis and support, for students. Methods may block: call none from an event loop."""

    def __init__(self, site: Diagnosable) -> None:
        self._site = site
        self._support = Support(site)

    def known(self, student_number: str, language: Spoken) -> tuple[StudentCause, ...]:
        """What the pipeline knows of one student's causes; no server is asked."""
        found = self._said(student_number, language).causes
        return tuple(cause for cause in found if cause.rule not in SETTLED)

    def _said(self, student_number: str, language: Spoken) -> StudentDiagnosis:
        return diagnose(self._site, student_number, live=False).for_student(language)

    def open(self, student_number: str, language: Spoken, said: str) -> Case:
        """A case of what is found now, the servers asked too: takes seconds."""
        return self._support.open(student_number, language, said=said)

    def recent(self, student_number: str) -> Case | None:
        """The case that this student has opened a moment ago, with what the servers showed then."""
        return self._support.recent(student_number)

    def mine(self, code: str, student_number: str) -> Case:
        """A student's own case.

        Raises:
            UnknownCode: it is none of theirs.
        """
        return self._support.mine(code, student_number)

    def send(self, code: str, post: Post) -> Case:
        """Send a case to its desk.

        Raises:
            UnknownCode, MailServerDown, MailRefused: it was not sent.
        """
        return self._support.send(code, post)
