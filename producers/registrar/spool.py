"""Holds a file's facts while they are compared with one another, on disk and not in memory.

The spool is SQLite's anonymous temporary database: a file that has no name any more once it is open, so that
nothing personal stays behind, even after kill -9. It lives where TMPDIR says.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from types import TracebackType
from typing import Self

from pipeline.errors import SesameError
from pipeline.store.feeds import StepKey
from producers.registrar.faults import Fault, Rejection
from producers.registrar.profile import Profile
from producers.registrar.rows import PERSON_FIELDS, Fact

_PAGE = 500
_SHOWN_LINES_MAX = 5
_STUDENT_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")  # schemas.account.StudentNumber
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
CREATE TABLE facts (
    line INTEGER PRIMARY KEY, student TEXT NOT NULL, step BLOB NOT NULL, person BLOB,
    fingerprint TEXT NOT NULL, fact TEXT NOT NULL
);
CREATE TABLE rejections (
    line INTEGER NOT NULL, student TEXT NOT NULL, field TEXT NOT NULL, fault TEXT NOT NULL,
    value TEXT NOT NULL, detail TEXT NOT NULL
);
"""


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


class SpoolFailed(SesameError):
    """The temporary copy of the export could not be kept, most often because the disk is full. Make room, or
    let TMPDIR name a folder that has more, then import again. Nothing of the file was published before all of
    it had been read."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """One fact of the file. `fingerprint`: SHA-256 of its canonical JSON, in hexadecimal."""

    line: int
    fingerprint: str
    fact: Fact

    @property
    def student(self) -> str:
        """The student number."""
        return str(self.fact["student_number"])

    @property
    def step_key(self) -> StepKey:
        """Student number, year, step, step version."""
        return self.student, self.fact["year"], self.fact["step"], self.fact["step_version"]

    @property
    def cancelled(self) -> bool:
        """Whether the registrar no longer holds this enrolment."""
        return "reason" in self.fact


class Spool:
    """One import's facts and rejections. Use as a context manager; owned by one thread."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def __enter__(self) -> Self:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_SCHEMA)
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
        """The temporary database, for what else is to be kept on disk while the import lasts."""
        return self._database

    def keep(self, line: int, fact: Fact) -> None:
        """Take a line's fact."""
        step = _digest([fact["student_number"], fact["year"], fact["step"], fact["step_version"]])
        person = None if "reason" in fact else _digest([fact.get(name) for name in PERSON_FIELDS])
        text = _canonical(fact)
        fingerprint = sha256(text.encode()).hexdigest()
        self._database.execute(
            "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?)",
            (line, fact["student_number"], step, person, fingerprint, text),
        )

    def reject(self, rejection: Rejection) -> None:
        """Take a line's fault."""
        self._database.execute(
            "INSERT INTO rejections VALUES (?, ?, ?, ?, ?, ?)",
            (
                rejection.line,
                _storable(rejection.student_number),
                rejection.column,
                rejection.fault.value,
                _storable(rejection.value),
                rejection.detail,
            ),
        )

    def settle(self) -> int:
        """Compare the facts with one another: contradictions are rejected, further copies left out.

        Returns:
            How many lines were copies.
        """
        self._database.execute("CREATE INDEX by_student ON facts (student, person)")
        self._database.execute("CREATE INDEX by_step ON facts (step, fingerprint)")
        self._database.execute("CREATE INDEX by_rejected_student ON rejections (student)")
        contradicting = self._database.execute(
            "SELECT student FROM facts GROUP BY student HAVING COUNT(DISTINCT person) > 1"
        )
        for (student,) in contradicting.fetchall():
            self._reject_person(student)
        conflicting = self._database.execute(
            "SELECT step FROM facts GROUP BY step HAVING COUNT(DISTINCT fingerprint) > 1"
        )
        for (step,) in conflicting.fetchall():
            self._reject_step(step)
        return self._database.execute(
            "DELETE FROM facts WHERE line NOT IN (SELECT MIN(line) FROM facts GROUP BY step)"
        ).rowcount

    def _reject_person(self, student: str) -> None:
        """All lines of a student whose identity is not the same on each of them."""
        lines = self._lines("student", student)
        for name in PERSON_FIELDS:
            different = self._database.execute(
                "SELECT COUNT(DISTINCT COALESCE(json_extract(fact, ?), '')) FROM facts"
                " WHERE student = ? AND person IS NOT NULL",
                (f"$.{name}", student),
            ).fetchone()[0]
            if different > 1:
                self._database.execute(
                    "INSERT INTO rejections SELECT line, student, ?, ?,"
                    " COALESCE(json_extract(fact, ?), ''), ? FROM facts WHERE student = ?",
                    (
                        self._profile.column_of(name),
                        Fault.CONTRADICTING_PERSON.value,
                        f"$.{name}",
                        f"{lines} name one student and do not agree",
                        student,
                    ),
                )
        self._database.execute("DELETE FROM facts WHERE student = ?", (student,))

    def _reject_step(self, step: bytes) -> None:
        """All lines of one student's step, since they say different things."""
        lines = self._lines("step", step)
        self._database.execute(
            "INSERT INTO rejections SELECT line, student, ?, ?, json_extract(fact, '$.step'), ?"
            " FROM facts WHERE step = ?",
            (
                self._profile.column_of("step"),
                Fault.CONFLICTING_LINES.value,
                f"{lines} are about the same student, year, step and version, and differ",
                step,
            ),
        )
        self._database.execute("DELETE FROM facts WHERE step = ?", (step,))

    def _lines(self, column: str, value: str | bytes) -> str:
        query = f"SELECT line FROM facts WHERE {column} = ? ORDER BY line LIMIT ?"  # noqa: S608 -- ours
        found = self._database.execute(query, (value, _SHOWN_LINES_MAX + 1)).fetchall()
        shown = ", ".join(str(line) for (line,) in found[:_SHOWN_LINES_MAX])
        return f"lines {shown}{' and others' if len(found) > _SHOWN_LINES_MAX else ''}"

    def students(self) -> int:
        """How many different students the facts are about."""
        return int(self._database.execute("SELECT COUNT(DISTINCT student) FROM facts").fetchone()[0])

    def people(self) -> dict[int, int]:
        """How many students the facts are about, by academic year; cancelled enrolments are left out."""
        rows = self._database.execute(
            "SELECT json_extract(fact, '$.year'), COUNT(DISTINCT student) FROM facts"
            " WHERE person IS NOT NULL GROUP BY 1"
        )
        return {int(year): int(students) for year, students in rows}

    def has_year(self, year: int) -> bool:
        """Whether any fact is of this academic year."""
        query = "SELECT 1 FROM facts WHERE json_extract(fact, '$.year') = ? LIMIT 1"
        return self._database.execute(query, (year,)).fetchone() is not None

    def unattributed(self) -> int:
        """How many rejected lines do not say which student they are about."""
        rows = self._database.execute("SELECT DISTINCT line, student FROM rejections")
        return len({line for line, student in rows if not _STUDENT_NUMBER.fullmatch(_restored(student))})

    def absent(self, keys: Sequence[StepKey]) -> list[StepKey]:
        """Those of `keys` that no line of the file is about, of students none of whose lines was rejected."""
        return [key for key in keys if not self._is_named(key)]

    def _is_named(self, key: StepKey) -> bool:
        found = self._database.execute(
            "SELECT 1 FROM facts WHERE step = ? UNION ALL SELECT 1 FROM rejections WHERE student = ? LIMIT 1",
            (_digest(list(key)), _storable(key[0])),
        )
        return found.fetchone() is not None

    def rejected(self) -> tuple[int, Counter[Fault]]:
        """How many lines were rejected, and for which faults (each counted once per line)."""
        lines = self._database.execute("SELECT COUNT(DISTINCT line) FROM rejections").fetchone()[0]
        faults = self._database.execute(
            "SELECT fault, COUNT(DISTINCT line) FROM rejections GROUP BY fault"
        ).fetchall()
        return int(lines), Counter({Fault(fault): count for fault, count in faults})

    def rejections(self) -> Iterator[Rejection]:
        """Every rejection, by line."""
        rows = self._database.execute("SELECT * FROM rejections ORDER BY line, rowid")
        for line, student, column, fault, value, detail in rows:
            yield Rejection(line, _restored(student), column, Fault(fault), _restored(value), detail)

    def facts(self) -> Iterator[list[Spooled]]:
        """Every fact that is left, by line, some hundreds at a time."""
        rows = self._database.execute("SELECT line, fingerprint, fact FROM facts ORDER BY line")
        while page := rows.fetchmany(_PAGE):
            yield [Spooled(line, fingerprint, json.loads(fact)) for line, fingerprint, fact in page]


def _digest(parts: Iterable[object]) -> bytes:
    """Of values without control characters; None and a missing value are the same."""
    text = "\x1f".join("" if part is None else str(part) for part in parts)
    return blake2b(text.encode(), digest_size=16).digest()


def _storable(value: str) -> bytes:
    """As bytes, since SQLite's text takes neither lone surrogates nor zero bytes."""
    return value.encode("utf-8", "surrogatepass")


def _restored(value: str | bytes) -> str:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value
