"""Every operator action, for ever: who, when, what. Without personal data."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, insert

from pipeline.store.database import Database
from pipeline.store.tables import audit


def note(
    connection: Connection, database: Database, *, actor: str, action: str, detail: Mapping[str, object]
) -> None:
    """Note an action in the transaction that it is done in.

    Args:
        actor: the operating system's or the console's user name.
        action: what was done, e.g. `replay`.
        detail: what is needed to understand it later.
    """
    connection.execute(
        insert(audit).values(
            at=database.now(connection),
            actor=actor[:64],
            action=action,
            detail=json.dumps(dict(detail), ensure_ascii=False, sort_keys=True),
        )
    )
