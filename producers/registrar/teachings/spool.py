"""Keep a file's units and groups on disk, not in memory, and compare them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from producers.registrar.faults import Fault, Rejection
from producers.registrar.lines import Lines, shown, storable
from producers.registrar.rows import Fact
from producers.registrar.spool import canonical
from schemas.events import TEACHINGS_MAX
from schemas.language import gettext, gettext_noop

_PAGE = 500
_SCHEMA = """
CREATE TABLE taught (
    line INTEGER PRIMARY KEY, student TEXT NOT NULL, year INTEGER NOT NULL, element TEXT NOT NULL,
    grp TEXT NOT NULL, label TEXT NOT NULL, dropped INTEGER NOT NULL, said BLOB NOT NULL
);
CREATE TABLE lists (line INTEGER PRIMARY KEY, student TEXT NOT NULL, year INTEGER NOT NULL);
CREATE TABLE to_publish (
    line INTEGER PRIMARY KEY, student TEXT NOT NULL, year INTEGER NOT NULL, base INTEGER NOT NULL,
    listed TEXT NOT NULL
);
"""
_SAME = "student = ? AND year = ? AND element = ? AND grp = ?"


class Stated(NamedTuple):
    """What the file has of one student's year.

    Attributes:
        line: its first line; after the last one if it has none.
        held: unit and group to the unit's name, of the lines that hold.
        dropped: unit and group of those that the file cancels.
        whole: no line of this student was refused.
    """

    line: int
    student: str
    year: int
    held: dict[tuple[str, str], str]
    dropped: frozenset[tuple[str, str]]
    whole: bool


class TeachingSpool(Lines):
    """One import's units and groups, and its rejections."""

    schema = _SCHEMA

    def keep(self, line: int, fact: Fact) -> None:
        """Store the contents of a line."""
        said = blake2b(canonical(fact).encode(), digest_size=16).digest()
        self._database.execute(
            "INSERT INTO taught VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                line,
                fact["student_number"],
                fact["year"],
                fact["element"],
                fact["group"] or "",
                fact["element_label"] or "",
                fact["state"] == "cancelled",
                said,
            ),
        )

    def settle(self) -> int:
        """Compare the lines with one another: reject contradictions, drop copies.

        Returns:
            How many lines were copies.
        """
        self._database.execute("CREATE INDEX by_list ON taught (student, year, element, grp, said)")
        self._database.execute("CREATE INDEX by_rejected_student ON rejections (student)")
        contradictory = self._database.execute(
            "SELECT student, year, element, grp FROM taught"
            " GROUP BY student, year, element, grp HAVING COUNT(DISTINCT said) > 1"
        )
        for same in contradictory.fetchall():
            self._reject(
                _SAME,
                same,
                Fault.CONFLICTING_LINES,
                gettext_noop(
                    "{lines} are about the same student, year, unit and group, and differ in {what}"
                ),
                self._different(same),
            )
        copies = self._database.execute(
            "DELETE FROM taught WHERE line NOT IN"
            " (SELECT MIN(line) FROM taught GROUP BY student, year, element, grp)"
        ).rowcount
        too_many = self._database.execute(
            "SELECT student, year FROM taught GROUP BY student, year HAVING COUNT(*) > ?", (TEACHINGS_MAX,)
        )
        for student, year in too_many.fetchall():
            self._reject(
                "student = ? AND year = ?",
                (student, year),
                Fault.TOO_MANY_TEACHINGS,
                gettext_noop("{lines} give one student more than {what} units and groups in one year"),
                str(TEACHINGS_MAX),
            )
        self._database.execute("INSERT INTO lists SELECT MIN(line), student, year FROM taught GROUP BY 2, 3")
        return copies

    def _different(self, same: tuple[str | int, ...]) -> str:
        """The columns in which lines with the same key differ."""
        labels, states = self._database.execute(
            f"SELECT COUNT(DISTINCT label), COUNT(DISTINCT dropped) FROM taught WHERE {_SAME}",  # noqa: S608
            same,
        ).fetchone()
        fields = (("element_label", labels), ("state", states))
        return ", ".join(self._profile.column_of(field) for field, values in fields if values > 1)

    def _reject(
        self, which: str, values: tuple[str | int, ...], fault: Fault, sentence: str, what: str
    ) -> None:
        """Reject some lines for one reason.

        Args:
            which: a condition of ours, for `values`.
            sentence: the detail, in English; its fields are `lines` and `what`.
        """
        found = self._database.execute(
            f"SELECT line, student, element FROM taught WHERE {which} ORDER BY line",  # noqa: S608
            values,
        ).fetchall()
        detail = gettext(sentence, lines=shown(line for line, _, _ in found), what=what)
        column = self._profile.column_of("element") or "element"
        for line, student, element in found:
            self.reject(Rejection(line, student, column, fault, element, detail))
        self._database.execute(f"DELETE FROM taught WHERE {which}", values)  # noqa: S608

    def students(self) -> int:
        """How many different students the lines are about."""
        return int(self._database.execute("SELECT COUNT(DISTINCT student) FROM taught").fetchone()[0])

    def people(self) -> dict[int, int]:
        """How many students have a unit, by academic year."""
        rows = self._database.execute(
            "SELECT year, COUNT(DISTINCT student) FROM taught WHERE NOT dropped GROUP BY year"
        )
        return {int(year): int(students) for year, students in rows}

    def has_year(self, year: int) -> bool:
        """Whether any line is of this academic year."""
        query = "SELECT 1 FROM taught WHERE year = ? LIMIT 1"
        return self._database.execute(query, (year,)).fetchone() is not None

    def add_absent(self, students: Iterable[str], year: int, line: int) -> int:
        """Add an empty list of `year` for each of these students whom the file lacks.

        Lines continue after `line`; return the last one.
        """
        for student in students:
            query = "SELECT 1 FROM taught WHERE student = ? AND year = ? LIMIT 1"
            if self._database.execute(query, (student, year)).fetchone() is None:
                line += 1
                self._database.execute("INSERT INTO lists VALUES (?, ?, ?)", (line, student, year))
        return line

    def stated(self) -> Iterator[list[Stated]]:
        """The file's contents of each student's year, by line, some hundreds at a time."""
        rows = self._database.execute("SELECT line, student, year FROM lists ORDER BY line")
        while page := rows.fetchmany(_PAGE):
            yield [self._stated(line, student, year) for line, student, year in page]

    def _stated(self, line: int, student: str, year: int) -> Stated:
        held: dict[tuple[str, str], str] = {}
        dropped = set()
        for element, group, label, gone in self._database.execute(
            "SELECT element, grp, label, dropped FROM taught WHERE student = ? AND year = ?", (student, year)
        ):
            if gone:
                dropped.add((element, group))
            else:
                held[element, group] = label
        refused = self._database.execute(
            "SELECT 1 FROM rejections WHERE student = ? LIMIT 1", (storable(student),)
        ).fetchone()
        return Stated(line, student, year, held, frozenset(dropped), whole=refused is None)
