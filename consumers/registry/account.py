"""The merge: a person, their enrolments, the settings and the day make one account. Pure.

**Enrolments.** Cancelled ones are left out, and so are those that have ended, by their own last day or with
their academic year by the settings' rule; both take their cohorts and groups with them.

**Stage.** Precreated until the student has activated *and* an enrolment is in force; an earlier activation is
kept (`activated_at`), and the targets show it waiting for the administrative enrolment. `lifecycle.stages`
says what follows the last enrolment; a new one in force makes the account active again. The canary's, once
reset, is expired and has no enrolment until the next activation.

**Cohorts and groups.** One per enrolment and template; several enrolments that give one key (a step in two
versions) give one membership. It is met when the requirement of its template is: the administrative one by an
enrolment in force, the pedagogical one by an enrolment in force whose pedagogical state is validated. An
unmet one requires what is missing first: without an enrolment in force, the administrative one.

A template of teachings gives one per teaching unit or group, met as soon as any enrolment of that year meets
its requirement. Without an enrolment of the year there is none: teachings come and go with the enrolments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from consumers.registry.lifecycle.stages import Lifecycle, LifeStage
from consumers.registry.people import KnownPerson, Names
from consumers.registry.settings import (
    COHORT_FIELDS,
    GRACE_AFFILIATIONS,
    STUDENT_AFFILIATIONS,
    MembershipTemplate,
    RegistrySettings,
)
from consumers.registry.teachings import HeldTeaching
from schemas.account import Account, Enrolment, Membership, Pedagogical, Person, Requirement, Stage

_LANGUAGE: Final = "fr"
"""Language of students who chose none and for whom the registrar has none."""
_NOT_RESET: Final = (Stage.PRECREATED, Stage.ERASED)
"""Stages of an account that is not activated without the canary's reset."""


@dataclass(frozen=True)
class Known:
    """All inputs of an account.

    Attributes:
        mails: every address of the student, the account's own included.
        previous: the newest account so far.
        shown_number: see `Account.shown_number`.
        completed, held, erasing, gone: see `Lifecycle.life_of`.
    """

    person: KnownPerson
    names: Names
    mails: tuple[str, ...]
    enrolments: tuple[Enrolment, ...]
    previous: Account | None = None
    teachings: tuple[HeldTeaching, ...] = ()
    shown_number: str | None = None
    short_login: str | None = None
    completed: bool = False
    held: bool = False
    erasing: bool = False
    gone: bool = False


def merge(known: Known, lifecycle: Lifecycle, today: date) -> Account:
    """Today's account under the next version number; lane and window are set later."""
    person, previous, settings = known.person, known.previous, lifecycle.registry
    shut = _shut_by_reset(known)
    current = [] if shut is not None else current_enrolments(known.enrolments, settings, today)
    in_force = [enrolment for enrolment in current if enrolment.in_force]
    if shut is not None:
        life = LifeStage(Stage.EXPIRED, min(shut.valid_until or today, today), {})
    else:
        life = lifecycle.life_of(
            previous,
            in_force,
            today,
            activated=person.activated_at is not None,
            prolonged=max(person.prolongations, default=None),
            completed=known.completed,
            held=known.held,
            erasing=known.erasing,
            gone=known.gone,
        )
    stage, valid_until, stages, opens_on = life
    return Account(
        student_number=person.student_number,
        version=1 if previous is None else previous.version + 1,
        stage=stage,
        holds=person.holds,
        login=known.names.login,
        short_login=known.short_login,
        mail=known.names.mail,
        principal=known.names.principal,
        aliases=tuple(mail for mail in known.mails if mail != known.names.mail),
        mail_redirect=person.mail_redirect,
        person=shown_person(person),
        affiliations=_affiliations(stage, in_force or current, settings),
        entities=tuple(dict.fromkeys(enrolment.component for enrolment in in_force)),
        enrolments=tuple(current),
        groups=memberships(settings.groups, current, known.teachings),
        cohorts=memberships(settings.cohorts, current, known.teachings),
        valid_until=valid_until,
        stages=stages,
        opens_on=opens_on,
        stage_since=_since(previous, stage, today),
        stages_since={
            target: since
            for target, there in stages.items()
            if (since := _since(None if previous is None else previous.at(target), there, today)) is not None
        },
        credential_ref=person.credential_ref,
        activated_at=None
        if person.activated_at is None
        else datetime.fromtimestamp(person.activated_at, UTC),
        shown_number=known.shown_number,
    )


def _shut_by_reset(known: Known) -> Account | None:
    """The account so far, if the canary's reset shuts it."""
    previous = known.previous
    if known.person.activated_at is not None or known.erasing or previous is None:
        return None
    return None if previous.stage in _NOT_RESET else previous


