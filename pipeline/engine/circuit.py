"""One target's circuit: closed while it answers, open while it does not, half-open after a good probe."""

from __future__ import annotations

from enum import StrEnum

from pipeline.engine.limits import Limits


class CircuitState(StrEnum):
    """What the consumer may do."""

    CLOSED = "closed"
    OPEN = "open"  # the target is down: only probes
    HALF_OPEN = "half_open"  # a probe succeeded: one batch at a time
    THROTTLED = "throttled"  # the target asked for a pause
    MISCONFIGURED = "misconfigured"  # the target refuses the consumer: only rare probes
    QUARANTINED = "quarantined"  # too much work is given up for good: one student is tried now and then


class Circuit:
    """Decides when to call, when to probe, and when to believe in the target again."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.state = CircuitState.CLOSED
        self.reason = ""
        self.since: float | None = None  # when it left `closed`
        self._next_at = 0.0
        self._delay_s = limits.probe_delay_s_min
        self._probing = False
        self.quarantined = False  # until it is lifted, whatever the state is meanwhile
        self._quarantine_s = limits.quarantine_delay_s_min

    @property
    def passes(self) -> bool:
        """Whether students' work may be sent at all."""
        return self.state in (CircuitState.CLOSED, CircuitState.HALF_OPEN)

    def down(self, now: float, reason: str) -> bool:
        """The target as a whole did not answer, or answered that it is out of order. Whether this is news:
        several calls were under way when it went down, and one of them is enough to say so."""
        if self.state in (CircuitState.OPEN, CircuitState.MISCONFIGURED, CircuitState.QUARANTINED):
            return False
        if self.state is CircuitState.HALF_OPEN:
            self._wait_longer()
        self._open(now, reason)
        return True

    def misconfigured(self, now: float, reason: str) -> None:
        """The target refuses the consumer itself."""
        self._leave(CircuitState.MISCONFIGURED, now, reason)
        self._next_at = now + self._limits.misconfigured_delay_s

    def quarantine(self, now: float, reason: str) -> None:
        """Too much work is given up for good. A trial that ends so makes the next one wait twice as long."""
        if self.quarantined:
            self._quarantine_s = min(self._quarantine_s * 2, self._limits.quarantine_delay_s_max)
        self.quarantined = True
        self._leave(CircuitState.QUARANTINED, now, reason)
        self._next_at = now + self._quarantine_s

    def lift(self) -> None:
        """The quarantine is over. A target that is down stays so."""
        self.quarantined, self._quarantine_s = False, self._limits.quarantine_delay_s_min
        if self.state in (CircuitState.QUARANTINED, CircuitState.HALF_OPEN):
            self.close()

    def throttled(self, now: float, reason: str, retry_after_s: float) -> None:
        """The target wants to be left alone for a while; no probe is needed afterwards."""
        if not self.passes and self.state is not CircuitState.THROTTLED:
            return
        earlier = self._next_at if self.state is CircuitState.THROTTLED else now  # of other stops: over
        self._leave(CircuitState.THROTTLED, now, reason)
        self._next_at = max(earlier, now + retry_after_s)

    def tick(self, now: float) -> None:
        """Let a throttling that has run out end. In quarantine one student is tried again."""
        if self.state is not CircuitState.THROTTLED or now < self._next_at:
            return
        if self.quarantined:
            self._try_one()
        else:
            self.close()

    def probe_due(self, now: float) -> bool:
        """Whether a probe should start now. A true answer counts as its start."""
        waits = self.state in (CircuitState.OPEN, CircuitState.MISCONFIGURED, CircuitState.QUARANTINED)
        if not waits or self._probing or now < self._next_at:
            return False
        self._probing = True
        return True

    def probed(self, now: float, *, ok: bool, reason: str = "") -> None:
        """A probe ended."""
        self._probing = False
        if ok:
            self._try_one()
        elif self.state is CircuitState.MISCONFIGURED:
            self.misconfigured(now, reason)
        elif self.state is CircuitState.QUARANTINED:
            self._next_at = now + self._quarantine_s
        else:
            self._wait_longer()
            self._open(now, reason)

    def close(self) -> None:
        """A student's work succeeded: the target is believed in again."""
        self.state = CircuitState.CLOSED
        self.reason, self.since = "", None
        self._delay_s = self._limits.probe_delay_s_min

    def next_at(self) -> float | None:
        """When something is to happen by itself, if anything is."""
        return None if self.passes or self._probing else self._next_at

    def _try_one(self) -> None:
        self.state = CircuitState.HALF_OPEN
        self.reason = f"a probe succeeded; trying one {'student' if self.quarantined else 'batch'}"

    def _open(self, now: float, reason: str) -> None:
        self._leave(CircuitState.OPEN, now, reason)
        self._next_at = now + self._delay_s

    def _wait_longer(self) -> None:
        self._delay_s = min(self._delay_s * 2, self._limits.probe_delay_s_max)

    def _leave(self, state: CircuitState, now: float, reason: str) -> None:
        if self.since is None:
            self.since = now
        self.state, self.reason = state, reason
