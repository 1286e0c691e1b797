"""Makes a registrar's export in the Apogée profile: invented students, the same ones each time.

    python -m examples.generate --students 500 --year 2026 --out examples/registrar-2026.csv

The same arguments give the same bytes, on every version of Python. What is promised of a file is in
`examples/README.md`; a test holds it to that. Lines are written as they are made, so that the number of
students is bounded by the disk only.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TextIO, TypeVar

from examples.names import ORIGINS, Origin
from examples.steps import EXTRA_STEPS, STEPS, Step

COLUMNS = (
    "COD_ETU", "COD_NNE_IND", "LIB_NOM_PAT_IND", "LIB_NOM_USU_IND", "LIB_PR1_IND", "DATE_NAI_IND",
    "MAIL_PERSO", "COD_ANU", "COD_ETP", "COD_VRS_VET", "COD_CMP", "LIB_ETP", "TEM_IAE_PRM",
    "ETA_IAE", "ETA_PMT_IAE", "IP_VALIDE",
)  # fmt: skip
SEED = 2026
SEPARATOR = ";"
MAIL_DOMAINS = ("example.org", "example.com", "example.net", "courriel.example", "boite.example")  # RFC 2606

HOMONYM_EVERY = 90  # students; each bears the name of one shortly before
PEDAGOGICAL_PENDING_EVERY = 26  # students: 3.8 %
WITH_INE = 0.96  # the others have a provisional one, which exports leave empty
WITH_MAIL = 0.98
WITH_USAGE_NAME = 0.06
WITH_DOUBLE_NAME = 0.04
WITH_EXTRA_STEP = 0.09
WITH_CANCELLED_STEP = 0.02
MATURE = 0.02
AWAITING_FROM = 100  # students: smaller files have nobody whose administrative enrolment is not complete

_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
_PLACES = sum(step.places for step in STEPS)
_DAYS = 365  # people of one name have different birthdays
_FOLDED = str.maketrans(
    {"đ": "d", "Đ": "D", "ø": "o", "ł": "l", "Ł": "L", "ß": "ss", "œ": "oe", "\u0131": "i"}
)

T = TypeVar("T")
Row = dict[str, str]


class StudentBody:
    """Invented students, one after the other.

    Only `random.Random.random` is used, whose sequence Python promises for every version.
    """

    def __init__(self, year: int, seed: int) -> None:
        self._year = year
        self._random = random.Random(seed).random  # noqa: S311 -- invented data, repeatable on purpose
        self._bearers: dict[str, int] = {}  # how many students bear a name
        self._recent: list[tuple[str, str]] = []

    def rows(self, index: int, *, awaiting: str = "") -> list[Row]:
        """The lines of the student at `index`, from 0.

        Args:
            index: also gives the student number and whether the pedagogical enrolment is pending.
            awaiting: `C` or `A`: the administrative enrolment is being created, or awaits payment.
        """
        step = self._step()
        person = self._person(index, step)
        pending = index % PEDAGOGICAL_PENDING_EVERY == PEDAGOGICAL_PENDING_EVERY - 1
        first = self._enrolment(step, primary=True) | {"IP_VALIDE": "N" if pending else "O"}
        if awaiting == "C":
            first |= {"ETA_IAE": "C", "ETA_PMT_IAE": "", "IP_VALIDE": "N"}
        elif awaiting == "A":
            first |= {"ETA_PMT_IAE": "A"}
        lines = [person | first]
        extra = int(self._random() * len(EXTRA_STEPS))
        if self._random() < WITH_EXTRA_STEP:
            lines.append(person | self._enrolment(EXTRA_STEPS[extra], primary=False))
        if self._random() < WITH_CANCELLED_STEP:
            other = EXTRA_STEPS[(extra + 1) % len(EXTRA_STEPS)]
            state = "A" if self._random() < 0.7 else "R"  # noqa: PLR2004 -- most are cancelled, some ended
            lines.append(person | self._enrolment(other, primary=False) | {"ETA_IAE": state})
        return lines

    def _pick(self, among: Sequence[T]) -> T:
        return among[int(self._random() * len(among))]

    def _step(self) -> Step:
        place = self._random() * _PLACES
        for step in STEPS:
            place -= step.places
            if place < 0:
                return step
        return STEPS[-1]

    def _person(self, index: int, step: Step) -> Row:
        family, given, born = self._name_and_birth(index, step)
        usage = self._pick(self._origin().family) if self._random() < WITH_USAGE_NAME else ""
        number = 20_000_000 + self._year % 100 * 100_000 + index + 1
        ine = f"{(index * 7_919 + 104_729) % 10**9:09d}{self._pick(_LETTERS)}{self._pick(_LETTERS)}"
        with_ine, with_mail = self._random() < WITH_INE, self._random() < WITH_MAIL
        mail = f"{fold(given)}.{fold(usage or family)}{index + 1}@{self._pick(MAIL_DOMAINS)}"
        return {
            "COD_ETU": str(number),
            "COD_NNE_IND": ine if with_ine else "",
            "LIB_NOM_PAT_IND": family,
            "LIB_NOM_USU_IND": usage,
            "LIB_PR1_IND": given,
            "DATE_NAI_IND": f"{born:%d/%m/%Y}",
            "MAIL_PERSO": mail if with_mail else "",
        }

    def _name_and_birth(self, index: int, step: Step) -> tuple[str, str, date]:
        """A name, and a birthday that no other bearer of this name has."""
        family, given = self._name()
        if index % HOMONYM_EVERY == HOMONYM_EVERY // 2 and self._recent:
            family, given = self._recent[0]
        while self._bearers.get(fold(family + given), 0) >= _DAYS:
            family, given = self._name()
        self._recent = [*self._recent[-9:], (family, given)]
        key = fold(family + given)
        bearers = self._bearers.get(key, 0)
        self._bearers[key] = bearers + 1
        age = 17 + step.level + int(self._random() ** 3 * 5)
        if self._random() < MATURE:
            age += 8 + int(self._random() * 30)
        day = (sum(map(ord, key)) + 37 * bearers) % _DAYS  # 37 and 365 have no common divisor
        return family, given, date(self._year - age, 1, 1) + timedelta(days=day)

    def _name(self) -> tuple[str, str]:
        origin = self._origin()
        family, given = self._pick(origin.family), self._pick(origin.given)
        if self._random() < WITH_DOUBLE_NAME:
            second = self._pick(origin.family)
            if " " not in family + second and second != family:
                family = f"{family}-{second}" if self._random() < 0.8 else f"{family} {second}"  # noqa: PLR2004
        return unicodedata.normalize("NFC", family), unicodedata.normalize("NFC", given)

    def _origin(self) -> Origin:
        share = self._random()
        for origin in ORIGINS:
            share -= origin.share
            if share < 0:
                return origin
        return ORIGINS[0]

    def _enrolment(self, step: Step, *, primary: bool) -> Row:
        return {
            "COD_ANU": str(self._year),
            "COD_ETP": step.code,
            "COD_VRS_VET": f"{self._year % 100}1",
            "COD_CMP": step.component,
            "LIB_ETP": step.label,
            "TEM_IAE_PRM": "O" if primary else "N",
            "ETA_IAE": "E",
            "ETA_PMT_IAE": "P",
            "IP_VALIDE": "O",
        }


def fold(text: str) -> str:
    """Letters and digits of `text` in lower case, without accents."""
    plain = unicodedata.normalize("NFKD", text.translate(_FOLDED)).encode("ascii", "ignore").decode()
    return "".join(character for character in plain.lower() if character.isalnum())


def bad_lines(year: int) -> list[list[str]]:
    """Lines that must be refused, each for a reason of its own, of students who have no other line."""
    changes: tuple[Row, ...] = (
        {"DATE_NAI_IND": "31/02/2007"},
        {"LIB_NOM_PAT_IND": ""},
        {"ETA_IAE": "X"},
        {"MAIL_PERSO": "camille.perdue(chez)example.org"},
        {"COD_NNE_IND": "12345"},
        {"DATE_NAI_IND": f"14/07/{year}"},
        {"LIB_PR1_IND": "Cam\x07ille"},
        {"IP_VALIDE": "O" + SEPARATOR + "O"},  # one field too many
    )
    lines = []
    for number, change in enumerate(changes, start=1):
        row = {
            "COD_ETU": str(99_000_000 + number),
            "COD_NNE_IND": f"{999_000_000 + number}ZZ",
            "LIB_NOM_PAT_IND": "Égarée",
            "LIB_NOM_USU_IND": "",
            "LIB_PR1_IND": "Camille",
            "DATE_NAI_IND": f"{number:02d}/03/2007",
            "MAIL_PERSO": f"camille.egaree{number}@example.org",
            "COD_ANU": str(year),
            "COD_ETP": "L1INFO",
            "COD_VRS_VET": f"{year % 100}1",
            "COD_CMP": "SCI",
            "LIB_ETP": "Licence 1 Informatique",
            "TEM_IAE_PRM": "O",
            "ETA_IAE": "E",
            "ETA_PMT_IAE": "P",
            "IP_VALIDE": "O",
        } | change
        lines.append(SEPARATOR.join(row[column] for column in COLUMNS).split(SEPARATOR))
    return lines


def lines(students: int, year: int, seed: int = SEED) -> Iterator[list[str]]:
    """The export's lines below the header: `students` valid students, and some bad lines among them."""
    body = StudentBody(year, seed)
    bad = bad_lines(year)
    spacing = students // (len(bad) + 1) + 1
    quarter = students // 4
    awaiting = {quarter: "C", 2 * quarter: "A", 3 * quarter: "C", 4 * quarter - 1: "A"}
    for index in range(students):
        state = awaiting.get(index, "") if students >= AWAITING_FROM else ""
        for row in body.rows(index, awaiting=state):
            yield [row[column] for column in COLUMNS]
        if bad and index % spacing == spacing - 1:
            yield bad.pop(0)
    yield from bad


def write(out: TextIO, *, students: int, year: int, seed: int = SEED) -> None:
    """Write a whole export."""
    writer = csv.writer(out, delimiter=SEPARATOR, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(lines(students, year, seed))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a registrar's export of invented students.")
    parser.add_argument("--students", type=int, default=500, help="valid students (default 500)")
    parser.add_argument("--year", type=int, default=2026, help="academic year, by its first year")
    parser.add_argument("--seed", type=int, default=SEED, help="other seeds give other people")
    parser.add_argument("--out", type=Path, help="file to write (default: standard output)")
    options = parser.parse_args(arguments)
    if options.students < 1:
        parser.error("--students must be at least 1")
    if options.out is None:
        write(sys.stdout, students=options.students, year=options.year, seed=options.seed)
        return 0
    with options.out.open("w", encoding="utf-8", newline="") as out:
        write(out, students=options.students, year=options.year, seed=options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
