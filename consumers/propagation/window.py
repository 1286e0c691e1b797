"""The window: when it opens, pauses and closes. Pure: rows in, rows out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from consumers.propagation.settings import PropagationSettings
from schemas.account import Lane

if TYPE_CHECKING:  # callers that only read rows do not load every event
    from schemas.events import Window


class PropagationState(StrEnum):
    """The state of a student's newest version, over all targets."""

    IN_PROGRESS = "in_progress"
    WAITING = "waiting"  # all that is left waits for a business precondition: the window is paused
    COMPLETED = "completed"
    FAILED = "failed"  # at least one target gave up; the others may still be on their way


@dataclass(frozen=True)
class SeenOutcome:
    """The newest outcome of one target, ordered by (version, lease_epoch, sequence)."""

    target: str
    version: int
    lease_epoch: int
    sequence: int
    state: str  # provisioned | waiting | failed
    reason: str | None
    finished_at: float

    @property
    def rank(self) -> tuple[int, int, int]:
        """The order of outcomes of one target, whatever topic they came by."""
        return self.version, self.lease_epoch, self.sequence


@dataclass(frozen=True)
class PropagationProgress:
    """One student's propagation. Times in seconds since the epoch."""

    student_number: str
    version: int
    lane: Lane
    opened_at: float
    state: PropagationState = PropagationState.IN_PROGRESS
    paused_since: float | None = None
    waited_s: float = 0.0
    completed_version: int = 0
    completed_at: float | None = None
    elapsed_s: float | None = None
    late_at: float | None = None
    breached_at: float | None = None

    def at_version(self, version: int, lane: Lane, opened_at: float) -> PropagationProgress:
        """The progress of a newer version. A window still open continues, with its waits."""
        continues = opened_at == self.opened_at
        return replace(
            self,
            version=version,
            lane=lane,
            opened_at=opened_at,
            state=PropagationState.IN_PROGRESS,
            paused_since=self.paused_since if continues else None,
            waited_s=self.waited_s if continues else 0.0,
            late_at=self.late_at if continues else None,
            breached_at=self.breached_at if continues else None,
        )

    def paused(self, at: float) -> PropagationProgress:
        """Pause the window from `at` on."""
        return replace(self, state=PropagationState.WAITING, paused_since=self.paused_since or at)

    def resumed(self, at: float) -> PropagationProgress:
        """Resume the window from `at` on."""
        if self.paused_since is None:
            return self
        return replace(self, paused_since=None, waited_s=self.waited_s + max(0.0, at - self.paused_since))

    def due_at(self, edge_s: float) -> float:
        """When the window reaches this edge, if it is not paused."""
        return self.opened_at + self.waited_s + edge_s

    def elapsed_at(self, moment: float) -> float:
        """Seconds of the window that had run at `moment`."""
        return max(0.0, moment - self.opened_at - self.waited_s)

    def target_elapsed(self, finished_at: float) -> float:
        """Seconds of the window until a target finished; waits count if they delayed it."""
        whole = max(0.0, finished_at - self.opened_at)
        return min(whole, self.elapsed_s) if self.elapsed_s is not None else whole


def judge(
    version: int, seen: Mapping[str, SeenOutcome], targets: tuple[str, ...], follows: Mapping[str, str]
) -> tuple[PropagationState, tuple[str, ...]]:
    """The state of a version, and the targets that lack it. Followers share a stuck leader's state."""
    states = {target: _reached(version, seen.get(target)) for target in targets}
    for target, leader in follows.items():
        if states.get(target) == "outstanding" and states.get(leader) in ("waiting", "failed"):
            states[target] = states[leader]
    left = tuple(target for target in targets if states[target] != "provisioned")
    if not left:
        return PropagationState.COMPLETED, ()
    if any(states[target] == "failed" for target in left):
        return PropagationState.FAILED, left
    if all(states[target] == "waiting" for target in left):
        return PropagationState.WAITING, left
    return PropagationState.IN_PROGRESS, left


def window_of(lane: Lane, elapsed_s: float, objectives: PropagationSettings) -> Window:
    """Which objective a completed propagation met."""
    from schemas.events import Window

    if lane is Lane.BULK:
        return Window.BULK
    if elapsed_s <= objectives.late_s:
        return Window.WITHIN_15_MIN
    return Window.WITHIN_60_MIN if elapsed_s <= objectives.breach_s else Window.BEYOND


def _reached(version: int, seen: SeenOutcome | None) -> str:
    if seen is None or seen.version < version:
        return "outstanding"
    return seen.state
