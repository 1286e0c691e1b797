"""One target's circuit: when to call, probe, or trust the target again. Pure.

Theory of operation. What happens is an event; the table gives the state that it leads to from each state. An
event that a row does not name changes nothing there: several calls are under way when a target goes down, and
one of them is enough to open the circuit. Calls are made in `closed` and `half_open` only. Every other state
has a time when something is due without an event (`next_at`): a probe, or, where the target asked for a
pause, its end. Where calls are made and there is no work, an occasional probe replaces it (`look`): only its
failure is news.

Quarantine outlives the states: from the event that begins it to the one that lifts it, whatever the target
does meanwhile, at most one student at a time is tried (`half_open`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from enum import Enum, StrEnum, auto
from typing import Final

from pipeline.engine.limits import Limits
from schemas.language import gettext_noop

GIVEN_UP: Final = gettext_noop(
    "{failed} of the last {turns} turns were given up for good within {seconds} s, {count} of them by {cause}"
)
REFUSED_AGAIN: Final = gettext_noop("a student who was tried was refused again, by {cause}")
TRYING_STUDENT: Final = gettext_noop("a probe succeeded; trying one student")
TRYING_BATCH: Final = gettext_noop("a probe succeeded; trying one batch")
CIRCUIT_REASONS: Final = (GIVEN_UP, REFUSED_AGAIN, TRYING_STUDENT, TRYING_BATCH)
"""Recorded in English, shown in the reader's language."""


class FailureRate:
    """Work items that ended within the window, and the causes of those given up.

    Separate from the target's health: it answers, and refuses. When it refuses nearly all students, the fault
    concerns all of them, and continuing would only fill the dead letters.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ends: deque[tuple[float, int, tuple[str, ...]]] = deque()  # when, how many items, causes
        self._turns = 0
        self._causes: Counter[str] = Counter()

    def note(self, now: float, items: int, causes: Sequence[str]) -> None:
        """Note that `items` items ended; `causes`: of those given up."""
        self._ends.append((now, items, tuple(causes)))
        self._turns += items
        self._causes.update(causes)
        while self._ends[0][0] <= now - self._limits.quarantine_window_s:
            _, old, gone = self._ends.popleft()
            self._turns -= old
            self._causes.subtract(gone)

    def too_many(self) -> str:
        """Return why too many were given up, in words; empty: not too many."""
        failed = self._causes.total()
        limits = self._limits
        if failed < limits.quarantine_failed_min or failed < limits.quarantine_share * self._turns:
            return ""
        cause, count = self._causes.most_common(1)[0]
        seconds = f"{limits.quarantine_window_s:g}"
        return GIVEN_UP.format(failed=failed, turns=self._turns, seconds=seconds, count=count, cause=cause)

    def forget(self) -> None:
        """Restart with an empty window."""
        self._ends.clear()
        self._turns = 0
        self._causes.clear()


class CircuitState(StrEnum):
    """A circuit's state: what the consumer may do."""

    CLOSED = "closed"
    OPEN = "open"  # the target is down: only probes
    HALF_OPEN = "half_open"  # a probe succeeded: one batch at a time
    THROTTLED = "throttled"  # the target asked for a pause
    MISCONFIGURED = "misconfigured"  # the target refuses the consumer: only rare probes
    QUARANTINED = "quarantined"  # too much work is given up for good: one student is tried now and then


class CircuitEvent(Enum):
    """An event that may change a circuit's state."""

    DOWN = auto()  # the target as a whole did not answer, or answered that it is out of order
    PAUSE = auto()  # the target asked for a pause
    REFUSED = auto()  # the target refuses the consumer itself
    GIVEN_UP = auto()  # too much work is given up for good, or the one student who was tried
    PROBE_OK = auto()
    PROBE_FAILED = auto()
    PAUSE_OVER = auto()
    ANSWERED = auto()  # a student's work was answered
    LIFTED = auto()  # the quarantine is over


_S, _E = CircuitState, CircuitEvent
_ALWAYS: Final = {_E.REFUSED: _S.MISCONFIGURED, _E.GIVEN_UP: _S.QUARANTINED, _E.PROBE_OK: _S.HALF_OPEN}
_CALLING: Final = {**_ALWAYS, _E.DOWN: _S.OPEN, _E.PAUSE: _S.THROTTLED, _E.PROBE_FAILED: _S.OPEN}
TRANSITIONS: Final[Mapping[CircuitState, Mapping[CircuitEvent, CircuitState]]] = {
    _S.CLOSED: _CALLING,
    _S.OPEN: {**_ALWAYS, _E.PROBE_FAILED: _S.OPEN},
    _S.HALF_OPEN: {**_CALLING, _E.ANSWERED: _S.CLOSED, _E.LIFTED: _S.CLOSED},
    _S.THROTTLED: {**_CALLING, _E.PAUSE_OVER: _S.CLOSED},
    _S.MISCONFIGURED: {**_ALWAYS, _E.PROBE_FAILED: _S.MISCONFIGURED},
    _S.QUARANTINED: {**_ALWAYS, _E.PROBE_FAILED: _S.QUARANTINED, _E.LIFTED: _S.CLOSED},
}


