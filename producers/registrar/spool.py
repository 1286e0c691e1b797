"""Keep a file's facts on disk (`lines`), and compare them with one another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any

from producers.registrar.faults import Fault
from producers.registrar.feed import StepKey
from producers.registrar.lines import SHOWN_LINES_MAX, Lines, storable
from producers.registrar.profile import FeedProfile
from producers.registrar.report import PROGRAMMES_MAX, Difference, YearDifference
from producers.registrar.rows import PERSON_FIELDS, Fact
from schemas.account import Administrative
from schemas.language import gettext

_PAGE = 500
_SCHEMA = """
CREATE TABLE facts (
    line INTEGER PRIMARY KEY, student TEXT NOT NULL, year INTEGER NOT NULL, cancels INTEGER NOT NULL,
    step BLOB NOT NULL, person BLOB, primary_in INTEGER, fingerprint TEXT NOT NULL, fact TEXT NOT NULL
);
CREATE TABLE to_publish (line INTEGER PRIMARY KEY, base INTEGER NOT NULL, outline TEXT NOT NULL);
CREATE TABLE differing (student TEXT NOT NULL, year INTEGER NOT NULL, step TEXT NOT NULL, kind TEXT NOT NULL,
    held INTEGER NOT NULL);
"""


_STEP = "json_extract(fact, '$.step')"
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
        """True if the registrar no longer holds this enrolment."""
        return "reason" in self.fact


class Spool(Lines):
    """One import's facts and rejections. Use as a context manager; owned by one thread."""

    schema = _SCHEMA

    def __init__(self, profile: FeedProfile) -> None:
        super().__init__(profile)
        self._tells_primary = any(  # else it is the same on every line, or may be
            each.field == "primary" and each.names and not each.optional for each in profile.columns
        )

    def keep(self, line: int, fact: Fact) -> None:
        """Store a line's fact."""
        step = _digest([fact["student_number"], fact["year"], fact["step"], fact["step_version"]])
        person = None if "reason" in fact else _digest(_said_of_person(fact))
        primary = fact.get("primary") and fact["administrative"] == Administrative.IN_FORCE
        text = canonical(fact)
        fingerprint = sha256(text.encode()).hexdigest()
        self._database.execute(
            "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                line,
                fact["student_number"],
                fact["year"],
                "reason" in fact,
                step,
                person,
                fact["year"] if primary and self._tells_primary else None,
                fingerprint,
                text,
            ),
        )

    def settle(self) -> int:
        """Compare the facts: reject contradictions, drop copies. Return how many lines were copies."""
        self._database.execute("CREATE INDEX by_student ON facts (student, primary_in, person, step)")
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
        several = self._database.execute(
            "SELECT student, primary_in FROM facts WHERE primary_in IS NOT NULL"
            " GROUP BY student, primary_in HAVING COUNT(DISTINCT step) > 1"
        )
        for student, year in several.fetchall():
            self._reject_primary(student, year)
        return self._database.execute(
            "DELETE FROM facts WHERE line NOT IN (SELECT MIN(line) FROM facts GROUP BY step)"
        ).rowcount

    def _reject_person(self, student: str) -> None:
        """Reject all lines of a student that contradict one another about the person."""
        lines = self.shown_lines("student = ?", student)
        for name in PERSON_FIELDS:
            said = self._said(student, name)
            if len(said) > 1:
                different = ", ".join(
                    gettext("line {line} has {value}", line=line, value=value)
                    if value
                    else gettext("line {line} has nothing", line=line)
                    for line, value in said
                )
                self._database.execute(
                    "INSERT INTO rejections SELECT line, CAST(student AS BLOB), ?, ?,"
                    " COALESCE(json_extract(fact, ?), ''), ? FROM facts WHERE student = ?",
                    (
                        self._profile.column_of(name),
                        Fault.CONTRADICTING_PERSON.value,
                        f"$.{name}",
                        gettext(
                            "{lines} name one student and do not agree: {differences}",
                            lines=lines,
                            differences=different,
                        ),
                        student,
                    ),
                )
        self._database.execute("DELETE FROM facts WHERE student = ?", (student,))

    def _said(self, student: str, name: str) -> list[tuple[int, str]]:
        """The first values of a field on a student's lines, each with its first line."""
        return self._database.execute(
            "SELECT MIN(line), COALESCE(json_extract(fact, ?1), '') AS said FROM facts"
            " WHERE student = ?2 AND person IS NOT NULL"
            " GROUP BY CASE ?1 WHEN '$.personal_mail' THEN LOWER(said) ELSE said END ORDER BY 1 LIMIT ?3",
            (f"$.{name}", student, SHOWN_LINES_MAX),
        ).fetchall()

    def _reject_step(self, step: bytes) -> None:
        """Reject all lines of one student's step that contradict one another."""
        lines = self.shown_lines("step = ?", step)
        found = self._database.execute(
            "SELECT DISTINCT fact FROM facts WHERE step = ? ORDER BY line LIMIT ?", (step, SHOWN_LINES_MAX)
        )
        columns = ", ".join(self._different([json.loads(fact) for (fact,) in found]))
        detail = gettext(
            "{lines} are about the same student, year, step and version, and differ in {columns}",
            lines=lines,
            columns=columns,
        )
        self.reject_facts(
            "step = ?", step, field="step", shown=_STEP, fault=Fault.CONFLICTING_LINES, detail=detail
        )

    def _different(self, facts: Sequence[Fact]) -> Iterable[str]:
        """The columns in which these facts differ; a cancellation has only its state."""
        if any("reason" in fact for fact in facts):
            return [self._profile.column_of("state")]
        names = sorted({name for fact in facts for name in fact})
        different = [name for name in names if len({fact.get(name) for fact in facts}) > 1]
        of_state = {"administrative": "state"}
        return dict.fromkeys(self._profile.column_of(of_state.get(name, name)) for name in different)

    def _reject_primary(self, student: str, year: int) -> None:
        """Reject the lines of several steps that are each primary in one student's year."""
        found = self._database.execute(
            "SELECT MIN(line), json_extract(fact, '$.step') FROM facts"
            " WHERE student = ? AND primary_in = ? GROUP BY step ORDER BY 1 LIMIT ?",
            (student, year, SHOWN_LINES_MAX),
        )
        steps = ", ".join(
            gettext("line {line} says so of {step}", line=line, step=step) for line, step in found
        )
        detail = gettext("{year} has one primary step for each student: {steps}", year=year, steps=steps)
        which, fault = "student = ? AND primary_in = ?", Fault.SEVERAL_PRIMARY_STEPS
        self.reject_facts(which, student, year, field="primary", shown=_STEP, fault=fault, detail=detail)

    def absent(self, keys: Sequence[StepKey]) -> list[StepKey]:
        """Those of `keys` that the file lacks, of students without rejected lines."""
        return [key for key in keys if not self._is_named(key)]

    def _is_named(self, key: StepKey) -> bool:
        found = self._database.execute(
            "SELECT 1 FROM facts WHERE step = ? UNION ALL SELECT 1 FROM rejections WHERE student = ? LIMIT 1",
            (_digest(list(key)), storable(key[0])),
        )
        return found.fetchone() is not None

    def taken(self) -> Iterator[tuple[int, str, bool, bool]]:
        """Each fact's line and student, whether it cancels, and whether to publish it."""
        rows = self._database.execute(
            "SELECT line, student, cancels, to_publish.line IS NOT NULL"
            " FROM facts LEFT JOIN to_publish USING (line)"
        )
        for line, student, cancels, changes in rows:
            yield line, student, bool(cancels), bool(changes)

    def note_difference(self, key: StepKey, kind: str, held: int) -> None:
        """Record a `new`, `gone` or `changed` enrolment. `held`: the student's count that year before."""
        student, year, step, _version = key
        self._database.execute(
            "INSERT INTO differing VALUES (?, ?, ?, ?, ?)", (student, year, step, kind, held)
        )

    def differences(self, student: str | None = None) -> tuple[YearDifference, ...]:
        """The recorded differences by academic year; of one student, or of all."""
        people = self._database.execute(
            "SELECT year, CASE WHEN held = 0 THEN 'new' WHEN held + new = gone THEN 'gone' ELSE 'changed' END"
            " AS kind, COUNT(*) FROM (SELECT year, MAX(held) AS held, SUM(kind = 'new') AS new,"
            " SUM(kind = 'gone') AS gone FROM differing WHERE student = ?1 OR ?1 IS NULL"
            " GROUP BY year, student) GROUP BY 1, 2",
            (student,),
        )
        of_year: dict[int, dict[str, int]] = {}
        for year, kind, count in people:
            of_year.setdefault(year, {})[kind] = count
        return tuple(
            YearDifference(year=year, people=Difference(**counts), **self._by_programme(year, student))
            for year, counts in sorted(of_year.items())
        )

    def _by_programme(self, year: int, student: str | None) -> Mapping[str, Any]:
        rows = self._database.execute(
            "SELECT step, SUM(kind = 'new'), SUM(kind = 'gone'), SUM(kind = 'changed') FROM differing"
            " WHERE year = ?1 AND (student = ?2 OR ?2 IS NULL) GROUP BY step ORDER BY COUNT(*) DESC, step",
            (year, student),
        ).fetchall()
        most = sorted(rows[:PROGRAMMES_MAX])
        programmes = {
            step: Difference(new=new, gone=gone, changed=changed) for step, new, gone, changed in most
        }
        return {"programmes": programmes, "others": len(rows) - len(most)}

    def give_turns(self, turns: Mapping[str, int]) -> None:
        """Give each student the first turn of their components."""
        self._database.execute("CREATE TABLE components (component TEXT PRIMARY KEY, turn INTEGER NOT NULL)")
        self._database.executemany("INSERT INTO components VALUES (?, ?)", turns.items())
        self._database.execute(
            "CREATE TABLE turns AS SELECT student, MIN(turn) AS turn FROM facts"
            " JOIN components ON component = json_extract(fact, '$.component') GROUP BY student"
        )
        self._database.execute("CREATE INDEX by_turn ON turns (student)")

    def facts(self) -> Iterator[list[Spooled]]:
        """Every remaining fact, by line, some hundreds at a time."""
        rows = self._database.execute("SELECT line, fingerprint, fact FROM facts ORDER BY line")
        while page := rows.fetchmany(_PAGE):
            yield [Spooled(line, fingerprint, json.loads(fact)) for line, fingerprint, fact in page]


def _said_of_person(fact: Fact) -> Iterator[object]:
    """The values that must agree on all lines of a student. Mail addresses without case."""
    for name in PERSON_FIELDS:
        value = fact.get(name)
        yield value.casefold() if value and name == "personal_mail" else value


def _digest(parts: Iterable[object]) -> bytes:
    """A digest of values without control characters; None equals a missing value."""
    text = "\x1f".join("" if part is None else str(part) for part in parts)
    return blake2b(text.encode(), digest_size=16).digest()
