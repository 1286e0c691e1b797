"""Thresholds: an unusually large change waits for an operator's approval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit on people affected (`share`) and on losses (`people`) without approval.

    Attributes:
        share: between 0 and 1.
        people: a number of students, whatever the total.
        floor: a number of students who are too few for a share to be meaningful: of ten, one who leaves
            is 10 %. Below it, more than half of all are held too, except one alone.
    """

    share: float = 0.05
    people: int = 200
    floor: int = 2

    def passed(self, *, affected: int, losing: int, in_all: int) -> bool:
        """Return whether the change passes the limit, for `in_all` people."""
        if losing > self.people:
            return True
        enough = affected > self.floor or (affected > 1 and 2 * affected > in_all)
        return enough and affected > self.share * in_all
