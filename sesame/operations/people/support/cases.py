"""Support cases: opened by a student, sent to a desk, read with code and right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, Field, model_validator

from pipeline import audit
from pipeline.errors import SesameError
from schemas import codes
from schemas.language import LANGUAGES, Language, spoken
from sesame.acts.acts import DESK, Actor, Report, act
from sesame.acts.ports import Diagnosable
from sesame.operations.people.diagnosis.engine import Diagnosis, DiagnosisReport, StudentDiagnosis, diagnose
from sesame.operations.people.diagnosis.live import LOOK_S_MAX
from sesame.operations.people.support import support_cases
from sesame.operations.people.support.bundle import Bundle, SupportDesk, bundle_of, desk_for
from sesame.operations.people.support.support_cases import SupportCase

if TYPE_CHECKING:
    from producers.activation.smtp import Post

CODE_DAYS: Final = 14
"""Days for which a code leads to its case: a student may call again after a week."""
AGAIN_S = 900.0
"""A student who requests a code again within this time gets the same one: it is one conversation."""

_DAY_S = 86_400.0


class UnknownCode(SesameError):
    """No case has this code: it was mistyped, or it has expired. Let the student open their page again: it
    shows a new one."""


@dataclass(frozen=True)
class Case:
    """A case in one language: its bundle, its desk, and whether it was sent."""

    bundle: Bundle
    desk: SupportDesk
    sent: bool

    @property
    def code(self) -> str:
        """The code in its readable form."""
        return codes.shown_code(self.bundle.code)

    @property
    def text(self) -> str:
        """The text to send, word for word: show it first."""
        return self.bundle.text(self.desk)


class CaseRequest(BaseModel):
    """The code of a case."""

    code: str


class CaseReport(Report):
    """A case: its desk, whether it was sent, what was found then and what now.

    `text`: what is sent, word for word.
    """

    desk: str
    sent: bool
    then: Bundle
    now: DiagnosisReport
    text: str = Field(exclude=True)


@act("support.look", DESK)
def look(site: Diagnosable, actor: Actor, request: CaseRequest) -> CaseReport:
    """The case of a student's code; audited.

    Raises:
        UnknownCode: there is none.
    """
    return _report(*Support(site).look(request.code, spoken(), actor=actor.name))


@act("support.send", DESK)
def send(site: Diagnosable, actor: Actor, request: CaseRequest, *, post: Post) -> CaseReport:
    """Look at the case and send it to its desk, once, in the current language.

    Raises:
        UnknownCode: there is no such case.
        MailServerDown, MailRefused: it was not sent; retry.
    """
    support = Support(site)
    _, now = support.look(request.code, spoken(), actor=actor.name)
    return _report(support.send(request.code, spoken(), post), now)


def _report(case: Case, now: Diagnosis) -> CaseReport:
    return CaseReport(desk=case.desk.name, sent=case.sent, then=case.bundle, now=now.report(), text=case.text)


class _Kept(BaseModel):
    """A stored case: what was found then, in every language.

    `page_language`: of the page on which the student opened it.
    """

    page_language: Language
    bundles: Mapping[Language, Bundle]

    @model_validator(mode="before")
    @classmethod
    def _in_one_language(cls, kept: Any) -> Any:
        """Convert a case stored before cases were kept in every language."""
        if isinstance(kept, dict) and "code" in kept:
            page = kept["language"]
            return {"page_language": page, "bundles": {page: kept | {"page_language": page}}}
        return kept

    def said_in(self, language: Language) -> Bundle:
        """The findings in this language, else in the page's."""
        return self.bundles.get(language) or self.bundles[self.page_language]


