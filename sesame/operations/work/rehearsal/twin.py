"""A twin's files: a registrar's export, its groups, and who comes when."""

from __future__ import annotations

import csv
import random
import string
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Final, TypeVar

from producers.registrar.profile import FeedProfile
from producers.registrar.profiles import apogee, apogee_groups
from sesame.operations.work.rehearsal.shape import EnrolledStep, Shape, Unit, primary_of

EXPORT, GROUPS, ARRIVALS = "registrar.csv", "groups.csv", "arrivals.csv"
_NUMBER_LENGTH: Final = 9
_BORN, _DAYS = date(1998, 1, 1), 3650
_RETRIES: Final = 20
"""So often a name is drawn again that others of the twin bear; then it becomes longer."""

T = TypeVar("T", bound=Hashable)


def write(folder: Path, shape: Shape, students: int, unlike: Collection[str], *, at_once: bool) -> None:
    """Write a twin of so many students, the same each time.

    Args:
        folder: exists; the twin's files in it are replaced.
        shape: of somebody at least.
        students: at least 1.
        unlike: what none of its names and numbers may contain, in lower case.
        at_once: all come at once, whatever the shape's curve.

    Raises:
        OSError: a file cannot be written.
    """
    draw = _Draw(unlike)
    words = draw.words([_NUMBER_LENGTH] * students, string.ascii_uppercase)
    numbers = [f"{word}0" for word in words]  # a list's line without any digit is taken for its heading
    steps = draw.several(shape.steps, students)
    people = zip(numbers, _names(draw, shape, students), strict=True)
    export = (
        _row(place, number, names, step, shape.year)
        for place, (number, names) in enumerate(people)
        for step in steps[place]
    )
    _write(folder / EXPORT, apogee(), export)
    groups = (
        {"student_number": number, "year": str(shape.year), "element": unit.element, "group": unit.group}
        | {"element_label": unit.element}
        for number, mine in zip(numbers, steps, strict=True)
        for unit in _units(draw, shape, primary_of(mine).step)
    )
    _write(folder / GROUPS, apogee_groups(), groups)
    draw.chance.shuffle(numbers)
    with (folder / ARRIVALS).open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, delimiter=";", lineterminator="\n")
        out.writerow(("seconds", "student_number"))
        points = ((0.0, 1.0),) if at_once or shape.curve is None else shape.curve.points
        ends = [round(share * students) for share in accumulate(share for _, share in points)]
        for (seconds, _), first, end in zip(points, [0, *ends], ends, strict=False):
            out.writerows((f"{seconds:.1f}", number) for number in numbers[first:end])


class _Draw:
    """Draws by one chance; words contain nothing of `unlike`."""

    def __init__(self, unlike: Collection[str]) -> None:
        self.chance = random.Random("twin")  # noqa: S311 (invented people, the same each time)
        self._unlike = unlike
        self._sizes = sorted({len(each) for each in unlike})

    def several(self, among: Counter[T], count: int) -> list[T]:
        """So many of them, as often as they are."""
        return self.chance.choices(list(among), list(among.values()), k=count)

    def words(self, lengths: Iterable[int], letters: str) -> list[str]:
        """Words of these lengths, no two alike."""
        found: dict[str, None] = {}
        for length in lengths:
            more = 0
            while (word := self._word(length + more // _RETRIES, letters)) in found:
                more += 1
            found[word] = None
        return list(found)

    def _word(self, length: int, letters: str) -> str:
        text = ""
        while len(text) < length:
            then = text + self.chance.choice(letters)
            if not any(then[-size:].lower() in self._unlike for size in self._sizes if size <= len(then)):
                text = then
        return text


def _names(draw: _Draw, shape: Shape, students: int) -> list[tuple[str, str]]:
    """Family and given names, of homonyms one after the other."""
    bearers: list[int] = []
    while sum(bearers) < students:
        bearers += draw.several(shape.homonyms, students - sum(bearers))
    lengths = draw.several(shape.names, len(bearers))
    both = draw.words([family + given for family, given in lengths], string.ascii_lowercase)
    found: list[tuple[str, str]] = []
    for word, (family, _), count in zip(both, lengths, bearers, strict=True):
        found += [(word[:family].capitalize(), word[family:].capitalize())] * count
    return found[:students]


def _units(draw: _Draw, shape: Shape, step: str) -> Iterable[Unit]:
    [count] = draw.several(shape.unit_counts[step], 1)
    found: dict[Unit, None] = {}
    while len(found) < count:
        found |= dict.fromkeys(draw.several(shape.units[step], count - len(found)))
    return found


def _row(place: int, number: str, names: tuple[str, str], step: EnrolledStep, year: int) -> dict[str, str]:
    family, given = names
    return {
        "student_number": number,
        "birth_name": family or given,
        "given_name": given or family,
        "birth_date": f"{_BORN + timedelta(days=place % _DAYS):%d/%m/%Y}",
        "personal_mail": f"{number.lower()}@twin.invalid",
        "year": str(year),
        "step": step.step,
        "step_version": "1",
        "component": step.component,
        "step_label": step.step,
        "primary": "O" if step.primary else "N",
        "state": "E",
        "payment": "P" if step.paid else "A",
        "pedagogical": "O" if step.validated else "N",
    }


def _write(path: Path, profile: FeedProfile, rows: Iterable[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, delimiter=";", lineterminator="\n")
        columns: Sequence[tuple[str, str]] = [(each.name, each.field) for each in profile.columns]
        out.writerow([name for name, _ in columns])
        out.writerows([row.get(field, "") for _, field in columns] for row in rows)
