"""Targets in memory that fail in every way there is, by a seeded chance, and that notice broken promises."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.digest import digest_of
from pipeline.errors import Misconfigured, SesameError, TargetDown, Throttled
from pipeline.target import Closed, Dead, Description, Done, HandlerOutcome, Preview, Retry, Task, Waiting
from schemas.account import Account


class Crash(BaseException):
    """The process is killed here. Nothing catches it."""


@dataclass
class Held:
    """What a target has of one student."""

    version: int = 0
    intact: bool = True  # False: somebody has changed it by hand
    uncertain: bool = False  # something was written of which no outcome has been recorded


@dataclass
class Truth:
    """One target's contents, which outlive every process, and the writes that are still to take effect.

    Attributes:
        back_at: until then it is down.
        late: (moment, student, version) of calls that were cut off, and have their effect afterwards.
        ever: every student and version that was written, and is not forgotten when it is superseded.
        went_back, not_compared: promises that were not kept; empty if all is well.
    """

    name: str
    held: dict[str, Held] = field(default_factory=dict)
    back_at: float = 0.0
    late: list[tuple[float, str, int]] = field(default_factory=list)
    ever: set[tuple[str, int]] = field(default_factory=set)
    went_back: list[str] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)

    def of(self, number: str) -> Held:
        return self.held.setdefault(number, Held())

    def write(self, number: str, version: int) -> None:
        held = self.of(number)
        if version < held.version:
            self.went_back.append(f"{self.name}: {number} went back from {held.version} to {version}")
        held.version, held.intact, held.uncertain = version, True, True
        self.ever.add((number, version))

    def until(self, moment: float) -> None:
        """Let the effects of cut-off calls happen that are due by then."""
        due = sorted(each for each in self.late if each[0] <= moment)
        self.late = [each for each in self.late if each[0] > moment]
        for _, number, version in due:
            self.write(number, version)


class Weather:
    """How often what goes wrong, by a seeded chance. Calm: nothing does.

    Args:
        lease_s: a call that was cut off has its effect before this has passed.
        poison: a student whose work nearly always fails with the whole call; always, once the weather is
            calm, if it `lasts`.
    """

    def __init__(self, chance: random.Random, lease_s: float, poison: str) -> None:
        self.chance = chance
        self.lease_s = lease_s
        self.poison = poison
        self.rough = True
        self.lasts = False
        self.struck = 0  # how often something went wrong

    def strikes(self, probability: float) -> bool:
        """Whether something of this probability happens now."""
        struck = self.rough and self.chance.random() < probability
        self.struck += struck
        return struck

    def poisons(self, number: str) -> bool:
        """Whether this student's work fails with the whole call now."""
        if self.lasts and not self.rough:
            return number == self.poison
        return self.strikes(0.6 if number == self.poison else 0.01)


class ChaosHandler:
    """One process life's handler. It believes what it has written itself unless it is told to compare.

    Args:
        hang: called now and then after the work, before its outcomes are given: the call returns too late.
    """

    batch_size = 3
    call_s_max = 5.0

    def __init__(
        self, truth: Truth, weather: Weather, now: Callable[[], float], hang: Callable[[], None]
    ) -> None:
        self.name = truth.name
        self._truth = truth
        self._weather = weather
        self._now = now
        self._hang = hang
        self._believed: dict[str, int] = {}
        self._lost = False  # a call of this batch was cut off: it may still have an effect

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        self._refuse_when_down()
        for task in tasks:
            number = task.account.student_number
            if self._truth.of(number).uncertain and not task.compare:
                self._truth.not_compared.append(f"{self.name}: {number} was in doubt, and not compared")
        self._lost = False
        outcomes = {task.account.student_number: self._one(task) for task in tasks}
        if self._weather.strikes(0.05):
            self._hang()
        if self._weather.strikes(0.02):
            raise Crash
        return outcomes

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        return {account.student_number: Preview() for account in accounts}

    def probe(self) -> None:
        self._refuse_when_down()
        if self._weather.strikes(0.2):
            raise TargetDown("refused", unknown=False)

    def describe(self) -> Description:
        return Description(self.name, "memory", ())

    def close(self) -> None:
        pass

    def _refuse_when_down(self) -> None:
        if self._now() < self._truth.back_at:
            raise TargetDown("connection refused", unknown=False)

    def _one(self, task: Task) -> HandlerOutcome:
        number, version = task.account.student_number, task.account.version
        strikes = self._weather.strikes
        if task.close_only:
            return Closed()
        if strikes(0.12):
            return Retry("target_busy", "busy")
        if strikes(0.12):
            self._cut_off(number, version)
            return Retry("timed_out", "no answer", unknown=True)
        if strikes(0.06):
            if task.compare:  # what can be done is done: what somebody changed by hand is mended
                self._truth.of(number).intact = True
            return Waiting("pedagogical_enrolment_pending", ("L1INFO-2026",), recheck_after_s=20.0)
        if strikes(0.03):
            return Dead("identity_collision", "held by somebody else")
        if self._weather.poisons(number):
            self._fail(number, version)
        held, believed = self._truth.of(number), self._believed.get(number)
        if task.compare or believed != version:
            if not held.intact or held.version != version:
                self._truth.write(number, version)
            self._believed[number] = version
        return Done(digest_of({"number": number, "version": version}), changed=True)

    def _cut_off(self, number: str, version: int) -> None:
        """The call is cut off: its effect happened, never happens, or happens later, within the lease."""
        self._lost = True
        match self._weather.chance.randrange(3):
            case 0:
                self._truth.write(number, version)
            case 1:
                moment = self._now() + self._weather.chance.uniform(0.0, self._weather.lease_s)
                self._truth.late.append((moment, number, version))
                self._truth.of(number).uncertain = True

    def _fail(self, number: str, version: int) -> None:
        """The call as a whole fails. What was done for others of the batch before is done."""
        if self._weather.chance.random() < 0.5:
            self._cut_off(number, version)
        if not self._weather.rough:
            raise TargetDown("this one ends the connection", unknown=self._lost)
        failures: list[SesameError | KeyError] = [
            TargetDown("timed out", unknown=self._lost),
            Throttled("429", retry_after_s=3.0, unknown=self._lost),
            Misconfigured("insufficient rights", unknown=self._lost),
            KeyError("a fault of our own"),
        ]
        raise self._weather.chance.choice(failures)
