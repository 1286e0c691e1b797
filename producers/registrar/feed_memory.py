"""Memory of each registrar's feed: unchanged facts are not republished.

A row is **intended** before its fact is appended to the log, and **confirmed** once the log has acknowledged
it, by its import's watermark (`imports.confirmed_through`). After a crash the rows in between are in doubt:
the next file's facts about them are published, under the same event id if unchanged, so that nothing is lost
and a redelivery is recognised.

A row of an enrolment also records whether the registrar still held it, and an outline of the fact, so that
the next import can tell what it would change beforehand. A row of teachings has the whole list: an incomplete
file adds to it, and a complete one shows what it would take away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Integer,
    Row,
    Select,
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
from producers.registrar.feed import (
    FactRow,
    Published,
    PublishedList,
    StepKey,
    YearKey,
    listed_in,
)
from producers.registrar.import_runs import SOURCES, SqlImports, imports, unseen

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
_LIVE = feed_rows.c.live.is_not(False)
_NOTHING = "[]"
_TAUGHT = teaching_rows.c.listed != _NOTHING
_HELD = feed_rows.alias("held")
_LOST: Final = (
    select(feed_rows.c.year, func.count(feed_rows.c.student_number.distinct()))
    .where(feed_rows.c.source == bindparam("source"))
    .where(feed_rows.c.live.is_(False), unseen(feed_rows.c.import_id))
    .where(
        ~select(_HELD.c.year)
        .where(*(_HELD.c[name] == feed_rows.c[name] for name in ("source", "student_number", "year")))
        .where(_HELD.c.live.is_not(False))
        .exists()
    )
    .group_by(feed_rows.c.year)
)


class SqlFacts(SqlImports):
    """The facts that each feed of one kind has published, in the database.

    Attributes:
        rows: its table.
        held: the condition of rows that the registrar holds.
    """

    rows: ClassVar[Table]
    held: ClassVar[ColumnElement[bool]]
    _published: ClassVar[Select[Any]]
    _people: ClassVar[Select[Any]]

    def __init_subclass__(cls) -> None:
        """Build the statements once: building one costs more than the database does."""
        super().__init_subclass__()
        if "rows" not in vars(cls):
            return
        rows, of_source = cls.rows.c, cls.rows.c.source == bindparam("source")
        cls._published = (
            select(cls.rows, (rows.sequence <= imports.c.confirmed_through).label("confirmed"))
            .join(imports, imports.c.id == rows.import_id)
            .where(of_source, rows.student_number.in_(bindparam("students", expanding=True)))
        )
        people = func.count(rows.student_number.distinct())
        cls._people = select(rows.year, people).where(of_source, cls.held).group_by(rows.year)

    def people(self, source: str) -> dict[int, int]:
        """Count the students with something held by `source`, by academic year."""
        with self._database.read() as connection:
            found = connection.execute(self._people, {"source": source})
            return {int(year): int(students) for year, students in found}

    def intend(self, import_id: int, source: str, rows: Sequence[FactRow], *, confirmed: int = 0) -> None:
        """Record durably which facts are about to be appended; in doubt until confirmed.

        Args:
            import_id: from `begin`.
            source: the feed's name.
            rows: the facts: see `UnpublishedFact.row`.
            confirmed: the log has all of this import up to this source sequence.

        Raises:
            ImportSuperseded: nothing was written, and nothing may be appended.
            StoreUnavailable: the outcome is unknown; nothing may be appended.
        """
        values = [{**row, "source": source, "import_id": import_id} for row in rows]
        with self._database.write() as connection:
            self._hold(connection, import_id, confirmed)
            connection.execute(self._database.upsert(self.rows), values)

    def _rows_of(self, source: str, students: Collection[str]) -> Sequence[Row[Any]]:
        with self._database.read() as connection:
            asked = {"source": source, "students": sorted(students)}
            return connection.execute(self._published, asked).all()


class SqlFeedMemory(SqlFacts):
    """The facts that each feed of enrolments has published."""

    rows = feed_rows
    held = _LIVE

    def published(self, source: str, students: Collection[str]) -> dict[StepKey, Published]:
        """The facts that `source` published, or may have, of some hundred students."""
        return {
            (row.student_number, row.year, row.step, row.step_version): Published(
                row.fingerprint,
                row.sequence,
                row.base,
                bool(row.confirmed),
                row.live is not False,
                row.outline,
            )
            for row in self._rows_of(source, students)
        }

    def known_students(self, students: Collection[str]) -> set[str]:
        """Those of these students (some hundreds) about whom any feed ever published."""
        number = feed_rows.c.student_number
        with self._database.read() as connection:
            found = connection.execute(select(number).where(number.in_(sorted(students))).distinct())
            return set(found.scalars())

    def lost(self, source: str, since: float) -> dict[int, int]:
        """Count, by year, who lost all that `source` held. `since`: epoch s; not before the last approval."""
        with self._database.read() as connection:
            found = connection.execute(_LOST, {"source": source, "since": since})
            return {int(year): int(students) for year, students in found}

    def sources(self) -> list[str]:
        """Every feed that was ever imported."""
        with self._database.read() as connection:
            return sorted(connection.execute(SOURCES).scalars())

    def live_steps(self, source: str, year: int) -> Iterator[list[StepKey]]:
        """Every enrolment of the year that `source` holds, in order, in pages."""
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
        """Student numbers, with digests of damaged-looking values accepted by hand."""
        query = select(accepted_values.c.student_number, accepted_values.c.digest)
        with self._database.read() as connection:
            return {(number, digest) for number, digest in connection.execute(query)}

    def accept(self, import_id: int, values: Collection[tuple[str, str]], *, actor: str) -> None:
        """Record permanently that these values are right, and by whom.

        Raises ImportSuperseded or StoreUnavailable: nothing was recorded, and nothing may be appended.
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


class SqlTeachingMemory(SqlFacts):
    """The lists that each feed of teaching units and groups has published."""

    rows = teaching_rows
    held = _TAUGHT

    def published(self, source: str, students: Collection[str]) -> dict[YearKey, PublishedList]:
        """The lists that `source` published, or may have, of these students (hundreds)."""
        return {
            (row.student_number, row.year): PublishedList(
                row.fingerprint, row.sequence, row.base, bool(row.confirmed), listed_in(row.listed)
            )
            for row in self._rows_of(source, students)
        }

    def listed_students(self, source: str, year: int) -> Iterator[list[str]]:
        """Students with a list of `source` in that year, in order, in pages."""
        rows = teaching_rows.c
        query = select(rows.student_number).where(rows.source == source, rows.year == year, _TAUGHT)
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
        """The years in which any feed has these students (some hundreds) enrolled."""
        rows = feed_rows.c
        query = (
            select(rows.student_number, rows.year)
            .where(
                rows.source.in_(SOURCES),  # for the sake of the primary key
                rows.student_number.in_(sorted(students)),
                _LIVE,
            )
            .distinct()
        )
        with self._database.read() as connection:
            return {(student, year) for student, year in connection.execute(query)}
