"""Run every rule on a student's situation; show what holds, the gravest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from consumers.registry.lifecycle.stages import Lifecycle
from schemas.language import Language, gettext, spoken
from schemas.typography import day, spaced
from sesame.acts.acts import DESK, Actor, Report, act, shown_one
from sesame.acts.ports import Diagnosable
from sesame.operations.people.diagnosis.live import LOOK_S_MAX, LiveChecks
from sesame.operations.people.diagnosis.openings import OpeningChange
from sesame.operations.people.diagnosis.rules import Finding, all_rules
from sesame.operations.people.diagnosis.rules.base import judges
from sesame.operations.people.diagnosis.situation import Situation, gather
from sesame.operations.people.diagnosis.words import word

ALL_SEEMS_WELL, PARTLY_SEEN = "all_seems_well", "partly_seen"


class StudentCause(BaseModel):
    """One cause, in the student's words: nothing of others, nothing internal.

    Attributes:
        rule, service, weight: tokens; `weight` is stops, delays or tells.
        symptoms: what students complain of.
        who: who must act; `delay`: how long it takes then.
        leads_to: the page's link under the cause: password, activation, login, desk, or nothing.
    """

    model_config = ConfigDict(frozen=True)

    rule: str
    service: str
    weight: str
    service_name: str
    symptoms: tuple[str, ...]
    cause: str
    who: str
    todo: str
    delay: str
    since: AwareDatetime | None = None
    leads_to: str | None = None

    @property
    def somebody_acts(self) -> bool:
        """Whether someone has to act."""
        return all_rules()[self.rule].who != "nobody"


class EvidencedCause(StudentCause):
    """One cause with its evidence, for the support desk. May be personal.

    `evidence`: by tokens, whose words are in `words.toml`.
    """

    evidence: Mapping[str, Any]


class DiagnosisReport(Report):
    """All findings about one student, in one language, with the evidence.

    Attributes:
        live: whether the servers were queried.
        unseen: why a service could not be looked at, by service.
    """

    student_number: str
    looked_at: AwareDatetime
    live: bool
    unseen: Mapping[str, str]
    findings: tuple[EvidencedCause, ...]
    openings: tuple[StudentOpening, ...]


class DiagnosisRequest(BaseModel):
    """Request of a diagnosis; `live`: query the servers too."""

    student_number: str
    live: bool = True


class StudentOpening(BaseModel):
    """The smallest change that opens some services, in the student's words.

    Attributes:
        services, steps: tokens; the steps in order.
        who: who makes the change.
        head: the first step, as what remains to be done.
        condition: all steps, after "as soon as".
    """

    model_config = ConfigDict(frozen=True)

    services: tuple[str, ...]
    steps: tuple[str, ...]
    who: tuple[str, ...]
    head: str
    condition: str


class StudentDiagnosis(BaseModel):
    """A student's view of the findings, and what would open what is shut.

    `unseen`: names of services that could not be looked at just now.
    """

    model_config = ConfigDict(frozen=True)

    student_number: str
    looked_at: AwareDatetime
    causes: tuple[StudentCause, ...]
    openings: tuple[StudentOpening, ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """The findings about one student. `live`: whether the servers were queried."""

    situation: Situation
    findings: tuple[Finding, ...]
    live: bool

    def for_student(self, language: Language) -> StudentDiagnosis:
        """The part that the student sees."""
        return StudentDiagnosis(
            student_number=self.situation.number,
            looked_at=self.situation.now,
            causes=tuple(_cause(self.situation, finding, language) for finding in self.findings),
            openings=tuple(_openings(self.situation, language)),
            unseen=tuple(
                self.situation.service(name, language) for name in sorted(self.situation.live.unseen)
            ),
        )

    def report(self) -> DiagnosisReport:
        """Everything, with the evidence: for the support desk, in the current language."""
        said = self.for_student(spoken())
        return DiagnosisReport(
            student_number=self.situation.number,
            looked_at=self.situation.now,
            live=self.live,
            unseen=self.situation.live.unseen,
            findings=tuple(
                EvidencedCause(**cause.model_dump(), evidence=finding.evidence)
                for cause, finding in zip(said.causes, self.findings, strict=True)
            ),
            openings=said.openings,
        )


@act("diagnose", DESK, shows=lambda found, asked: shown_one(asked.student_number, live=found.live))
def show(site: Diagnosable, _actor: Actor, request: DiagnosisRequest) -> DiagnosisReport:
    """Diagnose a student's problems, with the evidence; audited."""
    return diagnose(site, request.student_number, live=request.live).report()


