"""The runs of imports: which feed, when, how far, and which one goes on alone.

A feed publishes in the order of its sequences, by one writer at a time: a newer import of the same source
fences the older one off, and what the log has acknowledged is known by a watermark (`confirmed_through`).
What a feed publishes, each kind of feed keeps in a room of its own (`feeds`, `teaching_feeds`), whose rows
refer to the import that wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, String, Table, Text, func, select, update
from sqlalchemy.exc import IntegrityError

from pipeline import audit
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.errors import SesameError

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

BEGIN_ATTEMPTS_MAX = 5


class ImportSuperseded(SesameError):
    """A newer import of the same source began while this one was running, and goes on alone. What this one
    has published stays in force until the newer one says otherwise; nothing is to be done."""


class SqlImports:
    """The runs of imports in the database, for whichever kind of feed."""

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

    @staticmethod
    def _hold(connection: Any, import_id: int) -> None:
        """Lock the import's row until the transaction ends, if it is still the newest."""
        mine = imports.c.id == import_id, imports.c.superseded.is_(False)
        held = connection.execute(
            update(imports).where(*mine).values(confirmed_through=imports.c.confirmed_through)
        )
        if held.rowcount != 1:
            raise ImportSuperseded
