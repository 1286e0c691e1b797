"""What one adoption read from the targets, in a temporary database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from pipeline.db.scratch import ScratchDatabase

PAGE: Final = 400
_BETWEEN: Final = "\x1f"
"""Separates several numbers of one object."""

_SCHEMA: Final = """
CREATE TABLE objects (
    target TEXT NOT NULL, ref TEXT NOT NULL, login TEXT NOT NULL, mail TEXT NOT NULL,
    numbers TEXT NOT NULL, ine TEXT NOT NULL, birth TEXT NOT NULL, family TEXT NOT NULL, given TEXT NOT NULL,
    student TEXT NOT NULL DEFAULT '', evidence TEXT NOT NULL DEFAULT '',
    standing TEXT NOT NULL DEFAULT 'stranger', id INTEGER PRIMARY KEY, number TEXT NOT NULL
);
CREATE INDEX objects_student ON objects (target, student);
CREATE INDEX objects_ref ON objects (target, ref);
CREATE TABLE names (object INTEGER NOT NULL, target TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL);
CREATE INDEX names_value ON names (kind, value, target);
CREATE INDEX names_object ON names (object);
CREATE TABLE conflicts (
    object INTEGER NOT NULL, kind TEXT NOT NULL, student TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE INDEX conflicts_object ON conflicts (object);
"""


class Standing(StrEnum):
    """How an object relates to the registry."""

    MATCH = "match"  # a student's, by strong evidence or an operator's decision
    CANDIDATE = "candidate"  # may be a student's: an operator decides
    CONFLICT = "conflict"  # contradictory: an operator decides, or corrects it
    STRANGER = "stranger"  # no known person's; its names are reserved all the same


@dataclass(slots=True)
class FoundObject:
    """An object as a target shows it, and its place on the sheet.

    Attributes:
        ref: names it in its target permanently, or as long as it has this name.
        login: as it is written there; empty: it has none.
        mail: the main address, in lower case; empty: there is none.
        numbers: student numbers that it carries; outside the directory whatever is in the
            number's place.
        birth: date of birth, `YYYY-MM-DD`; empty: unknown.
        family, given: its names, several separated by a line break.
        student, evidence: whose it is, and what proves it; empty: unknown.
        id: its row; 0: not on a sheet yet.
        names: (kind, value in lower case) of every login, mail address and principal name, the main ones
            first; of an object read from the sheet, see `Sheet.names_of`.
    """

    target: str
    ref: str
    login: str
    mail: str = ""
    numbers: tuple[str, ...] = ()
    ine: str = ""
    birth: str = ""
    family: str = ""
    given: str = ""
    student: str = ""
    evidence: str = ""
    standing: Standing = Standing.STRANGER
    id: int = 0
    names: tuple[tuple[str, str], ...] = ()

    @property
    def number(self) -> str:
        """The number that it carries; empty unless that is exactly one."""
        return self.numbers[0] if len(self.numbers) == 1 else ""


class Sheet(ScratchDatabase):
    """The objects, their students, and the conflicts."""

    schema = _SCHEMA

    def put(self, found: Iterable[FoundObject]) -> int:
        """Add objects; return how many."""
        objects = iter(found)
        written = 0
        while page := list(islice(objects, PAGE)):
            self._db.execute("BEGIN")
            for each in page:
                self._put(each)
            self._db.execute("COMMIT")
            written += len(page)
        return written

    def _put(self, each: FoundObject) -> None:
        cursor = self._db.execute(
            "INSERT INTO objects (target, ref, login, mail, numbers, ine, birth, family, given, number)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(each.target, each.ref, each.login, each.mail, _BETWEEN.join(each.numbers)),
                *(each.ine, each.birth, each.family, each.given, each.number),
            ),
        )
        self._db.executemany(
            "INSERT INTO names VALUES (?, ?, ?, ?)",
            [(cursor.lastrowid, each.target, kind, value) for kind, value in each.names],
        )

    # --- looking --------------------------------------------------------------------------------------

    def pages(self, target: str) -> Iterator[list[FoundObject]]:
        """Objects of a target, in reading order."""
        after = 0
        query = f"SELECT * FROM objects WHERE target = ? AND id > ? ORDER BY id LIMIT {PAGE}"  # noqa: S608
        while rows := self._rows(query, target, after):
            yield rows
            after = rows[-1].id

    def with_name(self, target: str, kind: str, value: str) -> list[FoundObject]:
        """The objects of a target that have this name."""
        query = "SELECT o.* FROM names n JOIN objects o ON o.id = n.object"
        where = " WHERE n.kind = ? AND n.value = ? AND n.target = ? ORDER BY o.id"
        return self._rows(query + where, kind, value.lower(), target)

    def of_student(self, target: str, student: str) -> list[FoundObject]:
        """The objects of a target that are, or may be, this student's."""
        return self._rows(
            "SELECT * FROM objects WHERE target = ? AND student = ? ORDER BY id", target, student
        )

    def carrying(self, target: str, number: str) -> bool:
        """Whether any object of this target has this number."""
        query = "SELECT 1 FROM objects WHERE target = ? AND student = ? AND number = ? LIMIT 1"
        return self._db.execute(query, (target, number, number)).fetchone() is not None

    def names_of(self, row: FoundObject) -> list[tuple[str, str]]:
        """Kind and value of an object's names."""
        return list(
            self._db.execute("SELECT kind, value FROM names WHERE object = ? ORDER BY rowid", (row.id,))
        )

    def conflicts(self) -> Iterator[tuple[FoundObject, str, str, str]]:
        """All conflicts by target and object: the object, its kind, the student, a detail."""
        query = (
            "SELECT o.*, c.kind, c.student, c.detail FROM conflicts c JOIN objects o ON o.id = c.object"
            " ORDER BY o.target, o.id, c.kind"
        )
        for *values, kind, student, detail in self._db.execute(query):
            yield _row(values), kind, student, detail

    def shared_names(self, target: str, kind: str) -> Iterator[tuple[str, list[FoundObject]]]:
        """Names that several objects of one target have, with those objects."""
        query = (
            "SELECT value FROM names WHERE target = ? AND kind = ?"
            " GROUP BY value HAVING count(DISTINCT object) > 1 ORDER BY value"
        )
        for (value,) in self._db.execute(query, (target, kind)).fetchall():
            yield value, self.with_name(target, kind, value)

    def numbers_twice(self, target: str) -> frozenset[str]:
        """Numbers that several objects of one target carry."""
        query = (
            "SELECT number FROM objects WHERE target = ? AND number != '' GROUP BY number HAVING count(*) > 1"
        )
        return frozenset(number for (number,) in self._db.execute(query, (target,)))

    def students_twice(self, target: str) -> Iterator[tuple[str, list[FoundObject]]]:
        """Students who match several objects of one target."""
        query = (
            "SELECT student FROM objects WHERE target = ? AND student != '' AND evidence != ''"
            " GROUP BY student HAVING count(*) > 1 ORDER BY student"
        )
        for (student,) in self._db.execute(query, (target,)).fetchall():
            yield student, [row for row in self.of_student(target, student) if row.evidence]

    def standings(self) -> dict[tuple[str, str], int]:
        """Count objects by target and standing."""
        rows = self._db.execute("SELECT target, standing, count(*) FROM objects GROUP BY target, standing")
        return {(target, standing): count for target, standing, count in rows}

    def kinds(self) -> dict[str, int]:
        """How many conflicts there are of each kind."""
        return dict(self._db.execute("SELECT kind, count(*) FROM conflicts GROUP BY kind ORDER BY kind"))

    # --- judging --------------------------------------------------------------------------------------

    def judge(self, rows: Sequence[FoundObject]) -> None:
        """Record these objects' students and standings."""
        self._db.executemany(
            "UPDATE objects SET student = ?, evidence = ?, standing = ? WHERE id = ?",
            [(row.student, row.evidence, row.standing, row.id) for row in rows],
        )

    def contradict(self, row: FoundObject, kind: str, student: str, detail: str = "") -> None:
        """Record a conflict; the object's standing is conflict, or candidate, from now on."""
        self._db.execute("INSERT INTO conflicts VALUES (?, ?, ?, ?)", (row.id, kind, student, detail))

    def _rows(self, query: str, *values: Any) -> list[FoundObject]:
        return [_row(row) for row in self._db.execute(query, values)]


def _row(values: Sequence[Any]) -> FoundObject:
    found = FoundObject(*values[:-1])
    found.numbers = tuple(values[4].split(_BETWEEN)) if values[4] else ()
    found.standing = Standing(found.standing)
    return found
