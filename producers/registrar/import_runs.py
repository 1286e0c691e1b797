"""The runs of imports: which feed, when, how far, and which one may publish.

A feed publishes in the order of its sequences, by one writer at a time: a newer import of the same source
fences the older one off, and a watermark (`confirmed_through`) records what the log has acknowledged. Each
kind of feed keeps its facts in its own tables (`feed_rows`, `teaching_rows`), whose rows refer to the import
that wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    bindparam,
    func,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from pipeline import audit
from pipeline.db.database import Database
from pipeline.db.metadata import metadata, partial_index
from pipeline.db.persons import of_nobody
from pipeline.errors import SesameError
from producers.registrar.profiles import SENT
from producers.registrar.report import ImportDetail, ImportEnd

_OF_FILES: Final = f"source <> '{SENT}'"
_GOING_ON: Final = "finished_at IS NULL AND NOT superseded"
"""Condition of these rows' indexes: a program that sends persons one by one makes a million rows."""

imports = Table(
    "imports",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("source", String(64), nullable=False),
    Column("file_name", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("finished_at", Float),  # None: running, or ended by a crash
    Column("superseded", Boolean, nullable=False, default=False),  # a newer import began meanwhile
    Column("confirmed_through", BigInteger, nullable=False, default=0),  # source sequence
    Column("summary", Text),  # counts as JSON, no personal data
    Column("detail", Text),  # `ImportDetail` as JSON, no personal data of students; None: of an older release
    Index(None, "source", "id"),
    partial_index("ix_imports_files", _OF_FILES, "id"),
    partial_index("ix_imports_going_on", _GOING_ON, "source", "id"),
    info=of_nobody("counts; names of files and of operators"),
)

ID_MAX: Final = 2**31 - 1
"""The largest integer of the databases; a request may have any number."""

_FIRST = select(func.min(imports.c.source).label("source")).cte("feeds", recursive=True)
_NEXT = select(func.min(imports.c.source)).where(imports.c.source > _FIRST.c.source).scalar_subquery()
_FEEDS = _FIRST.union_all(select(_NEXT).where(_FIRST.c.source.is_not(None)))
SOURCES: Final = select(_FEEDS.c.source).where(_FEEDS.c.source.is_not(None))
"""Every feed that was ever imported: one index look-up for each, however many imports there were."""

# Built once: building one costs more than the database does.
_NEWEST: Final = select(func.coalesce(func.max(imports.c.id), 0))
_ADD: Final = imports.insert()
_CHANGE: Final = update(imports).where(imports.c.id == bindparam("this"))
_FENCE: Final = (
    update(imports)
    .where(
        imports.c.source == bindparam("of"), text(_GOING_ON), imports.c.id < bindparam("this", type_=Integer)
    )
    .values(superseded=True)
)
_CONFIRM: Final = _CHANGE.where(imports.c.superseded.is_(False))
_HOLD: Final = _CONFIRM.values(confirmed_through=imports.c.confirmed_through)

Note = Callable[[Connection], None]
"""Adds the audit's note of an import to the transaction that records it."""

BEGIN_ATTEMPTS_MAX = 5
_LOOKED_BACK = 20


class ImportRun(NamedTuple):
    """One run, as kept. Times are epoch seconds."""

    id: int
    source: str
    file_name: str
    started_at: float
    finished_at: float | None
    superseded: bool
    confirmed_through: int
    counts: Mapping[str, int]
    detail: ImportDetail | None


class ImportSuperseded(SesameError):
    """A newer import of the same source began while this one was running, and goes on alone. What this one
    has published stays in force until the newer one says otherwise; nothing is to be done."""


def no_note(_connection: Connection) -> None:
    """The note of an import that the audit does not keep."""


class SqlImports:
    """The runs of imports in the database, for any kind of feed.

    Every method raises `StoreUnavailable`: call again, unless its docstring says otherwise.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self,
        source: str,
        *,
        file_name: str,
        started_at: float,
        detail: ImportDetail | None = None,
        note: Note = no_note,
    ) -> int:
        """Begin an import with the highest id; fence off its source's unfinished ones.

        Args:
            source: the feed's name.
            file_name: for the operator's eye, without folders.
            started_at: seconds since the epoch, UTC.
            detail: who runs it; None: unknown.
            note: see `Note`.

        Raises:
            StoreUnavailable: nothing has begun, or an import that does nothing.
        """
        values = {"source": source, "file_name": file_name, "started_at": started_at}
        return self._add(values | {"detail": _document(detail)}, note, fences=True)

    def note_failed(
        self, source: str, *, file_name: str, started_at: float, detail: ImportDetail, note: Note = no_note
    ) -> None:
        """Record an import whose file was unusable; it fences nothing off.

        Args:
            source, file_name, started_at, note: see `begin`.
            detail: who ran it, and how it ended.

        Raises:
            StoreUnavailable: nothing was recorded.
        """
        values = {"source": source, "file_name": file_name, "started_at": started_at}
        self._add(values | {"detail": _document(detail), "superseded": True}, note, fences=False)

    def go_on_above(self, import_id: int) -> None:
        """Raise the next import's id above this one, whose facts exist without its import."""
        with self._database.write() as connection:
            if connection.execute(_NEWEST).scalar_one() < import_id:
                now = self._database.now(connection)
                values = {"source": "rebuilt", "file_name": "", "started_at": now, "superseded": True}
                connection.execute(_ADD, {"id": import_id, "finished_at": now, **values})

    def _add(self, values: Mapping[str, object], note: Note, *, fences: bool) -> int:
        for attempt in range(1, BEGIN_ATTEMPTS_MAX + 1):
            try:
                return self._added(values, note, fences=fences)
            except IntegrityError:  # another process took that id at the same moment
                if attempt == BEGIN_ATTEMPTS_MAX:
                    raise
        raise AssertionError("unreachable")

    def _added(self, values: Mapping[str, object], note: Note, *, fences: bool) -> int:
        with self._database.write() as connection:
            import_id = int(connection.execute(_NEWEST).scalar_one()) + 1
            note(connection)
            connection.execute(_ADD, {"id": import_id, **values})
            if fences:
                # Waits for a transaction of the older import that is under way: its intents are then visible.
                connection.execute(_FENCE, {"of": values["source"], "this": import_id})
        return import_id

    def approve(self, import_id: int, *, actor: str, detail: Mapping[str, object]) -> None:
        """Record permanently who approved an import that changes unusually much.

        Args:
            import_id: from `begin`.
            actor: the operator's user name.
            detail: what was approved, without anything personal.

        Raises:
            ImportSuperseded: nothing was recorded, and nothing may be appended.
            StoreUnavailable: likewise.
        """
        with self._database.write() as connection:
            self._hold(connection, import_id)
            noted = {"import_id": import_id, **detail}
            audit.note(connection, self._database, actor=actor, action="import.approve", detail=noted)

    def approver_of(self, source: str, approval: str, since: float) -> str | None:
        """Who approved this held id since then (epoch seconds). None: no operator, or published since."""
        mine = imports.c.source == source
        like = imports.c.detail.contains(f'"approval":"{approval}"', autoescape=True)
        query = select(imports).where(mine, imports.c.id > _last_before(since, mine), like)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(imports.c.id.desc())).all()
        for run in map(_run, rows):
            if run.detail is None or not run.counts.get(ImportEnd.HELD.value):
                return None
            if run.detail.approved_by is not None:
                return run.detail.approved_by
        return None

    def approve_held(self, import_id: int, actor: str, *, by_two: bool = False) -> bool:
        """Approve a held import, for when it is sent again; False: not held. Raises StoreUnavailable.

        `by_two`: of the first one only the name is kept.
        """
        query = select(imports).where(imports.c.id == import_id)
        with self._database.write() as connection:
            row = connection.execute(self._database.locking(query)).one_or_none()
            run = None if row is None else _run(row)
            if run is None or run.detail is None or not run.counts.get(ImportEnd.HELD.value):
                return False
            first = by_two and run.detail.first_approver in (None, actor)
            name = "first_approver" if first else "approved_by"
            detail = run.detail.model_copy(update={name: actor})
            connection.execute(_CHANGE, {"this": import_id, "detail": _document(detail)})
        return True

    def finish(
        self,
        import_id: int,
        *,
        confirmed: int,
        finished_at: float,
        summary: Mapping[str, int],
        detail: ImportDetail | None = None,
    ) -> None:
        """Record that the import is complete.

        Args:
            import_id: from `begin`.
            confirmed: the log has all of it up to this source sequence; 0: it published nothing.
            finished_at: seconds since the epoch, UTC.
            summary: counts, without anything personal.
            detail: the rest; None: nothing else is to be kept.

        Raises:
            StoreUnavailable: the import looks unfinished; its last facts are published again.
        """
        counts = json.dumps(dict(summary), sort_keys=True)
        self._change(import_id, confirmed, detail, finished_at=finished_at, summary=counts)

    def break_off(self, import_id: int, detail: ImportDetail, *, confirmed: int) -> None:
        """Record that the import is incomplete, and why (`detail`).

        Facts above `confirmed` are in doubt, and are published again by the next import.

        Raises:
            StoreUnavailable: the import looks as if it were under way; its last facts are published again.
        """
        self._change(import_id, confirmed, detail)

    def _change(self, import_id: int, confirmed: int, detail: ImportDetail | None, **values: object) -> None:
        values |= {"this": import_id, "detail": _document(detail)}
        values |= {"confirmed_through": confirmed} if confirmed else {}
        with self._database.write() as connection:
            connection.execute(_CHANGE, values)

    def past(
        self, *, before: int | None, limit: int, persons: bool | None = None, held: bool = False
    ) -> list[ImportRun]:
        """The runs, the newest first.

        Args:
            before: runs older than the one of this id; None: from the newest on.
            persons: True: of single persons that programs sent; False: of files; None: both.
            held: only those that the guard holds.
        """
        query = select(imports).order_by(imports.c.id.desc()).limit(limit)
        if held:
            query = query.where(imports.c.summary.contains('"held": 1'))
        if persons is not None:
            query = query.where(imports.c.source == SENT if persons else text(_OF_FILES))
        if before is not None:
            query = query.where(imports.c.id < min(before, ID_MAX))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [_run(row) for row in rows]

    def persons_since(self, started_at: float) -> int:
        """Count persons sent by programs since this time (epoch seconds)."""
        since = imports.c.id > _last_before(started_at)
        with self._database.read() as connection:
            query = select(func.count()).where(imports.c.source == SENT, since)
            return connection.execute(query).scalar_one()

    def ended_before(self, run: ImportRun) -> ImportRun | None:
        """The feed's previous ended import of the same kind. None: not among the latest ones."""
        kind = None if run.detail is None else run.detail.kind
        ended = imports.c.source == run.source, imports.c.id < run.id, imports.c.finished_at.is_not(None)
        query = select(imports).where(*ended).order_by(imports.c.id.desc()).limit(_LOOKED_BACK)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        runs = (_run(row) for row in rows)
        like = (one for one in runs if one.detail is not None and one.detail.kind is kind)
        return next((one for one in like if one.detail and one.detail.ended is ImportEnd.DONE), None)

    def run_of(self, import_id: int) -> ImportRun | None:
        """One run; None: there is none of this id (any more)."""
        if import_id > ID_MAX:
            return None
        with self._database.read() as connection:
            row = connection.execute(select(imports).where(imports.c.id == import_id)).one_or_none()
        return None if row is None else _run(row)

    @staticmethod
    def _hold(connection: Connection, import_id: int, confirmed: int = 0) -> None:
        """Lock the import's row until the transaction ends, if it is still the newest.

        `confirmed`: the log has all up to this source sequence, which only grows; 0: as before.
        """
        mine = {"this": import_id}
        if confirmed:
            held = connection.execute(_CONFIRM, mine | {"confirmed_through": confirmed})
        else:
            held = connection.execute(_HOLD, mine)
        if held.rowcount != 1:
            raise ImportSuperseded


