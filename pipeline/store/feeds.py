"""What each registrar's feed has published, so that an unchanged row says nothing.

A row is **intended** before its fact is appended to the log, and **confirmed** once the log has acknowledged
it. After a crash the rows in between are in doubt: whatever the next file says of them is published, under
the same event id if it says the same, so that nothing is lost and a redelivery is recognised.

Rows are confirmed by the import's watermark (`imports.confirmed_through`): one import has one writer, which
publishes in the order of its sequences, and a newer import of the same source fences the older one off.

A row also says whether the registrar still held the enrolment, and an outline of the fact, so that the next
import can tell what it would change before it changes anything.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    String,
    Table,
    Text,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from pipeline.errors import SesameError
from pipeline.store import audit
from pipeline.store.database import Database
from pipeline.store.tables import metadata

imports = Table(
    "imports",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("source", String(64), nullable=False, index=True),
    Column("file_name", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("finished_at", Float),  # None: running, or ended by a crash
    Column("superseded", Boolean, nullable=False, default=False),  # a newer import began meanwhile
    Column("confirmed_through", BigInteger, nullable=False, default=0),  # source sequence
    Column("summary", Text),  # counts as JSON, no personal data
)

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
)

BEGIN_ATTEMPTS_MAX = 5
_PAGE = 500
_LIVE = feed_rows.c.live.is_not(False)

StepKey = tuple[str, int, str, str]
"""Student number, year, step, step version: what one enrolment is known by."""


class ImportSuperseded(SesameError):
    """A newer import of the same source began while this one was running, and goes on alone. What this one
    has published stays in force until the newer one says otherwise; nothing is to be done."""


class Published(NamedTuple):
    """The last fact of one enrolment that was handed to the log.

    `base` is the sequence of the fact before it (0: none). Without `confirmed`, nobody knows whether the log
    has it. `live`: the registrar held the enrolment. `outline`: as given with the fact; None: not kept then.
    """

    fingerprint: str
    sequence: int
    base: int
    confirmed: bool
    live: bool
    outline: str | None


class Intended(NamedTuple):
    """A fact that is about to be appended."""

    key: StepKey
    fingerprint: str
    sequence: int
    base: int
    live: bool
    outline: str


class SqlFeedMemory:
    """A feed's memory in the database: implements `producers.registrar.FeedMemory`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, source: str, *, file_name: str, started_at: float) -> int:
        """A new import of `source`, whose id is above every other. Unfinished ones of it are fenced off.

        Args:
            source: the feed's name.
            file_name: for the operator's eye, without folders.
            started_at: seconds since the epoch, UTC.

        Raises:
            StoreUnavailable: nothing has begun, or an import that does nothing.
        """
        for attempt in range(1, BEGIN_ATTEMPTS_MAX + 1):
            try:
                return self._begin(source, file_name, started_at)
            except IntegrityError:  # another process took that id at the same moment
                if attempt == BEGIN_ATTEMPTS_MAX:
                    raise
        raise AssertionError("unreachable")

    def _begin(self, source: str, file_name: str, started_at: float) -> int:
        running = imports.c.source == source, imports.c.finished_at.is_(None)
        with self._database.write() as connection:
            newest = connection.execute(select(func.coalesce(func.max(imports.c.id), 0))).scalar_one()
            import_id = int(newest) + 1
            connection.execute(
                imports.insert().values(
                    id=import_id, source=source, file_name=file_name, started_at=started_at
                )
            )
            # Waits for a transaction of the older import that is under way: its intents are then visible.
            connection.execute(
                update(imports).where(*running, imports.c.id < import_id).values(superseded=True)
            )
        return import_id

    def published(self, source: str, students: Collection[str]) -> dict[StepKey, Published]:
        """Everything that `source` has published, or may have, about these students (at most some hundreds).

        Raises:
            StoreUnavailable: try again.
        """
        rows = feed_rows.c
        query = (
            select(
                rows.student_number,
                rows.year,
                rows.step,
                rows.step_version,
                rows.fingerprint,
                rows.sequence,
                rows.base,
                rows.live,
                rows.outline,
                (rows.sequence <= imports.c.confirmed_through).label("confirmed"),
            )
            .join(imports, imports.c.id == rows.import_id)
            .where(rows.source == source, rows.student_number.in_(sorted(students)))
        )
        with self._database.read() as connection:
            found = connection.execute(query).all()
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

    def people(self, source: str) -> dict[int, int]:
        """How many students `source` holds an enrolment of, by academic year.

        Raises:
            StoreUnavailable: try again.
        """
        rows = feed_rows.c
        query = (
            select(rows.year, func.count(rows.student_number.distinct()))
            .where(rows.source == source, _LIVE)
            .group_by(rows.year)
        )
        with self._database.read() as connection:
            return {int(year): int(students) for year, students in connection.execute(query)}

    def sources(self) -> list[str]:
        """Every feed that was ever imported.

        Raises:
            StoreUnavailable: try again.
        """
        query = select(imports.c.source).distinct().order_by(imports.c.source)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def live_steps(self, source: str, year: int) -> Iterator[list[StepKey]]:
        """Every enrolment of that academic year that `source` holds, in order, some hundreds at a time.

        Raises:
            StoreUnavailable: try again.
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

    def approve(self, import_id: int, *, actor: str, detail: Mapping[str, object]) -> None:
        """Note for ever who let this import go on although it changes unusually much.

        Args:
            import_id: as `begin` gave it.
            actor: the operator's user name.
            detail: what was approved, without anything personal.

        Raises:
            ImportSuperseded: nothing was noted, and nothing may be appended.
            StoreUnavailable: likewise.
        """
        with self._database.write() as connection:
            self._hold(connection, import_id)
            noted = {"import_id": import_id, **detail}
            audit.note(connection, self._database, actor=actor, action="import.approve", detail=noted)

    def intend(self, import_id: int, source: str, rows: Sequence[Intended]) -> None:
        """Write down, durably, what is about to be appended; it stays in doubt until confirmed.

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
        with self._database.write() as connection:
            self._hold(connection, import_id)
            connection.execute(statement, [self._values(import_id, source, row) for row in rows])

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

    @staticmethod
    def _hold(connection: Any, import_id: int) -> None:
        """Lock the import's row until the transaction ends, if it is still the newest."""
        mine = imports.c.id == import_id, imports.c.superseded.is_(False)
        held = connection.execute(
            update(imports).where(*mine).values(confirmed_through=imports.c.confirmed_through)
        )
        if held.rowcount != 1:
            raise ImportSuperseded

    def confirm(self, import_id: int, through_sequence: int) -> None:
        """The log has acknowledged every fact of this import up to this source sequence.

        Raises:
            StoreUnavailable: the rows stay in doubt, and are published again by the next import.
        """
        ahead = imports.c.id == import_id, imports.c.confirmed_through < through_sequence
        with self._database.write() as connection:
            connection.execute(update(imports).where(*ahead).values(confirmed_through=through_sequence))

    def finish(self, import_id: int, *, finished_at: float, summary: Mapping[str, int]) -> None:
        """The import ran to its end.

        Args:
            import_id: as `begin` gave it.
            finished_at: seconds since the epoch, UTC.
            summary: counts, without anything personal.

        Raises:
            StoreUnavailable: the import looks unfinished; nothing else follows from it.
        """
        with self._database.write() as connection:
            connection.execute(
                update(imports)
                .where(imports.c.id == import_id)
                .values(finished_at=finished_at, summary=json.dumps(dict(summary), sort_keys=True))
            )
