"""An account's stage, the day on which it changes, and what is still to come. Pure; days are UTC's.

Without an enrolment in force an active account is in grace for `grace_days`, then expired. Where the site
erases, a target's data go `days_of` it after the last day of access, and the account itself (the entry that
the others are found by) `account_days` after it, once everything else was read back as gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from consumers.registry.lifecycle.entitlements import TargetVerdict, changes, in_grace, verdict
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.settings import RegistrySettings, day_in
from schemas.account import STUDENT, Account, Enrolment, Stage, is_guests

_ONE_DAY = timedelta(days=1)
RENEWAL_DAYS: Final = 90
"""How much longer a guest stays when the sponsor renews the invitation."""
OPEN: Final = (Stage.ACTIVE, Stage.GRACE)
"""Stages at which access is open, holds apart."""


class Closing(StrEnum):
    """A step that takes something away from a student, under the guard's watch."""

    EXPIRE = "expire"
    ERASE = "erase"
    SHUT = "shut"  # at single targets, while the others stay open


class LifeStage(NamedTuple):
    """An account's stage and last day of access. By target: stages, first days."""

    stage: Stage
    valid_until: date | None
    stages: Mapping[str, Stage]
    opens_on: Mapping[str, date] = MappingProxyType({})


class Milestone(NamedTuple):
    """A change on a day: of one target, or (None) of the account."""

    day: date
    stage: Stage
    target: str | None = None


