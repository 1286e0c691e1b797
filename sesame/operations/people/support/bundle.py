"""A support case as one text, and the desk that it goes to.

The student sees it first; it is sent unchanged to the desk of its causes and of their component. It has the
number, time, steps, exact errors, states and trace ids; no passwords or codes (Sésame has none), names, birth
date or personal mail, and nothing of others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict

from schemas.codes import shown_code
from schemas.language import Language, written_time
from schemas.typography import spaced
from sesame.acts.acts import utc, utc_or_none
from sesame.login.cas_logins import CasLogin
from sesame.operations.people.diagnosis.engine import Diagnosis, StudentCause
from sesame.operations.people.diagnosis.reasons import explanation
from sesame.operations.people.diagnosis.rules.base import all_rules
from sesame.operations.people.diagnosis.situation import Situation
from sesame.operations.people.diagnosis.words import glossary, word
from sesame.settings import Settings

_GRAVITY = ("stops", "delays", "tells")


@dataclass(frozen=True)
class SupportDesk:
    """A support desk, with its opening hours (empty: unknown) and its time zone."""

    name: str
    mail: str
    hours: str = ""
    timezone: str = "Europe/Paris"


def desk_for(
    settings: Settings, causes: Sequence[StudentCause], components: Collection[str], language: Language
) -> SupportDesk:
    """The desk for the gravest cause: one that names it, else one for any cause.

    `components`: codes of the student's components.
    """
    lead = min(causes, key=lambda cause: _GRAVITY.index(cause.weight), default=None)
    about = _about(lead) if lead is not None else frozenset[str]()
    fitting = [
        desk
        for desk in settings.support.desks
        if _names(desk.causes, about) and _names(desk.components, components)
    ]
    best = max(fitting, key=lambda desk: bool(desk.causes) + bool(desk.components), default=None)
    if best is None:
        name = "Assistance" if language == "fr" else "Support desk"
        return SupportDesk(name, settings.portal.support, timezone=settings.portal.timezone)
    hours = (best.hours_en or best.hours) if language == "en" else best.hours
    return SupportDesk(best.name, best.mail, hours, settings.portal.timezone)


def _about(cause: StudentCause) -> frozenset[str]:
    """A cause's names for a desk's settings: rule, service, responsible party."""
    rule = all_rules().get(cause.rule)  # a case of another version of the program
    return frozenset({cause.rule, cause.service, rule.who if rule is not None else ""})


def _names(wanted: Sequence[str], found: Collection[str]) -> bool:
    return not wanted or not set(wanted).isdisjoint(found)


SAID_MAX = 2_000
FACTS_MAX = 3
"""Last facts about the student that are named, to find the case in the logs."""


class Step(BaseModel):
    """An event, and its time."""

    model_config = ConfigDict(frozen=True)

    at: AwareDatetime
    what: str


class ServiceState(BaseModel):
    """A service's state in the pipeline; `version`: the newest one observed there."""

    model_config = ConfigDict(frozen=True)

    service: str
    state: str
    reason: str | None
    version: int
    since: AwareDatetime | None


class Bundle(BaseModel):
    """A case as found, and as sent, in one language.

    Attributes:
        language: of its words.
        page_language: of the page that the student reads.
        said: the student's text: the exact message, what was tried.
        errors: exact messages, of the pipeline's and of the servers'.
        traces: ids that find the case in logs and events.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    student_number: str
    login: str | None
    components: tuple[str, ...]
    taken_at: AwareDatetime
    language: Language
    page_language: Language
    said: str
    causes: tuple[StudentCause, ...]
    unseen: tuple[str, ...]
    states: tuple[ServiceState, ...]
    steps: tuple[Step, ...]
    errors: tuple[str, ...]
    traces: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The message's subject: the code and the causes, nothing personal."""
        rules = ", ".join(dict.fromkeys(cause.rule for cause in self.causes[:3]))
        return f"[Sésame] {shown_code(self.code)} {rules}".rstrip()

    def text(self, desk: SupportDesk) -> str:
        """The whole message, as it is shown and sent."""
        return "\n".join(_lines(self, desk)) + "\n"


def bundle_of(
    diagnosis: Diagnosis, *, code: str, language: Language, page_language: Language, said: str = ""
) -> Bundle:
    """Bundle a diagnosis in this language."""
    situation = diagnosis.situation
    seen = diagnosis.for_student(language)
    return Bundle(
        code=code,
        student_number=situation.number,
        login=situation.account.login if situation.account is not None else None,
        components=_components(situation),
        taken_at=situation.now,
        language=language,
        page_language=page_language,
        said=said.strip()[:SAID_MAX],
        causes=seen.causes,
        unseen=tuple(sorted(situation.live.unseen)),
        states=tuple(_states(situation)),
        steps=tuple(sorted(_steps(situation, language), key=lambda step: step.at)),
        errors=tuple(dict.fromkeys(_errors(situation))),
        traces=tuple(dict.fromkeys(_traces(situation, language))),
    )