def unseen(import_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Condition: an import of `:source` after `:since` and the last approved one."""
    mine = imports.c.source == bindparam("source")
    older = _last_before(bindparam("since"), mine)
    approved = imports.c.detail.like('%"approval":%'), imports.c.confirmed_through > 0
    last = select(func.max(imports.c.id)).where(mine, imports.c.id > older, *approved).scalar_subquery()
    return import_id > func.coalesce(last, older)


def _last_before(started_at: float | BindParameter[float], *which: ColumnElement[bool]) -> ColumnElement[int]:
    """The id of the last of these that began before then; 0: there is none.

    An index is read backwards from the newest one, so that the number of older ones does not matter.
    """
    older = select(imports.c.id).where(*which, imports.c.started_at < started_at)
    return func.coalesce(older.order_by(imports.c.id.desc()).limit(1).scalar_subquery(), 0)


def _document(detail: ImportDetail | None) -> str | None:
    return None if detail is None else detail.model_dump_json(exclude_defaults=True)


def _run(row: Row[Any]) -> ImportRun:
    values = row._asdict()
    counts, detail = json.loads(values.pop("summary") or "{}"), values.pop("detail")
    kept = None if detail is None else ImportDetail.model_validate_json(detail)
    return ImportRun(**values, counts=counts, detail=kept)