@dataclass(frozen=True)
class Lifecycle:
    """The life of a site's accounts.

    Attributes:
        registry: when years and graces end.
        rules: what follows.
        services: targets written to that no other one follows: erasable before the account.
    """

    registry: RegistrySettings
    rules: LifecycleSettings = field(default_factory=LifecycleSettings)
    services: tuple[str, ...] = ()

    def life_of(
        self,
        previous: Account | None,
        in_force: Sequence[Enrolment],
        today: date,
        *,
        activated: bool,
        prolonged: date | None = None,
        completed: bool = False,
        held: bool = False,
        erasing: bool = False,
        gone: bool = False,
    ) -> LifeStage:
        """The stage of an account today.

        Args:
            previous: the newest one so far.
            in_force: its enrolments in force; during an erasure, those that came since.
            today: the day, UTC.
            activated: the student has activated it.
            prolonged: the last day of access by a prolongation since the last enrolment.
            completed: all targets were seen to have the newest account.
            held: the guard holds it: nothing may be closed today.
            erasing: a request to erase everything now exists.
            gone: no target has anything left of an erased person: none has to wait for another.
        """
        before = Stage.PRECREATED if previous is None else previous.stage
        until = previous.valid_until if previous is not None else None
        if before is Stage.ERASED and not in_force:
            return LifeStage(before, until, {})
        if in_force:
            return self._enrolled(previous, in_force, today, activated=activated, held=held)
        if previous is None or before is Stage.PRECREATED:
            return LifeStage(Stage.PRECREATED, None, {})
        if erasing:
            until = min(until or today, today)
            if gone:
                return LifeStage(Stage.ERASED, until, {})
            return self._expired(previous, until, today, completed=completed, held=held, now=True)
        if before is Stage.ACTIVE:
            return self._in_grace(previous, self.grace_ends(today, previous.enrolments), held=held)
        if until is not None and prolonged is not None:
            until = max(until, prolonged)
        open_today = until is not None and until >= today
        if open_today or (before is Stage.GRACE and (until is None or held)):
            return self._in_grace(previous, until, held=held)
        if before is Stage.GRACE or until is None:
            return LifeStage(Stage.EXPIRED, until, _shut_before_grace(previous))
        return self._expired(previous, until, today, completed=completed, held=held)

    def timeline(self, account: Account) -> list[Milestone]:
        """The changes by time alone, in order: each step with its first day."""
        until, steps = account.valid_until, list[Milestone]()
        if account.activated_at is None:
            return []
        if until is None:  # no end is known
            named = self.given if account.stage is Stage.ACTIVE else ()
            steps = [step for name in named for step in self._entitled_steps(name, account, date.max)]
            return sorted(steps, key=lambda step: step.day)
        if account.stage is Stage.ACTIVE:
            begins = until + _ONE_DAY
            steps = [Milestone(begins, Stage.GRACE)]
            steps += [step for name in self.given for step in self._entitled_steps(name, account, begins)]
            until = self.grace_ends(begins, account.enrolments)
        if account.stage in (Stage.ACTIVE, Stage.GRACE):
            steps.append(Milestone(until + _ONE_DAY, Stage.EXPIRED))
        elif account.stage is not Stage.EXPIRED:
            return []
        if self.rules.erase:
            gone = erased_at(account)
            steps += [
                Milestone(self._erased_on(until, name), Stage.ERASED, name)
                for name in self.services
                if name not in gone
            ]
            steps.append(Milestone(self._erased_on(until), Stage.ERASED))
        return sorted(steps, key=lambda step: (step.day, step.target is None))

    def prolonged_to(self, account: Account, times: int) -> date | None:
        """The last day of access if prolonged now, after so many `times`. None: not allowed."""
        until = account.valid_until
        if account.stage is not Stage.GRACE or until is None or not self.rules.prolongations_left(times):
            return None
        return until + timedelta(days=self.rules.prolong_days)

    def renewed_to(self, account: Account) -> date | None:
        """A guest's last day if the sponsor renews the invitation. None: not possible."""
        if not is_guests(account.student_number) or account.stage is not Stage.ACTIVE:
            return None
        return account.valid_until and account.valid_until + timedelta(days=RENEWAL_DAYS)

    def warned_of(self, account: Account) -> date | None:
        """The last day of access to warn of: a grace's; of guests, the invitation's."""
        ending = Stage.ACTIVE if is_guests(account.student_number) else Stage.GRACE
        return account.valid_until if account.stage is ending else None

    def first_warning_on(self, until: date, today: date) -> date | None:
        """The first day to warn a student new in grace. Today if the grace is shorter than the settings'."""
        if not self.rules.warn_days or until < today:
            return None
        ahead = [day for day in self._warning_days(until) if day >= today]
        return min(ahead, default=today)

    def next_warning_on(self, until: date, today: date) -> date | None:
        """The day of the warning after today's; None: it was the last."""
        return min((day for day in self._warning_days(until) if day > today), default=None)

    def warnings(self, account: Account, today: date) -> list[date]:
        """The days from today on that bring warnings by time alone; none under a hold."""
        if is_guests(account.student_number):
            until = self.warned_of(account) if account.access_open else None
            return [] if until is None else sorted(day for day in self._warning_days(until) if day >= today)
        ends = next(
            (s.day for s in self.timeline(account) if s.stage is Stage.EXPIRED and not s.target), None
        )
        if ends is None or not account.access_open:
            return []
        until = ends - _ONE_DAY
        if account.stage is Stage.ACTIVE and account.valid_until is not None:
            today = account.valid_until + _ONE_DAY
            day = self.first_warning_on(until, today)
        else:
            day = min((each for each in self._warning_days(until) if each >= today), default=None)
        days = []
        while day is not None:
            days.append(day)
            day = self.next_warning_on(until, day)
        return days

    def _warning_days(self, until: date) -> list[date]:
        return [until - timedelta(days=days) for days in self.rules.warn_days]

    def changes_on(self, account: Account, today: date) -> date | None:
        """The next day on which to look at an account; None: only a fact can change it.

        An account that was never activated touches no target, and waits for its next fact. An overdue one
        (the guard holds it, or a target has not erased yet) is looked at tomorrow.
        """
        if account.activated_at is None:
            return None
        days = [step.day for step in self.timeline(account)]
        if account.stage not in (Stage.EXPIRED, Stage.ERASED):
            ends = {self.registry.ends_on(enrolment) for enrolment in account.enrolments}
            days += [day + _ONE_DAY for day in ends if day is not None]
        return max(min(days), today + _ONE_DAY) if days else None

    def grace_ends(self, begins: date, after: Sequence[Enrolment]) -> date:
        """The last day of a grace that begins on this day.

        Of students, not before that year's juries. `after`: the last enrolments.
        """
        populations = {enrolment.population for enrolment in after} or {STUDENT}
        until = begins + timedelta(days=self.registry.grace_of(populations))
        juries = self.rules.juries_on if STUDENT in populations else None
        return until if juries is None else max(until, day_in(begins.year, juries))

    @property
    def given(self) -> tuple[str, ...]:
        """The targets that entitlements name."""
        return tuple(dict.fromkeys(row.target for row in self.rules.entitlements))

    def entitled(self, target: str, enrolments: Sequence[Enrolment], day: date) -> TargetVerdict:
        """What the enrolments in force among these give of a target on a day."""
        in_force = [enrolment for enrolment in enrolments if enrolment.in_force]
        return verdict(self.rules.entitlements, target, in_force, day)

    def was_entitled(self, target: str, account: Account, today: date) -> bool:
        """Whether these entitlements gave an account a target until yesterday.

        Otherwise it has the target by others: they have changed, or the guard holds it.
        """
        if account.stage is Stage.GRACE:
            return in_grace(self.rules.entitlements, target) is not False
        return self.entitled(target, account.enrolments, today - _ONE_DAY).open

    def given_again(self, account: Account, today: date) -> tuple[Mapping[str, Stage], Mapping[str, date]]:
        """The stages and first days by target that the rows give an open account today."""
        if account.stage is Stage.GRACE:
            return self._in_grace(account, account.valid_until, held=False).stages, {}
        lacking = self._not_entitled(account.enrolments, today)
        return _lacking(account, lacking, held=False), _days(lacking)

    def _not_entitled(self, enrolments: Sequence[Enrolment], today: date) -> dict[str, date | None]:
        """The targets that these do not give today, and the days on which those open."""
        given = {name: self.entitled(name, enrolments, today) for name in self.given}
        return {name: each.opens_on for name, each in given.items() if not each.open}

    @property
    def shut_in_grace(self) -> list[str]:
        """The targets that a row shuts when grace begins."""
        return sorted(name for name in self.given if in_grace(self.rules.entitlements, name) is False)

    def _enrolled(
        self,
        previous: Account | None,
        in_force: Sequence[Enrolment],
        today: date,
        *,
        activated: bool,
        held: bool,
    ) -> LifeStage:
        last_days = [self.registry.ends_on(enrolment) for enrolment in in_force]
        known = [day for day in last_days if day is not None]
        ends_on = max(known) if len(known) == len(last_days) else None
        if not activated:
            return LifeStage(Stage.PRECREATED, ends_on, {})
        lacking = self._not_entitled(in_force, today)
        return LifeStage(Stage.ACTIVE, ends_on, _lacking(previous, lacking, held=held), _days(lacking))

    def _in_grace(self, previous: Account, until: date | None, *, held: bool) -> LifeStage:
        before, rows = _shut_before_grace(previous), self.rules.entitlements
        given = {name: in_grace(rows, name) for name in (*self.given, *before)}
        shut = [name for name, each in given.items() if each is False or (each is None and name in before)]
        return LifeStage(Stage.GRACE, until, _lacking(previous, shut, held=held))

    def _entitled_steps(self, name: str, account: Account, grace_begins: date) -> Iterator[Milestone]:
        """What the rows change of a target until grace begins, and then."""
        rows, is_open = self.rules.entitlements, account.at(name).stage in OPEN
        for day in changes(rows, name, account.enrolments):
            if day < grace_begins and self.entitled(name, account.enrolments, day).open is not is_open:
                is_open = not is_open
                yield Milestone(day, Stage.ACTIVE if is_open else Stage.EXPIRED, name)
        if grace_begins < date.max and is_open and in_grace(rows, name) is False:
            yield Milestone(grace_begins, Stage.EXPIRED, name)

    def _erased_on(self, until: date, target: str | None = None) -> date:
        """The first day on which a target, or (None) the account, is erased."""
        kept = self.rules.account_days if target is None else self.rules.days_of(target)
        return until + timedelta(days=kept + 1)

    def _expired(
        self, previous: Account, until: date, today: date, *, completed: bool, held: bool, now: bool = False
    ) -> LifeStage:
        """`now`: whatever the rules are."""
        before = dict(previous.stages) if previous.stage is Stage.EXPIRED else _shut_before_grace(previous)
        if held or not (self.rules.erase or now):
            return LifeStage(Stage.EXPIRED, until, before)
        due = {name: Stage.ERASED for name in self.services if now or today >= self._erased_on(until, name)}
        if (
            completed
            and erased_at(previous) >= set(self.services)
            and (now or today >= self._erased_on(until))
        ):
            return LifeStage(Stage.ERASED, until, {})
        return LifeStage(Stage.EXPIRED, until, {**before, **due})