def diagnose(
    site: Diagnosable, number: str, *, live: bool = True, look_s_max: float = LOOK_S_MAX
) -> Diagnosis:
    """Diagnose one student.

    Args:
        live: also query the servers, which takes seconds; else read only the store.
        look_s_max: wait for all servers together at most so long.
    """
    situation = gather(
        site.database,
        number,
        targets=site.settings.targets,
        follows=site.follows,
        uses_cas=site.settings.cas.server_url is not None,
        uses_sms=site.settings.sms.url is not None,
        titles=site.settings.titles,
        components=site.settings.support.components,
        lifecycle=Lifecycle(site.settings.registry, site.settings.lifecycle),
        esi=site.settings.esi_rules,
    )
    looks = live and situation.account is not None and situation.account.activated_at is not None
    if looks and situation.account is not None:
        situation = replace(situation, live=LiveChecks(site, look_s_max=look_s_max).look(situation.account))
    return Diagnosis(situation, tuple(judge(situation, live=looks)), live=looks)


def judge(situation: Situation, *, live: bool) -> list[Finding]:
    """Every rule that holds, in the order of `words.toml`."""
    order = {name: place for place, name in enumerate(all_rules())}
    found = [finding for each in judges().values() for finding in each(situation)]
    found.sort(key=lambda finding: order[finding.rule])
    return [*found, *_nothing(situation, found, live=live)]


def _nothing(situation: Situation, found: list[Finding], *, live: bool) -> Iterator[Finding]:
    """The last resort: the servers were queried, and nothing was found. All may still not be well."""
    if not live or situation.open is None or found:
        return
    unseen = sorted(situation.live.unseen)
    rule = PARTLY_SEEN if unseen else ALL_SEEMS_WELL
    yield Finding(rule, "account", {"could not be seen": ", ".join(unseen) or gettext("nothing")})


def _cause(situation: Situation, finding: Finding, language: Language) -> StudentCause:
    rule, service = all_rules()[finding.rule], situation.service(finding.service, language)
    said = {
        name: value if isinstance(value, str) else day(value, language)
        for name, value in finding.words.items()
    } | {"service": service}
    sentence = rule.sentences[language]
    return StudentCause(
        rule=rule.name,
        service=finding.service,
        weight=rule.weight,
        service_name=service,
        symptoms=tuple(_set(word("symptoms", token, language), language) for token in rule.symptoms),
        cause=_set(_filled(sentence.cause, said), language),
        who=_set(word("who", rule.who, language), language),
        todo=_set(_filled(sentence.todo, said), language),
        delay=_set(word("delay", rule.delay, language), language),
        since=finding.since,
        leads_to=rule.leads_to,
    )


def _openings(situation: Situation, language: Language) -> Iterator[StudentOpening]:
    """What opens the services, those with the same changes together."""
    together: dict[tuple[OpeningChange, ...], list[str]] = {}
    for service, changes in situation.changes.items():
        together.setdefault(changes, []).append(service)
    account = situation.account
    several = account is not None and len(account.enrolments) > 1
    for changes, services in together.items():
        conditions = []
        for change in changes:
            mine = change.enrolment
            which = {
                "step": f" ({mine.step_label})" if mine is not None and several else "",
                "component": situation.component(mine.component) if mine is not None else "",
            }
            conditions.append(_filled(word("conditions", change.step, language), which))
        yield StudentOpening(
            services=tuple(services),
            steps=tuple(change.step for change in changes),
            who=tuple(
                dict.fromkeys(_set(word("who", each.step.who, language), language) for each in changes)
            ),
            head=_set(word("heads", changes[0].step, language), language),
            condition=_set(word("conditions", "and", language).join(conditions), language),
        )


def _set(text: str, language: Language) -> str:
    return spaced(text) if language == "fr" else text


def _filled(text: str, words: dict[str, str]) -> str:
    """A sentence with its values filled in, once: braces in a value mean nothing."""
    parts = text.split("{")
    done = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}")
        done.append(words[name] + rest)
    return "".join(done)
