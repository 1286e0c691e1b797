"""The guard: hold a file that would change unusually much until it is approved.

People are counted, per academic year: those who would lose an enrolment, and those about whom something
would change that seldom does (see `OutlineChange`). A year is over the threshold when either bound is passed:
a share of the people whom the feed holds in that year, or a number of people who lose something. One such
year holds the file. A slow leak is seen too: people who lost all within some weeks, a few with each file, are
added to those who would lose something now.

The approval's id is a digest of the file's content and of every difference that it makes: another file, or
the same file after something else was published, has another id.

A feed recalls an outline of each fact: states, codes and digests. A digest tells whether a value is the same
without keeping it twice. It hides no value that can be guessed; the database holds personal data anyway.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pipeline.threshold import Threshold
from schemas.account import Administrative, Pedagogical

if TYPE_CHECKING:  # the settings have a threshold, and read no file
    from producers.registrar.rows import Fact


class OutlineChange(StrEnum):
    """A loss of a student's, or a change of what seldom changes."""

    CANCELLED = "cancelled"
    GONE = "gone"
    NOT_IN_FORCE = "not_in_force"
    PEDAGOGICAL = "pedagogical"
    IDENTITY = "identity"
    INE = "ine"
    PERSONAL_MAIL = "personal_mail"
    MOBILE = "mobile"
    COMPONENT = "component"
    TEACHING = "teaching"
    GROUP = "group"


LOSSES = frozenset(
    {OutlineChange.CANCELLED, OutlineChange.GONE, OutlineChange.NOT_IN_FORCE, OutlineChange.TEACHING}
)
"""Those that end an enrolment, its force, or a teaching unit."""

GONE = "gone_from_export"
"""The reason of a cancellation that no line states: a complete file does not have the enrolment."""

_CANCELLED = Administrative.CANCELLED.value


class Outline(NamedTuple):
    """One enrolment as last published. Digests are empty where there was no value, or none is known."""

    state: str
    identity: str = ""
    ine: str = ""
    personal_mail: str = ""
    pedagogical: str = ""
    component: str = ""
    mobile: str = ""

    @classmethod
    def of(cls, fact: Fact, before: Outline | None = None) -> Self:
        """The outline of a fact; a cancellation keeps the person's part of `before`."""
        if "reason" in fact:
            return cls(_CANCELLED, *(before or cls(_CANCELLED))[1:])
        student = str(fact["student_number"])
        written = (fact.get("birth_name") or "", fact.get("given_name") or "")
        names = (*map(folded, written), str(fact["birth_date"]))
        return cls(
            str(fact["administrative"]),
            _digest(student, *names),
            _digest(student, fact.get("ine") or ""),
            _digest(student, (fact.get("personal_mail") or "").casefold()),
            str(fact["pedagogical"]),
            str(fact["component"]),
            _digest(student, fact.get("mobile") or ""),
        )

    @classmethod
    def read(cls, text: str | None) -> Outline | None:
        """An outline from the feed's memory; None: it was not kept."""
        return None if text is None else cls(*text.split("|"))

    def text(self) -> str:
        """The form that the feed's memory keeps."""
        return "|".join(self)  # a separator that is in no code


def changes_between(before: Outline | None, after: Outline, *, gone: bool) -> list[OutlineChange]:
    """The losses and unusual changes of an enrolment's later fact.

    Args:
        before: None: it was held, and nothing else is known.
        after: as the file has it.
        gone: no line states the cancellation.
    """
    if after.state == _CANCELLED:
        if before is not None and before.state == _CANCELLED:
            return []
        return [OutlineChange.GONE if gone else OutlineChange.CANCELLED]
    if before is None:
        return []
    found = changes_of_person(before, after)
    if before.state == Administrative.IN_FORCE.value != after.state:
        found.append(OutlineChange.NOT_IN_FORCE)
    validated = Pedagogical.VALIDATED.value
    if before.pedagogical == validated != after.pedagogical:
        found.append(OutlineChange.PEDAGOGICAL)
    if before.component and before.component != after.component:
        found.append(OutlineChange.COMPONENT)
    return found


