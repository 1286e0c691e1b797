"""An account's stage, the day on which it changes, and what is still to come. Pure; days are UTC's.

Without an enrolment in force an active account is in grace for `grace_days`, then expired. Where the site
erases, a target's data go `days_of` it after the last day of access, and the account itself (the entry that
the others are found by) `account_days` after it, once everything else was read back as gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import NamedTuple

from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.settings import RegistrySettings, day_in
from schemas.account import Account, Enrolment, Stage

_ONE_DAY = timedelta(days=1)


class Closing(StrEnum):
    """A step that takes something away from a student, under the guard's watch."""

    EXPIRE = "expire"
    ERASE = "erase"
    SHUT = "shut"  # at single targets, while the others stay open


class LifeStage(NamedTuple):
    """An account's stage, last known day of access, and stages by target."""

    stage: Stage
    valid_until: date | None
    stages: Mapping[str, Stage]


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
            ends_on = max(self.registry.year_ends_on(enrolment.year) for enrolment in in_force)
            return LifeStage(Stage.ACTIVE if activated else Stage.PRECREATED, ends_on, {})
        if previous is None or before is Stage.PRECREATED:
            return LifeStage(Stage.PRECREATED, None, {})
        if erasing:
            until = min(until or today, today)
            if gone:
                return LifeStage(Stage.ERASED, until, {})
            return self._expired(previous, until, today, completed=completed, held=held, now=True)
        if before is Stage.ACTIVE:
            return self._in_grace(previous, self.grace_ends(today), held=held)
        if until is not None and prolonged is not None:
            until = max(until, prolonged)
        open_today = until is not None and until >= today
        if open_today or (before is Stage.GRACE and (until is None or held)):
            return self._in_grace(previous, until, held=held)
        if before is Stage.GRACE or until is None:
            return LifeStage(Stage.EXPIRED, until, {})
        return self._expired(previous, until, today, completed=completed, held=held)

    def timeline(self, account: Account) -> list[Milestone]:
        """The changes by time alone, in order: each step with its first day."""
        until, steps = account.valid_until, list[Milestone]()
        if until is None or account.activated_at is None:
            return []
        if account.stage is Stage.ACTIVE:
            begins = until + _ONE_DAY
            steps = [Milestone(begins, Stage.GRACE)]
            steps += [Milestone(begins, Stage.EXPIRED, name) for name in self._shut_in_grace()]
            until = self.grace_ends(begins)
        if account.stage in (Stage.ACTIVE, Stage.GRACE):
            steps.append(Milestone(until + _ONE_DAY, Stage.EXPIRED))
        elif account.stage is not Stage.EXPIRED:
            return []
        if self.rules.erase:
            gone = account.stages if account.stage is Stage.EXPIRED else {}
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
            ends = map(self.registry.year_ends_on, {enrolment.year for enrolment in account.enrolments})
            days += [day + _ONE_DAY for day in ends]
        return max(min(days), today + _ONE_DAY) if days else None

    def grace_ends(self, begins: date) -> date:
        """The last day of a grace that begins on this day; not before that year's juries."""
        until = begins + timedelta(days=self.registry.grace_days)
        juries = self.rules.juries_on
        return until if juries is None else max(until, day_in(begins.year, juries))

    def _in_grace(self, previous: Account, until: date | None, *, held: bool) -> LifeStage:
        shut = [name for name in self._shut_in_grace() if not held or name in previous.stages]
        return LifeStage(Stage.GRACE, until, dict.fromkeys(shut, Stage.EXPIRED))

    def _shut_in_grace(self) -> list[str]:
        return [name for name in self.services if name in self.rules.shut_in_grace]

    def _erased_on(self, until: date, target: str | None = None) -> date:
        """The first day on which a target, or (None) the account, is erased."""
        kept = self.rules.account_days if target is None else self.rules.days_of(target)
        return until + timedelta(days=kept + 1)

    def _expired(
        self, previous: Account, until: date, today: date, *, completed: bool, held: bool, now: bool = False
    ) -> LifeStage:
        """`now`: whatever the rules are."""
        before = dict(previous.stages) if previous.stage is Stage.EXPIRED else {}
        if held or not (self.rules.erase or now):
            return LifeStage(Stage.EXPIRED, until, before)
        due = {name: Stage.ERASED for name in self.services if now or today >= self._erased_on(until, name)}
        if completed and before.keys() >= set(self.services) and (now or today >= self._erased_on(until)):
            return LifeStage(Stage.ERASED, until, {})
        return LifeStage(Stage.EXPIRED, until, {**before, **due})


def closing_of(previous: Account | None, account: Account) -> Closing | None:
    """The closing that the newer account brings by time alone, if any."""
    if previous is None:
        return None
    if account.stage is Stage.EXPIRED and previous.stage is Stage.GRACE:
        return Closing.EXPIRE
    shut = previous.stages.keys() if previous.stage is Stage.GRACE else frozenset()
    if account.stage is Stage.GRACE and account.stages.keys() > shut:
        return Closing.SHUT
    if account.stage not in (Stage.EXPIRED, Stage.ERASED) or account.stage is previous.stage is Stage.ERASED:
        return None
    erases = account.stage is Stage.ERASED or account.stages.keys() > previous.stages.keys()
    return Closing.ERASE if erases else None
