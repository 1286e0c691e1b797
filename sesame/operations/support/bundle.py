"""What support needs to know, in one text, and the desk that it goes to.

It is shown to the student first, and sent as it was shown, to the desk of its causes and of their component.
Number, time, steps, exact errors, states, trace ids. Not in it: passwords and codes (nobody here has them),
names, birth date, personal mail, and anything of others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict

from schemas.language import Language
from schemas.typography import spaced
from sesame.login.cas_logins import CasLogin
from sesame.operations.acts import utc, utc_or_none
from sesame.operations.diagnosis.engine import Diagnosis, StudentCause
from sesame.operations.diagnosis.rules.base import all_rules
from sesame.operations.diagnosis.situation import Situation
from sesame.operations.support.support_cases import shown_code
from sesame.settings import Settings

_GRAVITY = ("stops", "delays", "tells")


@dataclass(frozen=True)
class SupportDesk:
    """The desk that a case goes to, with its opening hours (empty: not said) and the time zone it reads."""

    name: str
    mail: str
    hours: str = ""
    timezone: str = "Europe/Paris"


def desk_for(
    settings: Settings, causes: Sequence[StudentCause], components: Collection[str], language: Language
) -> SupportDesk:
    """The desk for the gravest cause: one that names it, else one for any cause.

    Args:
        components: codes of the student's components.
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
    """What a desk may name of a cause: the rule, the service, who must act."""
    rule = all_rules().get(cause.rule)  # a case of another version of the program
    return frozenset({cause.rule, cause.service, rule.who if rule is not None else ""})


def _names(wanted: Sequence[str], found: Collection[str]) -> bool:
    return not wanted or not set(wanted).isdisjoint(found)


SAID_MAX = 2_000
FACTS_MAX = 3
"""Of the last facts about the student, so many are named: they find the case in logs and events."""


class Step(BaseModel):
    """Something that happened, and when."""

    model_config = ConfigDict(frozen=True)

    at: AwareDatetime
    what: str


class ServiceState(BaseModel):
    """A service as the pipeline has it; `version`: the newest that was read back there."""

    model_config = ConfigDict(frozen=True)

    service: str
    state: str
    reason: str | None
    version: int
    since: AwareDatetime | None


class Bundle(BaseModel):
    """A case as it was found, and as it is sent.

    Attributes:
        said: what the student wrote: the exact message, what was tried.
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
    said: str
    causes: tuple[StudentCause, ...]
    unseen: tuple[str, ...]
    states: tuple[ServiceState, ...]
    steps: tuple[Step, ...]
    errors: tuple[str, ...]
    traces: tuple[str, ...]

    @property
    def subject(self) -> str:
        """Of the message: the code and the causes, nothing personal."""
        rules = ", ".join(dict.fromkeys(cause.rule for cause in self.causes[:3]))
        return f"[Sésame] {shown_code(self.code)} {rules}".rstrip()

    def text(self, desk: SupportDesk) -> str:
        """The whole message, as it is shown and sent. In French: desks read it."""
        return "\n".join(_lines(self, desk)) + "\n"


def bundle_of(diagnosis: Diagnosis, *, code: str, language: Language, said: str = "") -> Bundle:
    """The bundle of what was found."""
    situation = diagnosis.situation
    seen = diagnosis.for_student(language)
    return Bundle(
        code=code,
        student_number=situation.number,
        login=situation.account.login if situation.account is not None else None,
        components=_components(situation),
        taken_at=situation.now,
        language=language,
        said=said.strip()[:SAID_MAX],
        causes=seen.causes,
        unseen=tuple(sorted(situation.live.unseen)),
        states=tuple(_states(situation)),
        steps=tuple(sorted(_steps(situation), key=lambda step: step.at)),
        errors=tuple(dict.fromkeys(_errors(situation))),
        traces=tuple(dict.fromkeys(_traces(situation))),
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


def _steps(s: Situation) -> Iterator[Step]:
    account = s.account
    moments: list[tuple[datetime | None, str]] = [
        (s.requested_at, "activation demandée"),
        (account.activated_at if account is not None else None, "compte activé"),
        *_logins(s.login),
        *((utc(each.recorded_at), f"{each.consumer} : abandonné ({each.cause})") for each in s.letters),
        *((utc(each.first_at), f"{name} : {each.cause}") for name, each in s.parked.items()),
    ]
    targets = s.status.targets if s.status is not None else ()
    moments += [(target.since, f"{target.target} : {target.state}") for target in targets]
    for at, what in moments:
        if at is not None:
            yield Step(at=at, what=spaced(what))


def _logins(login: CasLogin | None) -> Iterator[tuple[datetime | None, str]]:
    if login is not None:
        yield (utc_or_none(login.seen_at), "première connexion CAS vue")
        yield (utc_or_none(login.failed_at), f"retour de CAS sans succès ({login.failure})")


def _errors(s: Situation) -> Iterator[str]:
    for letter in s.letters:
        yield f"{letter.consumer} {letter.cause}: {letter.message}"
    for name, parked in s.parked.items():
        yield f"{name} {parked.cause} (x{parked.attempts}): {parked.message}"
    for name, why in sorted(s.live.unseen.items()):
        yield f"{name}: {why}"


def _traces(s: Situation) -> Iterator[str]:
    for letter in s.letters:
        yield f"lettre {letter.id[:12]}"
        if letter.event_id is not None:
            yield f"évènement {letter.event_id}"
    for parked in s.parked.values():
        yield f"évènement {parked.event_id}"
    for fact in s.person.recent_facts[-FACTS_MAX:] if s.person is not None else ():
        yield f"évènement {fact}"


def _lines(b: Bundle, desk: SupportDesk) -> Iterator[str]:
    zone = ZoneInfo(desk.timezone)
    yield f"Dossier {shown_code(b.code)}, pour {desk.name}" + (f" ({desk.hours})" if desk.hours else "")
    who = f", identifiant : {b.login}" if b.login else ""
    yield spaced(f"Numéro d'étudiant : {b.student_number}{who}")
    if b.components:
        yield spaced(f"Composante : {', '.join(b.components)}")
    yield spaced(
        f"Constaté : {_time(b.taken_at, zone)} (heure de {desk.timezone}), langue de la page : {b.language}"
    )
    yield from _block("Ce que dit l'étudiant", b.said.splitlines())
    yield from _block("Causes", [spaced(f"{c.rule} ({c.service}, {c.who}) : {c.cause}") for c in b.causes])
    yield from _block("Services non observés", b.unseen)
    yield from _block("États", [_state(each, zone) for each in b.states])
    yield from _block("Étapes", [f"{_time(step.at, zone)}  {step.what}" for step in b.steps])
    yield from _block("Erreurs exactes", b.errors)
    yield from _block("Traces", b.traces)


def _block(title: str, lines: Any) -> Iterator[str]:
    if lines:
        yield ""
        yield spaced(f"{title} :")
        yield from (f"  {line}" for line in lines)


def _state(each: ServiceState, zone: ZoneInfo) -> str:
    since = f", depuis {_time(each.since, zone)}" if each.since is not None else ""
    reason = f" ({each.reason})" if each.reason else ""
    return spaced(f"{each.service} : {each.state}{reason}, version {each.version}{since}")


def _time(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%d/%m/%Y %H:%M:%S}"