def changes_of_person(before: Outline, after: Outline) -> list[OutlineChange]:
    """Changes in a number's person, even between steps. Not spelling, nor values missing before."""
    if after.state == _CANCELLED:
        return []
    told = (
        (OutlineChange.IDENTITY, before.identity, after.identity),
        (OutlineChange.INE, before.ine, after.ine),
        (OutlineChange.PERSONAL_MAIL, before.personal_mail, after.personal_mail),
        (OutlineChange.MOBILE, before.mobile, after.mobile),
    )
    return [change for change, was, is_now in told if was not in ("", is_now)]


def folded(name: str) -> str:
    """Letters and digits of a name in one case, without accents."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(character for character in plain if character.isalnum())


def _digest(student: str, *values: str) -> str:
    if not any(values):
        return ""
    text = "\x1f".join((student, *values))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


ID_CHARACTERS = 20


@dataclass(frozen=True, slots=True)
class Approval:
    """An operator's approval of a held file; `id`: from its report."""

    id: str
    actor: str


class Affected(NamedTuple):
    """An enrolment, or a teaching unit or group, that is lost or changed unusually.

    Attributes:
        key: student, year, and step and its version, or unit and group.
        columns: the file's columns of it; empty: none.
        before, after: for the operator's eye; of a unit, its groups.
    """

    key: tuple[str, int, str, str]
    change: OutlineChange
    columns: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class YearFigures:
    """A file's effect on one academic year, in people.

    Attributes:
        year: its first calendar year.
        known: with an enrolment of that year before the import; in the year's first file, those in it.
        affected: with any of the changes.
        losing: people who lose an enrolment, or its force.
        changes: how many people for each kind of change; one person may have several.
        over: the threshold is passed.
        lost: people who recently lost all of the year, since an operator last approved an import.
        leaks: it is over the threshold because of them alone.
    """

    year: int
    known: int
    affected: int
    losing: int
    changes: Mapping[OutlineChange, int] = field(default_factory=dict)
    over: bool = False
    lost: int = 0
    leaks: bool = False

    def to_json(self) -> dict[str, Any]:
        """The form of `--json`."""
        return {
            "year": self.year,
            "known": self.known,
            "affected": self.affected,
            "losing": self.losing,
            "changes": {change.value: people for change, people in sorted(self.changes.items())},
            "over_threshold": self.over,
            "lost_lately": self.lost,
        }


AffectedPerson = tuple[int, str, frozenset[OutlineChange]]
"""Year, student, and what would change about them."""


def judge(
    people: Iterable[AffectedPerson],
    *,
    known: Mapping[int, int],
    in_file: Mapping[int, int],
    threshold: Threshold,
    lost: Mapping[int, int],
    leak: Threshold,
) -> tuple[YearFigures, ...]:
    """Judge each year: its figures, and whether it is over the threshold.

    Args:
        people: year, student and what would change about them; ordered by year.
        known: people per year before the import.
        in_file: people per year in the file, for years that are not known yet.
        threshold: when a year is over.
        lost: people per year who recently lost all, by files that were below it.
        leak: when these and those who lose something now are too many together.
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
        before = lost.get(year, 0)
        leaks = (
            before > 0
            and losing > 0
            and leak.passed(affected=before + losing, losing=0, in_all=in_all + before)
        )
        figures.append(
            YearFigures(
                year,
                in_all,
                affected,
                losing,
                changes,
                over=over or leaks,
                lost=before,
                leaks=leaks and not over,
            )
        )
    return tuple(figures)


Judged = Callable[[Iterable[AffectedPerson]], tuple[YearFigures, ...]]
"""`judge`, called with the people."""


class Fingerprint:
    """Digest of differences in the file's order, for an approval. `binding`: feed, digest, options."""

    def __init__(self, *binding: str) -> None:
        self._hash = hashlib.sha256()
        self._add(*binding)

    def _add(self, *parts: str) -> None:
        self._hash.update(("\x1f".join(parts) + "\x1e").encode())  # neither is in any code or number

    def add(self, key: Sequence[str | int], before: str | None, after: str) -> None:
        """Add a difference: its key, and its fact's fingerprint before (or None) and now."""
        self._add(*map(str, key), before or "", after)

    @property
    def approval_id(self) -> str:
        """The id that approves exactly this."""
        return self._hash.hexdigest()[:ID_CHARACTERS]
