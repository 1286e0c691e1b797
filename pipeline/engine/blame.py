"""When calls fail as a whole: who runs alone, and who is accused of being the cause."""

from __future__ import annotations

from typing import TypeVar

from pipeline.engine.bell import Batch, Turn

NOTES_MAX = 10_000
T = TypeVar("T")


class Blame:
    """Finds the student whose own work makes calls fail, and clears the others.

    Who was in a failed call runs alone until the target has answered, through the parking lot and back. A
    call that began before the last good probe is no news when it fails.
    """

    def __init__(self) -> None:
        self._isolated: dict[str, None] = {}
        self._refused: dict[str, int] = {}  # refused alone, when there had been so many answers
        self._accused: Turn | None = None
        self._answers = 0
        self._stale_through = 0  # batches up to this number began before the last good probe

    def alone(self, number: str) -> bool:
        """Whether this student runs in a batch of its own."""
        return number in self._isolated

    def isolate(self, batch: Batch) -> None:
        """Its students run alone from now on."""
        for turn in batch.turns:
            _note(self._isolated, turn.student_number, None)

    def fresh(self, number: int) -> bool:
        """Whether the batch of this number began after the last good probe."""
        return number > self._stale_through

    def answered(self, batch: Batch) -> None:
        """The target answered: its students are cleared."""
        self._accused = None
        self._answers += 1
        for turn in batch.turns:
            self._isolated.pop(turn.student_number, None)
            self._refused.pop(turn.student_number, None)

    def failed(self, batch: Batch) -> None:
        """The target did not answer. One who was alone in the call may be the cause: the probe will tell."""
        self._accused = _only(batch) or self._accused

    def refused(self, batch: Batch) -> bool:
        """The target refused the consumer. Whether one student's work is the cause.

        A probe may not need what is refused, so that its success alone accuses nobody. One who is refused
        alone, again, and another student's work was answered in between, is the cause.
        """
        turn = _only(batch)
        if turn is None:
            return False
        before = self._refused.get(turn.student_number)
        _note(self._refused, turn.student_number, self._answers)
        if before is None or before == self._answers:
            return False
        self._accused = turn
        return True

    def probed(self, *, ok: bool, batches: int) -> str | None:
        """A probe ended, and so many batches have begun so far. Who is the cause, if it is known now."""
        accused, self._accused = self._accused, None
        if not ok:
            return None
        self._stale_through = batches
        return accused.student_number if accused is not None else None


def _only(batch: Batch) -> Turn | None:
    """The turn that had the call to itself because it was in a failed one before."""
    return batch.turns[0] if len(batch.turns) == 1 and batch.turns[0].alone else None


def _note(notes: dict[str, T], number: str, value: T) -> None:
    """Note something of a student, and forget what was noted longest ago when there is too much."""
    notes[number] = value
    if len(notes) > NOTES_MAX:
        del notes[next(iter(notes))]
