"""When calls fail as a whole: who is tried in smaller batches, and who is accused of being the cause."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from pipeline.engine.bell import Batch, WorkItem

NOTES_MAX = 10_000
T = TypeVar("T")


class Culprit:
    """Finds the student whose own work makes calls fail, by halves, and clears the others.

    Who was in a failed call is a suspect until the target has answered for it, through the parking lot and
    back. A suspect's next call has half as many students as the one that failed, and suspects only. A call
    that began before the last good probe is no news when it fails.
    """

    def __init__(self) -> None:
        self._suspects: dict[str, int] = {}  # and how many students their next call may have
        self._refused: dict[str, int] = {}  # when there had been so many answers
        self._accused: WorkItem | None = None
        self._answers = 0
        self._stale_through = 0  # batches up to this number began before the last good probe

    def seats(self, number: str) -> int | None:
        """How many students this suspect's next call may have; None: no suspect."""
        return self._suspects.get(number)

    def halve(self, batch: Batch) -> None:
        """Its students are suspects, and come again in calls of half its size."""
        half = (len(batch.items) + 1) // 2
        for item in batch.items:
            _note(self._suspects, item.student_number, half)

    def fresh(self, number: int) -> bool:
        """Whether the batch of this number began after the last good probe."""
        return number > self._stale_through

    def answered(self, batch: Batch, uncalled: Collection[str] = ()) -> None:
        """The target answered: its students are cleared, but for those for whom it was not called."""
        self._answers += 1
        for item in batch.items:
            if item.student_number not in uncalled:
                self._suspects.pop(item.student_number, None)
                self._refused.pop(item.student_number, None)

    def failed(self, batch: Batch, *, first: bool) -> None:
        """The target did not answer. One who was alone in the call may be the cause: the probe will tell.
        Not when other calls fail as well (`first`: none did since the target was well)."""
        self._accused = _only(batch) if first else None

    def refused(self, batch: Batch) -> bool:
        """The target refused the consumer. Whether the work of somebody in this batch is the cause.

        A probe may not need what is refused, so that its success alone accuses nobody. Those who are refused
        again, while the work of others was answered in between, have the cause among them; one who is alone
        by then is accused.
        """
        before = [self._refused.get(item.student_number) for item in batch.items]
        for item in batch.items:
            _note(self._refused, item.student_number, self._answers)
        if any(answers is None or answers == self._answers for answers in before):
            return False
        self._accused = _only(batch)
        return True

    def probed(self, *, ok: bool, batches: int) -> str | None:
        """A probe ended, and so many batches have begun so far. Who is the cause, if it is known now."""
        accused, self._accused = self._accused, None
        if not ok:
            return None
        self._stale_through = batches
        return accused.student_number if accused is not None else None


def _only(batch: Batch) -> WorkItem | None:
    """The item that had the call to itself, after it was in a failed one before."""
    return batch.items[0] if len(batch.items) == 1 and batch.items[0].suspect else None


def _note(notes: dict[str, T], number: str, value: T) -> None:
    """Note something of a student, and forget what was noted longest ago when there is too much."""
    notes[number] = value
    if len(notes) > NOTES_MAX:
        del notes[next(iter(notes))]
