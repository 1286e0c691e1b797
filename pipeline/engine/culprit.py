"""Search for the student whose work makes whole calls fail, in smaller batches."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from pipeline.engine.bell import Batch, WorkItem

NOTES_MAX = 10_000
T = TypeVar("T")


class Culprit:
    """Find the student whose work makes calls fail, by halves; clear the others.

    The students of a failed call are suspects until the target has answered for them, even through the
    parking lot and back. A suspect's next call has half as many students as the one that failed, and suspects
    only. A call that began before the last good probe is no news when it fails.
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
        """Make a failed batch's students suspects; their next calls have half its size."""
        half = (len(batch.items) + 1) // 2
        for item in batch.items:
            _note(self._suspects, item.student_number, half)

    def fresh(self, number: int) -> bool:
        """Whether the batch of this number began after the last good probe."""
        return number > self._stale_through

    def answered(self, batch: Batch, uncalled: Collection[str] = ()) -> None:
        """Clear the students of an answered batch, except those it was not called for."""
        self._answers += 1
        for item in batch.items:
            if item.student_number not in uncalled:
                self._suspects.pop(item.student_number, None)
                self._refused.pop(item.student_number, None)

    def failed(self, batch: Batch, *, first: bool) -> None:
        """Accuse the only student of a failed call; the next probe confirms or clears.

        None is accused when other calls fail as well (`first`: none did since the target was well).
        """
        self._accused = _only(batch) if first else None

    def refused(self, batch: Batch) -> bool:
        """Return whether a student of this batch is why the target refused the consumer.

        A probe may not need what is refused, so that its success alone accuses no student. A batch whose
        students were all refused before, while others' work was answered since, contains the cause; a student
        who is alone in it by then is accused.
        """
        before = [self._refused.get(item.student_number) for item in batch.items]
        for item in batch.items:
            _note(self._refused, item.student_number, self._answers)
        if any(answers is None or answers == self._answers for answers in before):
            return False
        self._accused = _only(batch)
        return True

    def probed(self, *, ok: bool, batches: int) -> str | None:
        """End a probe, after `batches` batches; return the culprit, if known now."""
        accused, self._accused = self._accused, None
        if not ok:
            return None
        self._stale_through = batches
        return accused.student_number if accused is not None else None


def _only(batch: Batch) -> WorkItem | None:
    """Return the item of a call of one suspect alone; None: there were others."""
    return batch.items[0] if len(batch.items) == 1 and batch.items[0].suspect else None


def _note(notes: dict[str, T], number: str, value: T) -> None:
    """Note a value of a student; when there are too many notes, drop the oldest."""
    notes[number] = value
    if len(notes) > NOTES_MAX:
        del notes[next(iter(notes))]
