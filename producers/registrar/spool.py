"""Holds a file's facts while they are compared with one another, on disk and not in memory (`refusals`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256

from pipeline.store.feeds import StepKey
from producers.registrar.faults import Fault
from producers.registrar.refusals import Lines, storable
from producers.registrar.rows import PERSON_FIELDS, Fact

_PAGE = 500
_SCHEMA = """
CREATE TABLE facts (
    line INTEGER PRIMARY KEY, student TEXT NOT NULL, step BLOB NOT NULL, person BLOB,
    fingerprint TEXT NOT NULL, fact TEXT NOT NULL
);
"""


canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


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


class Spool(Lines):
    """One import's facts and rejections. Use as a context manager; owned by one thread."""

    schema = _SCHEMA

    def keep(self, line: int, fact: Fact) -> None:
        """Take a line's fact."""
        step = _digest([fact["student_number"], fact["year"], fact["step"], fact["step_version"]])
        person = None if "reason" in fact else _digest([fact.get(name) for name in PERSON_FIELDS])
        text = canonical(fact)
        fingerprint = sha256(text.encode()).hexdigest()
        self._database.execute(
            "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?)",
            (line, fact["student_number"], step, person, fingerprint, text),
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
        lines = self.shown_lines("facts", "student", student)
        for name in PERSON_FIELDS:
            different = self._database.execute(
                "SELECT COUNT(DISTINCT COALESCE(json_extract(fact, ?), '')) FROM facts"
                " WHERE student = ? AND person IS NOT NULL",
                (f"$.{name}", student),
            ).fetchone()[0]
            if different > 1:
                self._database.execute(
                    "INSERT INTO rejections SELECT line, CAST(student AS BLOB), ?, ?,"
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
        lines = self.shown_lines("facts", "step", step)
        self._database.execute(
            "INSERT INTO rejections SELECT line, CAST(student AS BLOB), ?, ?, json_extract(fact, '$.step'), ?"
            " FROM facts WHERE step = ?",
            (
                self._profile.column_of("step"),
                Fault.CONFLICTING_LINES.value,
                f"{lines} are about the same student, year, step and version, and differ",
                step,
            ),
        )
        self._database.execute("DELETE FROM facts WHERE step = ?", (step,))

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

    def absent(self, keys: Sequence[StepKey]) -> list[StepKey]:
        """Those of `keys` that no line of the file is about, of students none of whose lines was rejected."""
        return [key for key in keys if not self._is_named(key)]

    def _is_named(self, key: StepKey) -> bool:
        found = self._database.execute(
            "SELECT 1 FROM facts WHERE step = ? UNION ALL SELECT 1 FROM rejections WHERE student = ? LIMIT 1",
            (_digest(list(key)), storable(key[0])),
        )
        return found.fetchone() is not None

    def facts(self) -> Iterator[list[Spooled]]:
        """Every fact that is left, by line, some hundreds at a time."""
        rows = self._database.execute("SELECT line, fingerprint, fact FROM facts ORDER BY line")
        while page := rows.fetchmany(_PAGE):
            yield [Spooled(line, fingerprint, json.loads(fact)) for line, fingerprint, fact in page]


def _digest(parts: Iterable[object]) -> bytes:
    """Of values without control characters; None and a missing value are the same."""
    text = "\x1f".join("" if part is None else str(part) for part in parts)
    return blake2b(text.encode(), digest_size=16).digest()
