"""What is unusually much: changes to so many people are held until an operator lets them pass."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Threshold:
    """More than `share` of some people affected, or losses of more than `people`: an operator has to look.

    Attributes:
        share: between 0 and 1.
        people: a number of students; however many there are in all.
        floor: a number of students who are too few for a share to tell anything: of ten, one who leaves
            is 10 %. Below it, more than half of all are held too, except one alone.
    """

    share: float = 0.05
    people: int = 200
    floor: int = 2

    def passed(self, *, affected: int, losing: int, in_all: int) -> bool:
        """Whether it is so of so many of `in_all` people."""
        if losing > self.people:
            return True
        enough = affected > self.floor or (affected > 1 and 2 * affected > in_all)
        return enough and affected > self.share * in_all