def _since(previous: Account | None, stage: Stage, today: date) -> date | None:
    return previous.stage_since if previous is not None and previous.stage is stage else today


def shown_person(person: KnownPerson) -> Person:
    """A person as targets see them. The student's own choices win over the registrar's."""
    identity = person.identity
    return Person(
        birth_name=identity.birth_name,
        usage_name=identity.usage_name,
        given_name=identity.given_name,
        preferred_given_name=person.preferred_given_name or identity.preferred_given_name,
        language=person.language or identity.language or _LANGUAGE,
    )


def current_enrolments(
    enrolments: Iterable[Enrolment], settings: RegistrySettings, today: date
) -> list[Enrolment]:
    """The enrolments that have not ended, the main one first.

    Order: in force, primary, newest year, then by step. A person with two student numbers may be enrolled
    twice in one step: the enrolment that opens more counts, then the one that ends later.
    """

    def rank(enrolment: Enrolment) -> tuple[bool, bool, int, str, str, bool, int]:
        return (
            not enrolment.in_force,
            not enrolment.primary,
            -enrolment.year,
            enrolment.step,
            enrolment.step_version,
            enrolment.pedagogical is not Pedagogical.VALIDATED,
            -(enrolment.ends_on or date.max).toordinal(),
        )

    current = (each for each in enrolments if (settings.ends_on(each) or date.max) >= today)
    steps: dict[tuple[int, str, str], Enrolment] = {}
    for enrolment in sorted(current, key=rank):
        steps.setdefault(enrolment.key, enrolment)
    return list(steps.values())


def memberships(
    templates: Sequence[MembershipTemplate],
    enrolments: Sequence[Enrolment],
    teachings: Iterable[HeldTeaching] = (),
) -> tuple[Membership, ...]:
    """Cohorts or groups, by key. If several enrolments give one key, the first gives the name."""
    found: dict[str, Membership] = {}
    of_enrolments = [template for template in templates if not template.of_teachings]
    of_teachings = [template for template in templates if template.of_teachings]
    for template, fields, by in (
        *_enrolled(of_enrolments, enrolments),
        *_taught(of_teachings, enrolments, teachings),
    ):
        key = template.key.format(**fields)
        met = any(_meets(template.requires, enrolment) for enrolment in by)
        begun = any(enrolment.in_force for enrolment in by)
        requires = template.requires if begun else Requirement.ADMINISTRATIVE
        known = found.get(key)
        if known is None:
            name = template.name.format(**fields)
            found[key] = Membership(key=key, name=name, requires=requires, met=met)
        elif not known.met and begun:
            found[key] = known.model_copy(update={"met": met, "requires": requires})
    return tuple(found[key] for key in sorted(found))


_Given = tuple[MembershipTemplate, Mapping[str, object], Sequence[Enrolment]]
"""A template, its values, and the enrolments of which one must meet its requirement."""


def _enrolled(templates: Sequence[MembershipTemplate], enrolments: Sequence[Enrolment]) -> Iterator[_Given]:
    for enrolment in enrolments:
        fields = enrolment.model_dump(include=set(COHORT_FIELDS))
        mine = (template for template in templates if enrolment.population in template.populations)
        yield from ((template, fields, [enrolment]) for template in mine)


def _taught(
    templates: Sequence[MembershipTemplate],
    enrolments: Sequence[Enrolment],
    teachings: Iterable[HeldTeaching],
) -> Iterator[_Given]:
    for each in teachings if templates else ():
        of_year = [enrolment for enrolment in enrolments if enrolment.year == each.year]
        fields = {
            "element": each.element,
            "group": each.group,
            "element_label": each.label,
            "year": each.year,
        }
        for template in templates if of_year else ():
            if each.group or "group" not in template.fields:
                yield template, fields, of_year


def _meets(requires: Requirement, enrolment: Enrolment) -> bool:
    validated = enrolment.pedagogical is Pedagogical.VALIDATED
    return enrolment.in_force and (requires is Requirement.ADMINISTRATIVE or validated)


def _affiliations(
    stage: Stage, enrolments: Iterable[Enrolment], settings: RegistrySettings
) -> tuple[str, ...]:
    if stage in (Stage.PRECREATED, Stage.ACTIVE):
        populations = dict.fromkeys(each.population for each in enrolments)
        every = [each for name in populations for each in settings.affiliations(name)]
        return tuple(dict.fromkeys(every)) or STUDENT_AFFILIATIONS
    return GRACE_AFFILIATIONS if stage is Stage.GRACE else ()
