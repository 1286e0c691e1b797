"""Shared by every simulated target: its troubles.

They are outages, throttling, refusals, and lost, unanswered or late writes.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from pipeline.errors import Misconfigured, TargetDown, Throttled
from schemas.account import Account
from tests.simulation import oracle
from tests.simulation.schedule import Life, Schedule
from tests.simulation.weather import Weather

LATE_S_MAX = 12.0
"""A write that was cut off has its effect no later than this after its call."""

SLOW_S_MAX = 3.0


class Fate(Enum):
    """The fate of one write."""

    DONE = "done"
    BUSY = "busy"  # not carried out, and the caller gets the reason
    UNKNOWN = "unknown"  # carried out, yet to be, or never; the caller gets nothing


class Target:
    """One target, which outlives every process.

    Attributes:
        away_until, flapping_until, throttled_until, refusing_until: the ends of its trouble.
        poison: a student whose work ends the whole call, for as long as it is set.
        not_compared, not_so, not_told, went_back: broken promises; empty if all is well.
        uncertain: students with a write, or a possible one, without a recorded outcome.
        unanswered: those of them whose write had no answer: only a call that has read their state settles
            that.
        ever, newest: every student and version that a handler called done, and the highest one.
        drifted: students with an object changed by hand, for a handler's calls to look at.
    """

    throttles = False

    def __init__(self, name: str, schedule: Schedule, weather: Weather) -> None:
        self.name = name
        self.schedule, self.weather = schedule, weather
        self.away_until = self.flapping_until = self.throttled_until = self.refusing_until = 0.0
        self.poison: str | None = None
        self.uncertain: set[str] = set()
        self.unanswered: set[str] = set()
        self.not_compared: list[str] = []
        self.not_so: list[str] = []
        self.not_told: list[str] = []
        self.drifted: set[str] = set()
        self.went_back: list[str] = []
        self.versions: dict[str, int] = {}
        self.ever: set[tuple[str, int]] = set()
        self.newest: dict[str, int] = {}
        self._own = Life(name, immune=True)

    # --- trouble ----------------------------------------------------------------------------------

    def meet(self) -> None:
        """The trouble of a verb at its beginning: nothing of it is unanswered yet.

        Raises:
            TargetDown, Throttled, Misconfigured: as the ports say; nothing was written.
        """
        schedule, strikes = self.schedule, self.weather.strikes
        schedule.breathe()
        if schedule.current is not None:
            schedule.current.unanswered = False
        if strikes("kill", 0.001):
            schedule.die()
        if strikes("slow", 0.03):
            schedule.sleep(self.weather.chance.uniform(0.2, SLOW_S_MAX))
        now = schedule.now
        flaps = now < self.flapping_until and self.weather.chance.random() < 0.5
        if now < self.away_until or flaps:
            raise TargetDown("connection refused", unknown=False)
        if now < self.refusing_until:
            raise Misconfigured("insufficient rights", unknown=False)
        if self.throttles and now < self.throttled_until:
            raise Throttled("429", retry_after_s=self.throttled_until - now, unknown=False)

    def probe(self) -> None:
        """Take the whole path, without a student's object."""
        self.meet()

    # --- writing ----------------------------------------------------------------------------------

    def write(
        self, number: str, effect: Callable[[], object], partly: Callable[[], object] | None = None
    ) -> Fate:
        """Carry a student's write out, or not.

        Args:
            effect: changes the target.
            partly: the same, with a loss that the server does not report.

        Raises:
            TargetDown: the call as a whole ends here.
        """
        strikes, chance = self.weather.strikes, self.weather.chance
        if strikes("poison", 0.004):
            if chance.random() < 0.5:
                self._cut_off(number, effect)
            raise TargetDown("this one ends the connection", unknown=self._unanswered)
        if strikes("busy", 0.04):
            return Fate.BUSY
        if strikes("lie", 0.08):
            self._cut_off(number, effect)
            return Fate.UNKNOWN
        if partly is not None and strikes("swallow", 0.05):
            effect = partly
        self._carry_out(number, self._version_of(number), effect)
        return Fate.DONE

    @property
    def _unanswered(self) -> bool:
        actor = self.schedule.current
        return actor is not None and actor.unanswered

    def _cut_off(self, number: str, effect: Callable[[], object]) -> None:
        if self.schedule.current is not None:
            self.schedule.current.unanswered = True
        version = self._version_of(number)
        self.uncertain.add(number)
        self.unanswered.add(number)
        match self.weather.chance.randrange(4):
            case 0:
                self._carry_out(number, version, effect)
            case 1 | 2:
                self.schedule.spawn(self._own, lambda: self._later(number, version, effect))

    def _later(self, number: str, version: int, effect: Callable[[], object]) -> None:
        self.schedule.sleep(self.weather.chance.uniform(0.0, LATE_S_MAX))
        self._carry_out(number, version, effect)

    def _carry_out(self, number: str, version: int, effect: Callable[[], object]) -> None:
        if effect() is None:  # the target recognised it as too late
            return
        self.uncertain.add(number)
        before = self.versions.get(number, 0)
        if version < before:
            self.went_back.append(f"{self.name}: {number} went back from {before} to {version}")
        self.versions[number] = version

    # --- what handlers say ------------------------------------------------------------------------

    def begin(self, number: str) -> None:
        """Begin a handler's call for this student, which looks at changes by hand."""
        self.drifted.discard(number)

    def said(self, account: Account, told: oracle.Obstacle | None) -> None:
        """Note a handler's read-back of this account. `told`: the student's obstacle; None: the version is
        done."""
        number = account.student_number
        if told is None:
            self.ever.add((number, account.version))
            self.newest[number] = max(self.newest.get(number, 0), account.version)
        if number in self.drifted:
            return
        what = f"{self.name}: {number} version {account.version}"
        if differs := self.differs(account):
            self.not_so.append(f"{what} is done, {differs} differs")
        if told != (owed := self.obstacle(account)):
            self.not_told.append(f"{what} waits for {owed}, and was told of {told}")

    def recorded(self, number: str) -> None:
        """Note that a call's lease has ended, and its outcome is recorded."""
        if number not in self.unanswered:
            self.uncertain.discard(number)

    def obstacle(self, account: Account) -> oracle.Obstacle | None:
        """The obstacle that the student must see at this target."""
        return oracle.obstacle(self.name, account)

    def _version_of(self, number: str) -> int:
        actor = self.schedule.current
        account = actor.accounts.get(number) if actor is not None else None
        return account.version if account is not None else 0

    # --- by hand ----------------------------------------------------------------------------------

    def drift(self, number: str) -> bool:
        """Change a student's object by hand; False if there is none."""
        raise NotImplementedError

    def differs(self, account: Account) -> str:
        """The difference from this account's wish; empty: none."""
        raise NotImplementedError
