"""Memory of each feed of units and groups: unchanged lists are not republished.

As in `feeds`: a list is intended before its fact is appended to the log, and confirmed by its import's
watermark. The list itself is kept: a file that is not complete adds to it, and one that is shows what it
would take away.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text, func, select

from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of
from producers.registrar.feed import IntendedList, Listed, PublishedList, YearKey
from producers.registrar.feed_memory import feed_rows
from producers.registrar.import_runs import SqlImports, imports

teaching_rows = Table(
    "teaching_rows",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("student_number", String(32), primary_key=True),
    Column("year", Integer, primary_key=True),
    Column("fingerprint", String(64), nullable=False),  # SHA-256 of the fact, in hexadecimal
    Column("sequence", BigInteger, nullable=False),  # the fact's source sequence
    Column("base", BigInteger, nullable=False),  # the sequence before it; 0: this is the first fact
    Column("import_id", Integer, nullable=False),
    Column("listed", Text, nullable=False),  # JSON list of [unit, group, label]; [] when nothing is left
    info=rows_of("student_number"),
)

_PAGE = 500
_NOTHING = "[]"


class SqlTeachingMemory(SqlImports):
    """Such a feed's memory in the database: implements `TeachingMemory`."""

    def published(self, source: str, students: Collection[str]) -> dict[YearKey, PublishedList]:
        """The lists that `source` published, or may have, of these students (hundreds).

        Raises:
            StoreUnavailable: retry.
        """
        rows = teaching_rows.c
        confirmed = (rows.sequence <= imports.c.confirmed_through).label("confirmed")
        query = (
            select(teaching_rows, confirmed)
            .join(imports, imports.c.id == rows.import_id)
            .where(rows.source == source, rows.student_number.in_(sorted(students)))
        )
        with self._database.read() as connection:
            found = connection.execute(query).all()
        return {
            (row.student_number, row.year): PublishedList(
                row.fingerprint, row.sequence, row.base, bool(row.confirmed), _read(row.listed)
            )
            for row in found
        }

    def people(self, source: str) -> dict[int, int]:
        """Count the students with a list of `source`, by academic year.

        Raises:
            StoreUnavailable: retry.
        """
        rows = teaching_rows.c
        query = (
            select(rows.year, func.count())
            .where(rows.source == source, rows.listed != _NOTHING)
            .group_by(rows.year)
        )
        with self._database.read() as connection:
            return {int(year): int(students) for year, students in connection.execute(query)}

    def listed_students(self, source: str, year: int) -> Iterator[list[str]]:
        """Students with a list of `source` in that year, in order, in pages.

        Raises:
            StoreUnavailable: retry.
        """
        rows = teaching_rows.c
        query = select(rows.student_number).where(
            rows.source == source, rows.year == year, rows.listed != _NOTHING
        )
        after = ""
        while True:
            page = query.where(rows.student_number > after).order_by(rows.student_number).limit(_PAGE)
            with self._database.read() as connection:
                found = list(connection.execute(page).scalars())
            if not found:
                return
            yield found
            after = found[-1]

    def enrolled(self, students: Collection[str]) -> set[YearKey]:
        """The years in which any feed has these students (some hundreds) enrolled.

        Raises:
            StoreUnavailable: retry.
        """
        rows = feed_rows.c
        query = (
            select(rows.student_number, rows.year)
            .where(
                rows.source.in_(select(imports.c.source).distinct()),  # for the sake of the primary key
                rows.student_number.in_(sorted(students)),
                rows.live.is_not(False),
            )
            .distinct()
        )
        with self._database.read() as connection:
            return {(student, year) for student, year in connection.execute(query)}

    def intend(self, import_id: int, source: str, rows: Sequence[IntendedList]) -> None:
        """Record durably what is about to be appended; in doubt until confirmed.

        Raises:
            ImportSuperseded: nothing was written, and nothing may be appended.
            StoreUnavailable: the outcome is unknown; nothing may be appended.
        """
        if not rows:
            return
        insert = self._database.insert(teaching_rows)
        replaced = ("fingerprint", "sequence", "base", "import_id", "listed")
        statement = insert.on_conflict_do_update(
            index_elements=list(teaching_rows.primary_key.columns),
            set_={name: insert.excluded[name] for name in replaced},
        )
        with self._database.write() as connection:
            self._hold(connection, import_id)
            connection.execute(statement, [_values(import_id, source, row) for row in rows])


def _values(import_id: int, source: str, row: IntendedList) -> dict[str, Any]:
    student, year = row.key
    listed = sorted([element, group, label] for (element, group), label in row.listed.items())
    return {
        "source": source,
        "student_number": student,
        "year": year,
        "fingerprint": row.fingerprint,
        "sequence": row.sequence,
        "base": row.base,
        "import_id": import_id,
        "listed": json.dumps(listed, ensure_ascii=False),
    }


def _read(listed: str) -> Listed:
    return {(element, group): label for element, group, label in json.loads(listed)}
