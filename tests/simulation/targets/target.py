"""What every simulated target has in common: it is away, flaps, throttles, refuses, is slow; and a write to
it may be lost, may be done and not answered, or may be done later."""

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
    """What becomes of one write."""

    DONE = "done"
    BUSY = "busy"  # it was not carried out, and its caller is told so
    UNKNOWN = "unknown"  # it was, will be, or never is; its caller is told nothing


class Target:
    """One target, which outlives every process.

    Attributes:
        away_until, flapping_until, throttled_until, refusing_until: until when it is in trouble.
        poison: a student whose work ends the whole call, for as long as it is set.
        not_compared, not_so, not_told, went_back: promises that were not kept; empty if all is well.
        uncertain: students of whom something was, or may have been, written, and no outcome is recorded.
        unanswered: those of them whose write had no answer: only a call that has read how they are settles
            that, whatever is recorded.
        ever, newest: every student and version that a handler called done, and the highest one.
        drifted: students whose object somebody changed by hand, for a handler's calls to look at.
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
        """What a verb meets when it begins: nothing of it is unanswered yet.

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
        """The whole path, without a student's object."""
        self.meet()

    # --- writing ----------------------------------------------------------------------------------

    def write(
        self, number: str, effect: Callable[[], object], partly: Callable[[], object] | None = None
    ) -> Fate:
        """Carry a student's write out, or not.

        Args:
            effect: changes what the target holds.
            partly: the same, but something of it is lost though the server says that all is well.

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
        if effect() is None:  # the target itself took it for what it is: too late
            return
        self.uncertain.add(number)
        before = self.versions.get(number, 0)
        if version < before:
            self.went_back.append(f"{self.name}: {number} went back from {before} to {version}")
        self.versions[number] = version

    # --- what handlers say ------------------------------------------------------------------------

    def begin(self, number: str) -> None:
        """A handler's call for this student begins: it looks at what somebody changed by hand."""
        self.drifted.discard(number)

    def said(self, account: Account, told: oracle.Obstacle | None) -> None:
        """A handler says that it read this account back.

        Args:
            told: what the student has to wait for; None: nothing, the version is done.
        """
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
        """A call's lease has ended, and whatever came of it is recorded."""
        if number not in self.unanswered:
            self.uncertain.discard(number)

    def obstacle(self, account: Account) -> oracle.Obstacle | None:
        """What the student has to wait for at this target, and must be told of."""
        return oracle.obstacle(self.name, account)

    def _version_of(self, number: str) -> int:
        actor = self.schedule.current
        account = actor.accounts.get(number) if actor is not None else None
        return account.version if account is not None else 0

    # --- by hand ----------------------------------------------------------------------------------

    def drift(self, number: str) -> bool:
        """Somebody changes a student's object by hand; False if there is none."""
        raise NotImplementedError

    def differs(self, account: Account) -> str:
        """What is not as this account wants it; empty: it is."""
        raise NotImplementedError
