"""The guard: a file that would change unusually much is held, whatever it says, until somebody approves it.

People are counted, per academic year: those who would lose an enrolment, and those about whom something
would change that seldom does (see `outline.Change`). A year is over the threshold when either bound is
passed: a share of the people whom the feed holds in that year, or a number of people who lose something. One
such year holds the file.

The approval's id is a digest of the file's content and of every difference that it makes: another file, or
the same file after something else was published, has another id.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from producers.registrar.outline import LOSSES, OutlineChange
from producers.registrar.records import StepKey

ID_CHARACTERS = 20


@dataclass(frozen=True, slots=True)
class Threshold:
    """When a year's changes hold a file: more than `share` of its people, or losses of more than `people`.

    Attributes:
        share: between 0 and 1.
        people: a number of students; however many the year has.
        floor: a number of students who are too few for a share to tell anything: in a year of ten, one who
            leaves is 10 %. Below it, more than half of the year's people are held too, except one alone.
    """

    share: float = 0.05
    people: int = 200
    floor: int = 2

    def passed(self, *, affected: int, losing: int, in_all: int) -> bool:
        """Whether so many hold the file. `in_all`: the year's people."""
        if losing > self.people:
            return True
        enough = affected > self.floor or (affected > 1 and 2 * affected > in_all)
        return enough and affected > self.share * in_all


@dataclass(frozen=True, slots=True)
class Approval:
    """An operator's word that a held file is right.

    Attributes:
        id: as the report of the held import gave it.
        actor: the operator's user name.
    """

    id: str
    actor: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An operator's word that values of some students are right though they look damaged.

    Attributes:
        students: their numbers.
        actor: the operator's user name.
    """

    students: frozenset[str]
    actor: str


class Affected(NamedTuple):
    """One enrolment that is lost or changed unusually. `before` and `after` are for the operator's eye."""

    key: StepKey
    change: OutlineChange
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class YearFigures:
    """What a file would do to one academic year, in people.

    Attributes:
        year: its first calendar year.
        known: with an enrolment of that year before the import; in the year's first file, those in it.
        affected: with any of the changes.
        losing: who lose an enrolment, or its force.
        changes: how many people for each kind of change; one person may have several.
        over: whether the threshold is passed.
    """

    year: int
    known: int
    affected: int
    losing: int
    changes: Mapping[OutlineChange, int] = field(default_factory=dict)
    over: bool = False

    def to_json(self) -> dict[str, Any]:
        """The form of `--json`."""
        return {
            "year": self.year,
            "known": self.known,
            "affected": self.affected,
            "losing": self.losing,
            "changes": {change.value: people for change, people in sorted(self.changes.items())},
            "over_threshold": self.over,
        }


def judge(
    people: Iterable[tuple[int, str, frozenset[OutlineChange]]],
    *,
    known: Mapping[int, int],
    in_file: Mapping[int, int],
    threshold: Threshold,
) -> tuple[YearFigures, ...]:
    """Each year's figures, and whether they are over the threshold.

    Args:
        people: year, student and what would change about them; ordered by year.
        known: people per year before the import.
        in_file: people per year in the file, for years that are not known yet.
        threshold: when a year is over.
    """
    figures = []
    for year, of_year in groupby(people, key=itemgetter(0)):
        affected = losing = 0
        changes: Counter[OutlineChange] = Counter()
        for _year, _student, found in of_year:
            affected += 1
            losing += not found.isdisjoint(LOSSES)
            changes.update(found)
        in_all = known.get(year) or in_file.get(year, 0)
        over = threshold.passed(affected=affected, losing=losing, in_all=in_all)
        figures.append(YearFigures(year, in_all, affected, losing, changes, over=over))
    return tuple(figures)


class Fingerprint:
    """Gathers what an approval is bound to, difference by difference in the file's order.

    Args:
        binding: what else the approval is for: the feed, the file's digest, how it was to be read.
    """

    def __init__(self, *binding: str) -> None:
        self._hash = hashlib.sha256()
        self._add(*binding)

    def _add(self, *parts: str) -> None:
        self._hash.update(("\x1f".join(parts) + "\x1e").encode())  # neither stands in any code or number

    def add(self, key: Sequence[str | int], before: str | None, after: str) -> None:
        """One difference: what it is about, the fingerprint of its fact before (None: none), and now."""
        self._add(*map(str, key), before or "", after)

    @property
    def approval_id(self) -> str:
        """The id that approves exactly this."""
        return self._hash.hexdigest()[:ID_CHARACTERS]
