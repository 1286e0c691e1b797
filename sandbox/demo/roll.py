"""The sweep's expectations from the registrar's files, by independent rules.

Nothing here comes from Sésame: the columns and the files' promises are those of `examples/README.md`. An
enrolment is in force when `ETA_IAE` is E and its payment is not awaited. Students whose number begins with 99
have bad lines only, and no account. Teaching units open with any enrolment of the year that is in force and
pedagogically validated.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

_BAD = "99"
_CANCELLED = ("A", "R")
ADMINISTRATIVE, PEDAGOGICAL = "administrative_enrolment_pending", "pedagogical_enrolment_pending"
OTHER = "other_enrolment_pending"


@dataclass(slots=True)
class Student:
    """One student.

    Attributes:
        steps: `STEP-VERSION` of the enrolments in force.
        groups: keys of the directory's groups.
        cohorts: idnumbers of Moodle's cohorts.
        years, validated: with an enrolment in force; of which one is pedagogically validated.
        unvalidated: names of the cohorts of enrolments in force that are not given yet.
        elsewhere: likewise, of enrolments that are not in force.
    """

    number: str
    family_name: str
    given_name: str
    steps: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    cohorts: set[str] = field(default_factory=set)
    years: set[str] = field(default_factory=set)
    validated: set[str] = field(default_factory=set)
    unvalidated: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)

    @property
    def pending(self) -> set[str]:
        """Names of the cohorts awaited first: those of an enrolment in force."""
        return self.unvalidated or self.elsewhere

    @property
    def reason(self) -> str | None:
        """What `pending` waits for."""
        if not self.pending:
            return None
        return PEDAGOGICAL if self.unvalidated else OTHER if self.opened else ADMINISTRATIVE

    @property
    def opened(self) -> bool:
        """Whether an enrolment is in force: without one no target is touched."""
        return bool(self.steps)

    @property
    def complete(self) -> bool:
        """Whether nothing is waited for."""
        return self.opened and not self.pending


def read(path: Path, groups: Path | None = None) -> dict[str, Student]:
    """The students of a registrar's file, by number, with the file of groups."""
    students: dict[str, Student] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter=";"):
            if not row["COD_ETU"].startswith(_BAD):
                _add(students, row)
    if groups is not None:
        with groups.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter=";"):
                _follow(students[row["COD_ETU"]], row)
    return students


def _follow(student: Student, row: dict[str, str]) -> None:
    """Add a teaching unit, and perhaps a group of it: a cohort each."""
    unit, year, label, group = row["COD_ELP"], row["COD_ANU"], row["LIB_ELP"], row["COD_GPE"]
    cohorts = {f"ue-{unit}-{year}": f"{label} {year}"}
    if group:
        cohorts[f"ue-{unit}-{group}-{year}"] = f"{label} {year}, {group}"
    if year in student.validated:
        student.cohorts |= cohorts.keys()
    else:
        (student.unvalidated if year in student.years else student.elsewhere).update(cohorts.values())


def _add(students: dict[str, Student], row: dict[str, str]) -> None:
    number = row["COD_ETU"]
    student = students.setdefault(
        number,
        Student(number, row["LIB_NOM_USU_IND"] or row["LIB_NOM_PAT_IND"], row["LIB_PR1_IND"]),
    )
    if row["ETA_IAE"] in _CANCELLED:
        return
    step, year, label = row["COD_ETP"], row["COD_ANU"], row["LIB_ETP"]
    everybody, courses = f"{label} {year}", f"{label} {year}, cours"
    if row["ETA_IAE"] != "E" or row["ETA_PMT_IAE"] == "A":
        student.elsewhere |= {everybody, courses}
        return
    student.years.add(year)
    student.steps.add(f"{step}-{row['COD_VRS_VET']}")
    student.groups |= {f"etape-{step}-{year}", f"composante-{row['COD_CMP']}-{year}"}
    student.cohorts.add(f"{step}-{year}")
    if row["IP_VALIDE"] == "O":
        student.cohorts.add(f"{step}-{year}-cours")
        student.validated.add(year)
    else:
        student.unvalidated.add(courses)
