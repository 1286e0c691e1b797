"""An import's temporary database on disk: lines, faults, and affected people.

SQLite's anonymous temporary database is a file without a name, so nothing personal stays behind, even after
kill -9. It is in TMPDIR.
"""

from __future__ import annotations

import re
import sqlite3
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import ClassVar, Self

from pipeline.errors import SesameError
from producers.registrar.faults import DAMAGES, Fault, Rejection
from producers.registrar.guard import Affected, OutlineChange
from producers.registrar.profile import FeedProfile
from producers.registrar.rows import Fact
from schemas.language import gettext

SHOWN_LINES_MAX = 5
_STUDENT_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")  # schemas.account.StudentNumber
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
CREATE TABLE rejections (
    line INTEGER NOT NULL, student TEXT NOT NULL, field TEXT NOT NULL, fault TEXT NOT NULL,
    value TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE TABLE affected (
    student TEXT NOT NULL, year INTEGER NOT NULL, code TEXT NOT NULL, part TEXT NOT NULL,
    change TEXT NOT NULL, columns TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL
);
"""


class SpoolFailed(SesameError):
    """The temporary copy of the export could not be kept, most often because the disk is full. Make room, or
    let TMPDIR name a folder that has more, then import again. Nothing of the file was published before all of
    it had been read."""


class Lines(ABC):
    """A file's sound lines, and others' faults. Use as a context manager; owned by one thread."""

    schema: ClassVar[str]
    """The tables of a kind of import. `facts` has the sound lines: line, student, year, cancels, and more."""

    def __init__(self, profile: FeedProfile) -> None:
        self._profile = profile

    def __enter__(self) -> Self:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_SCHEMA + self.schema)
        self._database.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        if isinstance(error, sqlite3.Error):
            raise SpoolFailed from error

    @property
    def database(self) -> sqlite3.Connection:
        """The temporary database, for other data to keep on disk during the import."""
        return self._database

    def reject(self, rejection: Rejection) -> None:
        """Store a fault of a line."""
        self._database.execute(
            "INSERT INTO rejections VALUES (?, ?, ?, ?, ?, ?)",
            (
                rejection.line,
                storable(rejection.student_number),
                rejection.column,
                rejection.fault.value,
                storable(rejection.value),
                rejection.detail,
            ),
        )

    def unattributed(self) -> int:
        """How many rejected lines do not say for certain which student they are about."""
        rows = self._database.execute("SELECT DISTINCT line, student, field FROM rejections")
        return len(
            {
                line
                for line, student, column in rows
                if not column or not _STUDENT_NUMBER.fullmatch(_restored(student))
            }
        )

    def rejected(self) -> tuple[int, Counter[Fault]]:
        """How many lines were rejected, and for which faults (each counted once per line)."""
        lines = self._database.execute("SELECT COUNT(DISTINCT line) FROM rejections").fetchone()[0]
        faults = self._database.execute(
            "SELECT fault, COUNT(DISTINCT line) FROM rejections GROUP BY fault"
        ).fetchall()
        return int(lines), Counter({Fault(fault): count for fault, count in faults})

    def damaged(self) -> int:
        """How many lines hold damaged text."""
        query = "SELECT COUNT(DISTINCT line) FROM rejections WHERE fault IN (?, ?)"
        return int(self._database.execute(query, DAMAGES).fetchone()[0])

    def rejections(self) -> Iterator[Rejection]:
        """Every rejection, by line."""
        rows = self._database.execute("SELECT * FROM rejections ORDER BY line, rowid")
        for line, student, column, fault, value, detail in rows:
            yield Rejection(line, _restored(student), column, Fault(fault), _restored(value), detail)

    def shown_lines(self, which: str, *values: str | int | bytes) -> str:
        """`lines 2, 5 and others`, for people. `which`: a condition of ours, for `values`."""
        query = f"SELECT line FROM facts WHERE {which} ORDER BY line LIMIT ?"  # noqa: S608 -- ours
        found = self._database.execute(query, (*values, SHOWN_LINES_MAX + 1)).fetchall()
        numbers = ", ".join(str(line) for (line,) in found[:SHOWN_LINES_MAX])
        if len(found) > SHOWN_LINES_MAX:
            return gettext("lines {numbers} and others", numbers=numbers)
        return gettext("lines {numbers}", numbers=numbers)

    def reject_facts(
        self, which: str, *values: str | int | bytes, field: str, shown: str, fault: Fault, detail: str
    ) -> None:
        """Turn sound lines into rejections, for one reason.

        Args:
            which: a condition of ours, for `values`.
            field: the one at fault.
            shown: its value in `facts`, an expression of ours.
        """
        column = self._profile.column_of(field) or field
        self._database.execute(
            f"INSERT INTO rejections SELECT line, CAST(student AS BLOB), ?, ?, {shown}, ?"  # noqa: S608 -- ours
            f" FROM facts WHERE {which} ORDER BY line",
            (column, fault.value, detail, *values),
        )
        self._database.execute(f"DELETE FROM facts WHERE {which}", values)  # noqa: S608 -- ours

    def note_affected(
        self, key: tuple[str, int, str, str], change: OutlineChange, shown: tuple[str, str, str]
    ) -> None:
        """Record a student's loss or change (`guard.Affected`). `shown`: columns, value before, after."""
        self._database.execute(
            "INSERT INTO affected VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*key, change.value, *shown)
        )

    def affected(self) -> Iterator[Affected]:
        """All recorded losses and changes, by year and student."""
        rows = self._database.execute(
            "SELECT student, year, code, part, change, columns, before, after FROM affected"
            " ORDER BY year, student, code, part, change"
        )
        for *key, change, columns, before, after in rows:
            yield Affected(tuple(key), OutlineChange(change), columns, before, after)

    def affected_people(self) -> Iterator[tuple[int, str, frozenset[OutlineChange]]]:
        """Year, student, and what is unusual about them; by year."""
        rows = self._database.execute("SELECT year, student, change FROM affected ORDER BY year, student")
        for (year, student), found in groupby(rows, key=itemgetter(0, 1)):
            yield year, student, frozenset(OutlineChange(change) for _, _, change in found)

    @abstractmethod
    def keep(self, line: int, fact: Fact) -> None:
        """Store the contents of a line."""

    @abstractmethod
    def settle(self) -> int:
        """Compare the lines with one another; return how many were copies."""

    def students(self) -> int:
        """How many students the sound lines are about."""
        return int(self._database.execute("SELECT COUNT(DISTINCT student) FROM facts").fetchone()[0])

    def people(self) -> dict[int, int]:
        """How many students the lines that hold are about, by academic year."""
        rows = self._database.execute(
            "SELECT year, COUNT(DISTINCT student) FROM facts WHERE NOT cancels GROUP BY year"
        )
        return {int(year): int(students) for year, students in rows}

    def has_year(self, year: int) -> bool:
        """True if a sound line is of this academic year."""
        query = "SELECT 1 FROM facts WHERE year = ? LIMIT 1"
        return self._database.execute(query, (year,)).fetchone() is not None


def storable(value: str) -> bytes:
    """The text as bytes, since SQLite's text takes no lone surrogates or zero bytes.

    A student number is stored so in every row: to SQLite text and bytes are never equal.
    """
    return value.encode("utf-8", "surrogatepass")


def _restored(value: str | bytes) -> str:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value