def erased_at(account: Account) -> set[str]:
    """The targets where an account is erased already."""
    return {name for name, stage in account.stages.items() if stage is Stage.ERASED}


def shut_at(previous: Account | None, account: Account) -> list[str]:
    """The targets that the newer account shuts while others stay open."""
    if previous is None or account.stage not in OPEN:
        return []
    return sorted(
        name
        for name, stage in account.stages.items()
        if stage is Stage.EXPIRED and previous.at(name).stage in OPEN
    )


def _lacking(previous: Account | None, targets: Iterable[str], *, held: bool) -> dict[str, Stage]:
    """The stages at targets that an account lacks. One that was open is shut, unless that is `held`."""
    before = {name: Stage.PRECREATED if previous is None else previous.at(name).stage for name in targets}
    return {
        name: Stage.EXPIRED if stage in (*OPEN, Stage.EXPIRED) else Stage.PRECREATED
        for name, stage in before.items()
        if not held or stage not in OPEN
    }


def _days(opening: Mapping[str, date | None]) -> dict[str, date]:
    return {name: day for name, day in opening.items() if day is not None}


def _shut_before_grace(previous: Account) -> dict[str, Stage]:
    """The targets that an active account lacked. It never had them, or they were shut."""
    lacked = (Stage.PRECREATED, Stage.EXPIRED)
    stages = {name: stage for name, stage in previous.stages.items() if stage in lacked}
    if previous.stage is not Stage.GRACE:
        return stages
    began, since = previous.stage_since or date.min, previous.stages_since
    return {
        name: stage
        for name, stage in stages.items()
        if stage is Stage.PRECREATED or since.get(name, began) < began
    }


def closing_of(previous: Account | None, account: Account) -> Closing | None:
    """The closing that the newer account brings by time alone, if any."""
    if previous is None:
        return None
    if account.stage is Stage.EXPIRED and previous.stage is Stage.GRACE:
        return Closing.EXPIRE
    if shut_at(previous, account):
        return Closing.SHUT
    if account.stage not in (Stage.EXPIRED, Stage.ERASED) or account.stage is previous.stage is Stage.ERASED:
        return None
    erases = account.stage is Stage.ERASED or erased_at(account) > erased_at(previous)
    return Closing.ERASE if erases else None