class Circuit:
    """One circuit: its state, the reason, and the time of its next step.

    Attributes:
        quarantined: until it is lifted, in any state.
        paused: an operator stopped all work and probes, in any state.
        since: when it left `closed`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.state = CircuitState.CLOSED
        self.reason = ""
        self.since: float | None = None
        self.quarantined = self.paused = False
        self._next_at = 0.0
        self._probing = self._looking = False
        self._delay_s = limits.probe_delay_s_min  # to the next probe of a target that is down
        self._quarantine_s = limits.quarantine_delay_s_min

    @property
    def passes(self) -> bool:
        """Whether students' work may be sent at all."""
        return not self.paused and self.state in (CircuitState.CLOSED, CircuitState.HALF_OPEN)

    def down(self, now: float, reason: str) -> bool:
        """Open the circuit: the target as a whole failed. False: that is no news."""
        if self.state is CircuitState.HALF_OPEN:
            self._wait_longer()
        return self._go(CircuitEvent.DOWN, now, reason)

    def misconfigured(self, now: float, reason: str) -> None:
        """Stop: the target refuses the consumer itself."""
        self._go(CircuitEvent.REFUSED, now, reason)

    def throttled(self, now: float, reason: str, retry_after_s: float) -> None:
        """Pause, as the target asked; no probe is needed afterwards."""
        earlier = self._next_at if self.state is CircuitState.THROTTLED else now  # of other stops: over
        if self._go(CircuitEvent.PAUSE, now, reason):
            self._next_at = max(earlier, now + retry_after_s)

    def quarantine(self, now: float, reason: str) -> None:
        """Enter quarantine. After a failed trial the next one waits twice as long."""
        if self.quarantined:
            self._quarantine_s = min(self._quarantine_s * 2, self._limits.quarantine_delay_s_max)
        self.quarantined = True
        self._go(CircuitEvent.GIVEN_UP, now, reason)

    def lift(self) -> None:
        """Lift the quarantine. A target that is down stays so."""
        self.quarantined, self._quarantine_s = False, self._limits.quarantine_delay_s_min
        self._go(CircuitEvent.LIFTED)

    def answered(self) -> None:
        """Close the circuit: a student's work succeeded."""
        self._go(CircuitEvent.ANSWERED)

    def tick(self, now: float) -> None:
        """End a pause that has run out. In quarantine, allow the next trial."""
        if self.state is CircuitState.THROTTLED and now >= self._next_at:
            self._go(CircuitEvent.PROBE_OK if self.quarantined else CircuitEvent.PAUSE_OVER)

    def probe_due(self, now: float) -> bool:
        """Whether a probe should start now. A true answer counts as its start."""
        waits = not self.passes and not self.paused and self.state is not CircuitState.THROTTLED
        if not waits or self._probing or now < self._next_at:
            return False
        self._probing = True
        return True

    def look(self) -> bool:
        """Start a probe of a target without recent work, if one may start. True counts as its start."""
        if not self.passes or self._probing:
            return False
        self._probing = self._looking = True
        return True

    def looked(self) -> bool:
        """Whether the probe that ended stood in for work."""
        looked, self._looking = self._looking, False
        if looked:
            self._probing = False
        return looked

    def probed(self, now: float, *, ok: bool, reason: str = "") -> None:
        """End a probe."""
        self._probing = False
        if ok:
            self._go(CircuitEvent.PROBE_OK)
        elif self.state is CircuitState.QUARANTINED:
            self._go(CircuitEvent.PROBE_FAILED, now, self.reason)
        else:
            if self.state is not CircuitState.MISCONFIGURED:
                self._wait_longer()
            self._go(CircuitEvent.PROBE_FAILED, now, reason)

    def next_at(self) -> float | None:
        """Return when the next step without an event is due; None: no such step."""
        return None if self.passes or self.paused or self._probing else self._next_at

    def _go(self, event: CircuitEvent, now: float = 0.0, reason: str = "") -> bool:
        """Take the table's transition; `now`, `reason`: of a stop. False: no news in this state."""
        state = TRANSITIONS[self.state].get(event)
        if state is None:
            return False
        self.state, self.reason = state, reason
        if state is CircuitState.CLOSED:
            self.since, self._delay_s = None, self._limits.probe_delay_s_min
        elif state is CircuitState.HALF_OPEN:
            self.reason = TRYING_STUDENT if self.quarantined else TRYING_BATCH
        else:
            self.since = now if self.since is None else self.since
            self._next_at = now + self._delay_of(state)
        return True

    def _delay_of(self, state: CircuitState) -> float:
        """Return the delay until the next probe; for a pause, the target's."""
        if state is CircuitState.OPEN:
            return self._delay_s
        return (
            self._limits.misconfigured_delay_s if state is CircuitState.MISCONFIGURED else self._quarantine_s
        )

    def _wait_longer(self) -> None:
        self._delay_s = min(self._delay_s * 2, self._limits.probe_delay_s_max)