def _components(s: Situation) -> tuple[str, ...]:
    enrolments = s.account.enrolments if s.account is not None else ()
    return tuple(dict.fromkeys(enrolment.component for enrolment in enrolments))


def _states(s: Situation) -> Iterator[ServiceState]:
    for target in s.status.targets if s.status is not None else ():
        yield ServiceState(
            service=target.target,
            state=target.state,
            reason=target.reason,
            version=target.version,
            since=target.since,
        )


def _steps(s: Situation, language: Language) -> Iterator[Step]:
    account, targets = s.account, s.status.targets if s.status is not None else ()
    moments: list[tuple[datetime | None, str]] = [
        (s.requested_at, _in(language, "activation_requested")),
        (account.activated_at if account is not None else None, _in(language, "activated")),
        *_logins(s.login, language),
    ]
    for each in s.letters:
        what = _in(language, "given_up", service=_service(each.consumer, language), why=each.cause)
        moments.append((utc(each.recorded_at), what))
    for name, parked in s.parked.items():
        what = _in(language, "parked", service=_service(name, language), why=parked.cause)
        moments.append((utc(parked.first_at), what))
    for target in targets:
        state = word("states", target.state, language)
        what = _in(language, "parked", service=_service(target.target, language), why=state)
        moments.append((target.since, what))
    for at, what in moments:
        if at is not None:
            yield Step(at=at, what=what)


def _logins(login: CasLogin | None, language: Language) -> Iterator[tuple[datetime | None, str]]:
    if login is not None:
        yield (utc_or_none(login.seen_at), _in(language, "login_seen"))
        yield (utc_or_none(login.failed_at), _in(language, "login_failed", why=login.failure))


def _errors(s: Situation) -> Iterator[str]:
    for letter in s.letters:
        yield f"{letter.consumer} {letter.cause}: {letter.message}"
    for name, parked in s.parked.items():
        yield f"{name} {parked.cause} (x{parked.attempts}): {parked.message}"
    for name, why in sorted(s.live.unseen.items()):
        yield f"{name}: {why}"


def _traces(s: Situation, language: Language) -> Iterator[str]:
    for letter in s.letters:
        yield _in(language, "letter", id=letter.id[:12])
        if letter.event_id is not None:
            yield _in(language, "event", id=letter.event_id)
    for parked in s.parked.values():
        yield _in(language, "event", id=parked.event_id)
    for fact in s.person.recent_facts[-FACTS_MAX:] if s.person is not None else ():
        yield _in(language, "event", id=fact)


def _lines(b: Bundle, desk: SupportDesk) -> Iterator[str]:
    language, zone = b.language, ZoneInfo(desk.timezone)
    hours = f" ({desk.hours})" if desk.hours else ""
    yield _in(language, "head", code=shown_code(b.code), desk=desk.name) + hours
    login = _in(language, "login", login=b.login) if b.login else ""
    yield _in(language, "number", number=b.student_number) + login
    if b.components:
        yield _in(language, "component", names=", ".join(b.components))
    page = word("languages", b.page_language, language)
    yield _in(language, "found", at=_time(b.taken_at, b, zone), zone=desk.timezone, page=page)
    yield from _block(b, "said", b.said.splitlines())
    yield from _block(b, "causes", [_cause(each, language) for each in b.causes])
    yield from _block(b, "unseen", [_service(name, language) for name in b.unseen])
    yield from _block(b, "states", [_state(each, b, zone) for each in b.states])
    yield from _block(b, "steps", [f"{_time(step.at, b, zone)}  {step.what}" for step in b.steps])
    yield from _block(b, "errors", b.errors)
    yield from _block(b, "traces", b.traces)


def _block(b: Bundle, title: str, lines: Collection[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield _in(b.language, title)
        yield from (f"  {line}" for line in lines)


def _cause(each: StudentCause, language: Language) -> str:
    service = each.service_name
    return _in(language, "cause", rule=each.rule, service=service, who=each.who, cause=each.cause)


def _state(each: ServiceState, b: Bundle, zone: ZoneInfo) -> str:
    state, why = word("states", each.state, b.language), _reason(each.reason, b.language)
    if why and why != state:
        state += _in(b.language, "reason", reason=why)
    since = _in(b.language, "since", at=_time(each.since, b, zone)) if each.since is not None else ""
    service = _service(each.service, b.language)
    return _in(b.language, "state", service=service, state=state, version=each.version) + since


def _reason(token: str | None, language: Language) -> str:
    """Why a service is in its state: a reason, its consumer's state, or its leader."""
    known = explanation(token)
    if known is not None:
        return known.words[language].what.rstrip(".")
    kind = "services" if token in glossary()["services"] else "states"
    return word(kind, token or "", language)


def _service(name: str, language: Language) -> str:
    return word("services", name, language)


def _in(language: Language, token: str, /, **fields: object) -> str:
    text = word("case", token, language).format(**fields)
    return spaced(text) if language == "fr" else text


def _time(at: datetime, b: Bundle, zone: ZoneInfo) -> str:
    return written_time(at.astimezone(zone), b.language)
