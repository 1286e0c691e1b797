"""Memory of each registrar's feed: unchanged rows are not republished.

A row is **intended** before its fact is appended to the log, and **confirmed** once the log has
acknowledged it. After a crash the rows in between are in doubt: whatever the next file says of them is
published, under the same event id if it says the same, so that nothing is lost and a redelivery is
recognised.

Rows are confirmed by their import's watermark (`imports.confirmed_through`).

A row also records whether the registrar still held the enrolment, and an outline of the fact, so that the
next import can tell what it would change before it changes anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    func,
    select,
    tuple_,
)

from pipeline import audit
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of
from producers.registrar.feed import Intended, Published, StepKey
from producers.registrar.import_runs import SqlImports, imports, unseen

feed_rows = Table(
    "feed_rows",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("student_number", String(32), primary_key=True),
    Column("year", Integer, primary_key=True),
    Column("step", String(64), primary_key=True),
    Column("step_version", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),  # SHA-256 of the fact, in hexadecimal
    Column("sequence", BigInteger, nullable=False),  # the fact's source sequence
    Column("base", BigInteger, nullable=False),  # the sequence before it; 0: this is the first fact
    Column("import_id", Integer, nullable=False),
    Column("live", Boolean),  # the registrar held it; None: recorded before this was kept, taken as held
    Column("outline", Text),  # what the feed wants to recall of the fact; no name, no date, no address
    info=rows_of("student_number"),
)

accepted_values = Table(
    "accepted_values",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("digest", String(32), primary_key=True),  # of the values that look damaged and are right
    Column("import_id", Integer, nullable=False),
    info=rows_of("student_number"),
)

_PAGE = 500
_LIVE = feed_rows.c.live.is_not(False)
_OF_SOURCE = feed_rows.c.source == bindparam("source")
_HELD = feed_rows.alias("held")

# Made once: making a statement costs more than the database does.
_PUBLISHED: Final = (
    select(
        *(feed_rows.c[name] for name in ("student_number", "year", "step", "step_version")),
        *(feed_rows.c[name] for name in ("fingerprint", "sequence", "base", "live", "outline")),
        (feed_rows.c.sequence <= imports.c.confirmed_through).label("confirmed"),
    )
    .join(imports, imports.c.id == feed_rows.c.import_id)
    .where(_OF_SOURCE, feed_rows.c.student_number.in_(bindparam("students", expanding=True)))
)
_PEOPLE: Final = (
    select(feed_rows.c.year, func.count(feed_rows.c.student_number.distinct()))
    .where(_OF_SOURCE, _LIVE)
    .group_by(feed_rows.c.year)
)
_LOST: Final = (
    select(feed_rows.c.year, func.count(feed_rows.c.student_number.distinct()))
    .where(_OF_SOURCE, feed_rows.c.live.is_(False), unseen(feed_rows.c.import_id))
    .where(
        ~select(_HELD.c.year)
        .where(*(_HELD.c[name] == feed_rows.c[name] for name in ("source", "student_number", "year")))
        .where(_HELD.c.live.is_not(False))
        .exists()
    )
    .group_by(feed_rows.c.year)
)


class SqlFeedMemory(SqlImports):
    """A feed's memory in the database: implements `producers.registrar.FeedMemory`."""

    def published(self, source: str, students: Collection[str]) -> dict[StepKey, Published]:
        """What `source` has published, or may have, about these students (some hundreds).

        Raises:
            StoreUnavailable: retry.
        """
        with self._database.read() as connection:
            asked = {"source": source, "students": sorted(students)}
            found = connection.execute(_PUBLISHED, asked).all()
        return {
            (row.student_number, row.year, row.step, row.step_version): Published(
                row.fingerprint,
                row.sequence,
                row.base,
                bool(row.confirmed),
                row.live is not False,
                row.outline,
            )
            for row in found
        }

    def known_students(self, students: Collection[str]) -> set[str]:
        """Those of these students (some hundreds) about whom any feed ever published.

        Raises:
            StoreUnavailable: retry.
        """
        number = feed_rows.c.student_number
        with self._database.read() as connection:
            found = connection.execute(select(number).where(number.in_(sorted(students))).distinct())
            return set(found.scalars())

    def people(self, source: str) -> dict[int, int]:
        """Count the students with an enrolment of `source`, by academic year.

        Raises:
            StoreUnavailable: retry.
        """
        with self._database.read() as connection:
            found = connection.execute(_PEOPLE, {"source": source})
            return {int(year): int(students) for year, students in found}

    def lost(self, source: str, since: float) -> dict[int, int]:
        """Count students who lost every enrolment that `source` held, by academic year.

        Since then (epoch seconds), and since an operator last approved an import.

        Raises:
            StoreUnavailable: retry.
        """
        with self._database.read() as connection:
            found = connection.execute(_LOST, {"source": source, "since": since})
            return {int(year): int(students) for year, students in found}

    def sources(self) -> list[str]:
        """Every feed that was ever imported.

        Raises:
            StoreUnavailable: retry.
        """
        query = select(imports.c.source).distinct().order_by(imports.c.source)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def live_steps(self, source: str, year: int) -> Iterator[list[StepKey]]:
        """Every enrolment of the year that `source` holds, in order, in pages.

        Raises:
            StoreUnavailable: retry.
        """
        rows = feed_rows.c
        order = rows.student_number, rows.step, rows.step_version
        query = select(*order).where(rows.source == source, rows.year == year, _LIVE).order_by(*order)
        after: tuple[str, str, str] | None = None
        while True:
            page = query if after is None else query.where(tuple_(*order) > tuple_(*after))
            with self._database.read() as connection:
                found = connection.execute(page.limit(_PAGE)).all()
            if not found:
                return
            yield [(student, year, step, version) for student, step, version in found]
            student, step, version = found[-1]
            after = (student, step, version)

    def accepted(self) -> set[tuple[str, str]]:
        """Student numbers, with digests of damaged-looking values accepted as right.

        Few: each was accepted by hand.

        Raises:
            StoreUnavailable: retry.
        """
        query = select(accepted_values.c.student_number, accepted_values.c.digest)
        with self._database.read() as connection:
            return {(number, digest) for number, digest in connection.execute(query)}

    def accept(self, import_id: int, values: Collection[tuple[str, str]], *, actor: str) -> None:
        """Record permanently that these values are right, and who decided it.

        Raises:
            ImportSuperseded: nothing was recorded, and nothing may be appended.
            StoreUnavailable: likewise.
        """
        rows = [
            {"student_number": number, "digest": digest, "import_id": import_id}
            for number, digest in sorted(values)
        ]
        detail = {"import_id": import_id, "students": sorted({number for number, _ in values})}
        with self._database.write() as connection:
            self._hold(connection, import_id)
            connection.execute(self._database.insert_new(accepted_values), rows)
            audit.note(connection, self._database, actor=actor, action="import.accept", detail=detail)

    def intend(self, import_id: int, source: str, rows: Sequence[Intended]) -> None:
        """Record durably what is about to be appended; in doubt until confirmed.

        Raises:
            ImportSuperseded: nothing was written, and nothing may be appended.
            StoreUnavailable: the outcome is unknown; nothing may be appended.
        """
        if not rows:
            return
        insert = self._database.insert(feed_rows)
        replaced = ("fingerprint", "sequence", "base", "import_id", "live", "outline")
        statement = insert.on_conflict_do_update(
            index_elements=list(feed_rows.primary_key.columns),
            set_={name: insert.excluded[name] for name in replaced},
        )
        values = [self._values(import_id, source, row) for row in rows]  # before others have to wait
        with self._database.write() as connection:
            self._hold(connection, import_id)
            connection.execute(statement, values)

    @staticmethod
    def _values(import_id: int, source: str, row: Intended) -> dict[str, Any]:
        student, year, step, version = row.key
        return {
            "source": source,
            "student_number": student,
            "year": year,
            "step": step,
            "step_version": version,
            "fingerprint": row.fingerprint,
            "sequence": row.sequence,
            "base": row.base,
            "import_id": import_id,
            "live": row.live,
            "outline": row.outline,
        }
