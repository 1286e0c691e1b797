"""Erasures: requested, under way, done. Rows bear pseudonyms; sealed numbers are removed at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    bindparam,
    insert,
    or_,
    select,
    update,
)

from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody

erasures = Table(
    "erasures",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("pseudonym", String(32), nullable=False, index=True),
    Column("sealed", LargeBinary),  # the student numbers, until nothing needs them any more
    Column("state", String(16), nullable=False, index=True),  # ErasureState
    Column("signed_by", String(80), nullable=False),  # the fingerprint of the privacy key
    Column("actor", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("noted", Text, nullable=False),  # what was done so far (JSON)
    Column("ended_at", Float),
    Column("receipt", Text),  # as it is handed out
    info=of_nobody("erasures, under pseudonyms; their receipts", named_in=("reason",)),
)

GONE: Final = "gone"
"""Note: no target has anything of the person any more."""

SEQUENCE: Final = "sequence"
"""Note: the highest source sequence of the person's enrolments then; only one above it brings them back."""

TO_READ: Final = "to_read"
"""Note: the ends of the log up to which the registry has to read before the next step."""

LOG_BEFORE: Final = "log_before"
"""Note: the erasure takes the person's older records from the log (epoch seconds)."""

_ENDED: Final = ("done", "withdrawn")
_FORGOTTEN: Final = ("forgotten", "cleared", "done")
_UNDER_WAY: Final = erasures.c.state.not_in(_ENDED)
_ASKED: Final = select(erasures.c.noted).where(
    erasures.c.pseudonym == bindparam("whose"), erasures.c.state == "asked"
)


class ErasureState(StrEnum):
    """The progress of an erasure."""

    ASKED = "asked"  # targets erase
    FORGOTTEN = "forgotten"  # the store has forgotten; log and archive are next
    CLEARED = "cleared"  # the person is unknown now; files are rewritten, the receipt is signed
    DONE = "done"
    WITHDRAWN = "withdrawn"  # the person was enrolled again before anything was forgotten


@dataclass(frozen=True)
class Erasure:
    """One erasure.

    Attributes:
        sealed: the student numbers; None: no longer needed.
        signed_by: the fingerprint of the site's privacy key.
        actor, reason: who requested it, and why, in their words.
        asked_at, ended_at: seconds since the epoch, UTC.
        noted: what was done so far; see `sesame.operations.privacy.erasure`.
        receipt: the document as handed out, once it is done.
    """

    id: str
    pseudonym: str
    sealed: bytes | None
    state: ErasureState
    signed_by: str
    actor: str
    reason: str
    asked_at: float
    noted: Mapping[str, Any] = field(default_factory=dict)
    ended_at: float | None = None
    receipt: str | None = None


def put(connection: Connection, erasure: Erasure) -> None:
    """Insert a new erasure."""
    connection.execute(insert(erasures), {**erasure.__dict__, "noted": json.dumps(dict(erasure.noted))})


def asked(connection: Connection, pseudonym: str) -> Mapping[str, Any] | None:
    """The notes of this person's erasure, if targets are to erase now; else None."""
    text: str | None = connection.execute(_ASKED, {"whose": pseudonym}).scalar()
    return None if text is None else json.loads(text)


def under_way(connection: Connection, pseudonym: str) -> Erasure | None:
    """The erasure of this person that has not ended."""
    row = connection.execute(select(erasures).where(erasures.c.pseudonym == pseudonym, _UNDER_WAY)).first()
    return None if row is None else _erasure(row)


def all_under_way(connection: Connection) -> list[Erasure]:
    """The erasures that have not ended, the oldest first."""
    query = select(erasures).where(_UNDER_WAY).order_by(erasures.c.asked_at, erasures.c.id)
    return list(map(_erasure, connection.execute(query)))


def has_forgotten(connection: Connection, pseudonym: str) -> bool:
    """True if the store has forgotten the person with this pseudonym. Each number has its own."""
    query = select(erasures.c.id).where(_whose(pseudonym), erasures.c.state.in_(_FORGOTTEN))
    return connection.execute(query.limit(1)).first() is not None


def _whose(pseudonym: str) -> ColumnElement[bool]:
    """The erasures of a person, each of whose numbers has its own pseudonym."""
    e = erasures.c
    return or_(e.pseudonym == pseudonym, *(text.contains(pseudonym) for text in (e.noted, e.receipt)))


def of_another_key(connection: Connection, key: str | None) -> bool:
    """True if an erasure used another privacy key than this one. With None, if there was any."""
    query = select(erasures.c.id) if key is None else select(erasures.c.id).where(erasures.c.signed_by != key)
    return connection.execute(query.limit(1)).first() is not None


def listed(connection: Connection, *, limit: int) -> list[Erasure]:
    """The newest erasures."""
    query = select(erasures).order_by(erasures.c.asked_at.desc(), erasures.c.id).limit(limit)
    return list(map(_erasure, connection.execute(query)))


def get(connection: Connection, erasure_id: str) -> Erasure | None:
    """One erasure."""
    row = connection.execute(select(erasures).where(erasures.c.id == erasure_id)).one_or_none()
    return None if row is None else _erasure(row)


def last_done(connection: Connection, pseudonym: str) -> Erasure | None:
    """This person's last finished erasure, by the pseudonym of any of their numbers."""
    query = select(erasures).where(_whose(pseudonym), erasures.c.state == ErasureState.DONE)
    row = connection.execute(query.order_by(erasures.c.ended_at.desc()).limit(1)).one_or_none()
    return None if row is None else _erasure(row)


def change(
    connection: Connection, erasure: Erasure, state: ErasureState, noted: Mapping[str, Any], **values: object
) -> None:
    """Record the progress of an erasure."""
    connection.execute(
        update(erasures)
        .where(erasures.c.id == erasure.id)
        .values(state=state, noted=json.dumps(noted, sort_keys=True), **values)
    )


def _erasure(row: Row[Any]) -> Erasure:
    values = dict(zip(row._fields, row, strict=True))
    values["state"], values["noted"] = ErasureState(row.state), json.loads(row.noted)
    return Erasure(**values)