class Support:
    """Opens, sends and shows cases. Methods may block: call none from an event loop."""

    def __init__(self, site: Diagnosable, *, look_s_max: float = LOOK_S_MAX) -> None:
        self._site = site
        self._database = site.database
        self._settings = site.settings
        self._look_s_max = look_s_max

    def seen(self, student_number: str, language: Language) -> StudentDiagnosis:
        """A student's causes from the pipeline's records; query no server."""
        return diagnose(self._site, student_number, live=False).for_student(language)

    def open(self, student_number: str, language: Language, *, said: str = "") -> Case:
        """Open a case of what is found now.

        A student who returns soon gets the same code, unless the text is new.
        """
        before = self._newest(student_number)
        if before is not None and (not said or _kept(before).said_in(language).said == said.strip()):
            return self._case(before, language)
        found = diagnose(self._site, student_number, look_s_max=self._look_s_max)
        code = codes.new_code()
        bundles = {
            each: bundle_of(found, code=code, language=each, page_language=language, said=said)
            for each in LANGUAGES
        }
        kept = _Kept(page_language=language, bundles=bundles).model_dump_json()
        with self._database.write() as connection:
            now = self._database.now(connection)
            expires_at = now + CODE_DAYS * _DAY_S
            case = SupportCase(code, student_number, now, expires_at, kept)
            support_cases.add(connection, case)
            support_cases.forget(connection, expired_before=now)
        return self._case(case, language)

    def recent(self, student_number: str, language: Language) -> Case | None:
        """The case whose code `open` would give out again; None: there is none."""
        found = self._newest(student_number)
        return None if found is None else self._case(found, language)

    def mine(self, code: str, student_number: str, language: Language) -> Case:
        """A student's own case. Raises `UnknownCode` for another's."""
        case = self._find(code)
        if case.student_number != student_number:
            raise UnknownCode
        return self._case(case, language)

    def send(self, code: str, language: Language, post: Post) -> Case:
        """Send a case to its desk, as shown in this language.

        Repeating it is harmless: the desk gets one message.

        Raises:
            UnknownCode: there is none.
            MailServerDown, MailRefused: it was not sent; retry.
        """
        case = self._case(self._find(code), language)
        if case.sent:
            return case
        post.send(self._message(case))
        with self._database.write() as connection:
            now = self._database.now(connection)
            support_cases.sent(connection, case.bundle.code, case.desk.name, now=now)
        return Case(case.bundle, case.desk, sent=True)

    def look(self, code: str, language: Language, *, actor: str) -> tuple[Case, Diagnosis]:
        """The case as it was found, and the present findings, for the desk; audited. Raises `UnknownCode`."""
        found = self._find(code)
        with self._database.write() as connection:
            detail = {"code": found.code, "student_number": found.student_number}
            audit.note(connection, self._database, actor=actor, action="support.look", detail=detail)
        now = diagnose(self._site, found.student_number, look_s_max=self._look_s_max)
        return self._case(found, language), now

    def _newest(self, student_number: str) -> SupportCase | None:
        with self._database.read() as connection:
            since = self._database.now(connection) - AGAIN_S
            return support_cases.newest(connection, student_number, opened_after=since)

    def _find(self, code: str) -> SupportCase:
        with self._database.read() as connection:
            now = self._database.now(connection)
            found = support_cases.find(connection, codes.read_code(code), now=now)
        if found is None:
            raise UnknownCode
        return found

    def _case(self, case: SupportCase, language: Language) -> Case:
        """The stored case; its desk is that of the causes found then."""
        bundle = _kept(case).said_in(language)
        desk = desk_for(self._settings, bundle.causes, bundle.components, bundle.language)
        return Case(bundle, desk, sent=case.sent_at is not None)

    def _message(self, case: Case) -> EmailMessage:
        sender = self._settings.portal.sender
        message = EmailMessage(policy=SMTP)
        message["From"] = sender
        message["To"] = case.desk.mail
        message["Subject"] = case.bundle.subject
        message["Date"] = format_datetime(case.bundle.taken_at)
        message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834
        message.set_content(case.text, cte="quoted-printable")
        return message


def _kept(case: SupportCase) -> _Kept:
    return _Kept.model_validate_json(case.bundle)
