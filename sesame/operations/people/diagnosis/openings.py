"""What would open a student's services: the smallest change, tried on the registry's own rules.

Each open point is a change that a person can make: pay the fees, validate an enrolment, lift a hold. All of
them together are applied to what the registry knows, the account is merged as the registry would, and each
change is left out again if the service opens without it. What remains is enough, and nothing less is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from functools import cache, partial
from typing import Final

from consumers.moodle import NAME as MOODLE
from consumers.moodle.intent import pending_of
from consumers.registry.account import Known, merge
from consumers.registry.lifecycle.stages import Lifecycle
from schemas.account import Account, Administrative, Enrolment, Hold, Pedagogical, Stage


class OpeningStep(StrEnum):
    """What a person can change, the student's own steps first; the words are in `words.toml`."""

    PASSWORD = "password"  # noqa: S105 (a token)
    ACTIVATE = "activate"
    PAY = "pay"
    ENROL = "enrol"
    VALIDATE = "validate"
    VALIDATE_COURSES = "validate_courses"
    IDENTIFY = "identify"
    LIFT = "lift"

    @property
    def who(self) -> str:
        """Who makes the change: a token of `who`."""
        return _WHO.get(self, "student")


_WHO: Final[Mapping[OpeningStep, str]] = {
    OpeningStep.VALIDATE: "registrar",
    OpeningStep.VALIDATE_COURSES: "component",
    OpeningStep.IDENTIFY: "registrar",
    OpeningStep.LIFT: "desk",
}
_LIFTS: Final[Mapping[Hold, OpeningStep]] = {
    Hold.STOLEN_PASSWORDS: OpeningStep.PASSWORD,
    Hold.TECHNICAL: OpeningStep.IDENTIFY,
}
_MAKES: Final = {
    Administrative.AWAITING_PAYMENT: OpeningStep.PAY,
    Administrative.PENDING: OpeningStep.VALIDATE,
}


@dataclass(frozen=True)
class OpeningChange:
    """One change. `enrolment`: the one that it concerns; `hold`: the one that it lifts."""

    step: OpeningStep
    enrolment: Enrolment | None = None
    hold: Hold | None = None

    def applied(self, known: Known, today: date) -> Known:
        """What the registry knows once the change is made."""
        person, mine = known.person, self.enrolment
        match self.step:
            case OpeningStep.PASSWORD | OpeningStep.IDENTIFY | OpeningStep.LIFT:
                return replace(known, person=replace(person, holds=person.holds - {self.hold}))
            case OpeningStep.ACTIVATE:
                return replace(known, person=replace(person, activated_at=0.0))
            case OpeningStep.ENROL:
                return replace(known, enrolments=(*known.enrolments, _new(today)))
            case OpeningStep.VALIDATE_COURSES:
                changes: dict[str, object] = {"pedagogical": Pedagogical.VALIDATED}
            case _:
                changes = {"administrative": Administrative.IN_FORCE}
        made = tuple(
            each.model_copy(update=changes) if mine is not None and each.key == mine.key else each
            for each in known.enrolments
        )
        return replace(known, enrolments=made)


def smallest(
    known: Known, targets: Sequence[str], lifecycle: Lifecycle, today: date
) -> dict[str, tuple[OpeningChange, ...]]:
    """The changes that open each target, in the order in which they are made.

    A target that is open, or that no change opens, is left out; one in grace is not open for good.
    """
    changes = sorted(_open_points(known), key=lambda each: list(OpeningStep).index(each.step))

    before = known.previous
    stays = before is not None and before.stage is Stage.GRACE and before.access_open

    @cache  # targets share most of what is tried
    def account_after(made: tuple[OpeningChange, ...]) -> Account:
        then = known
        for change in made:
            then = change.applied(then, today)
        return merge(then, lifecycle, today)

    def opened(target: str, made: Sequence[OpeningChange]) -> bool:
        account = account_after(tuple(made)).at(target)
        all_given = target != MOODLE or pending_of(account) is None
        return account.access_open and all_given and not (stays and account.stage is Stage.GRACE)

    found: dict[str, tuple[OpeningChange, ...]] = {}
    for target in targets if changes else ():
        if not opened(target, ()) and opened(target, changes):
            found[target] = _needed(changes, partial(opened, target))
    return found


def _needed(
    changes: Sequence[OpeningChange], opens: Callable[[Sequence[OpeningChange]], bool]
) -> tuple[OpeningChange, ...]:
    """Leave out what is not needed, the least preferred first."""
    kept = list(changes)
    for change in reversed(changes):
        without = [each for each in kept if each is not change]
        if opens(without):
            kept = without
    return tuple(kept)


def _open_points(known: Known) -> Iterator[OpeningChange]:
    person, previous = known.person, known.previous
    for hold in sorted(person.holds):
        yield OpeningChange(_LIFTS.get(hold, OpeningStep.LIFT), hold=hold)
    if person.activated_at is None:
        yield OpeningChange(OpeningStep.ACTIVATE)
    for each in known.enrolments:
        if each.administrative in _MAKES:
            yield OpeningChange(_MAKES[each.administrative], each)
        if each.pedagogical is not Pedagogical.VALIDATED:
            yield OpeningChange(OpeningStep.VALIDATE_COURSES, each)
    ended = previous is not None and previous.stage in (Stage.GRACE, Stage.EXPIRED)
    if not known.enrolments or (
        ended and not any(each.administrative in _MAKES for each in known.enrolments)
    ):
        yield OpeningChange(OpeningStep.ENROL)


def _new(today: date) -> Enrolment:
    """Any enrolment in force: which one it will be is the registrar's to say."""
    return Enrolment(
        year=today.year,
        step="*",
        step_version="*",
        step_label="*",
        component="*",
        administrative=Administrative.IN_FORCE,
        pedagogical=Pedagogical.VALIDATED,
    )
