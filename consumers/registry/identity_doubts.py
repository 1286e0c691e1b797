"""Doubtful identities, and operators' decisions about them. Rows are never deleted.

A doubt is identified by what is compared: two student numbers, in either order, or a number and its new
holder by the registrar. So it is raised once, and a decision is remembered permanently. The fingerprints kept
here find two numbers that may be one person (`doubts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    Float,
    RowMapping,
    String,
    Table,
    Text,
    bindparam,
    delete,
    or_,
    select,
    tuple_,
    update,
)

from consumers.registry.people import Identity
from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import Forgetting, ForgottenRows, OnErasure, forgets, rows_of

identity_doubts = Table(
    "identity_doubts",
    metadata,
    Column("id", String(64), primary_key=True),  # a digest of what is compared: one doubt, one row
    Column("student_number", String(32), nullable=False, index=True),  # whose fact raised it
    Column("other_number", String(32), index=True),  # None: whether the number still has its holder
    Column("evidence", String(64), nullable=False),  # what agrees, or does not: birth, ine, holder
    Column("claimed", Text),  # holder: the number's new holder by the registrar (JSON); None once decided
    Column("state", String(16), nullable=False, index=True),  # open | separate | merged | withdrawn
    Column("raised_at", Float, nullable=False),
    Column("decided_at", Float),  # when the operator decided: the newest decision holds
    info=rows_of("student_number", "other_number"),
)

fingerprints = Table(
    "fingerprints",
    metadata,
    Column("kind", String(16), primary_key=True),  # birth | ine | esi
    Column("value", String(80), primary_key=True),
    Column("student_number", String(32), nullable=False, index=True),
    info=rows_of("student_number", on_erasure=OnErasure.OWN),
)


def fingerprint_of(*parts: str) -> str:
    """The fingerprint of these values."""
    return "sha256:" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def hashable(kind: str, value: str) -> str:
    """The text digested for a fingerprint whose holder was erased."""
    return f"{kind}:{value}"


@forgets(fingerprints)
def _forget(connection: Connection, _database: Database, person: Forgetting) -> ForgottenRows:
    """Keep only digests. A person who returns is recognised, but cannot be guessed."""
    f = fingerprints.c
    mine = select(f.kind, f.value).where(f.student_number == person.student_number)
    rows = connection.execute(mine).all()
    for kind, value in rows:
        hashed = person.hashed(hashable(kind, value))
        # An erased namesake has it, or this very person, erased before.
        connection.execute(delete(fingerprints).where(f.kind == kind, f.value == hashed))
        this = update(fingerprints).where(f.kind == kind, f.value == value)
        connection.execute(this.values(value=hashed, student_number=person.pseudonym))
    return ForgottenRows(kept=len(rows))


HOLDER = "holder"
"""Evidence of a doubt about one number: names and birth date have changed beyond recognition."""


class Verdict(StrEnum):
    """The state of a doubt."""

    OPEN = "open"  # waits for an operator
    SEPARATE = "separate"  # decided: two people
    MERGED = "merged"  # decided: one person
    WITHDRAWN = "withdrawn"  # the registrar has corrected what raised it; it may be raised again


# Built once: used for each enrolment.
_IN_STATE: Final = (
    select(identity_doubts)
    .where(identity_doubts.c.state.in_(bindparam("states", expanding=True)))
    .order_by(identity_doubts.c.raised_at, identity_doubts.c.id)
)
_OF: Final = _IN_STATE.where(
    or_(
        identity_doubts.c.student_number == bindparam("number"),
        identity_doubts.c.other_number == bindparam("number"),
    )
)

_FINGERPRINTS: Final = select(fingerprints)

DECIDED = frozenset({Verdict.SEPARATE, Verdict.MERGED})


@dataclass(frozen=True)
class Doubt:
    """One doubt.

    Attributes:
        student_number: whose fact raised it.
        other_number: who it may be; None: the doubt is about this number's holder.
        evidence: what agrees (`birth`: names and birth date, `ine`), or `holder`.
        claimed: the number's new holder by the registrar, of an open doubt about its holder.
        raised_at, decided_at: seconds since the epoch, UTC.
    """

    id: str
    student_number: str
    other_number: str | None
    evidence: tuple[str, ...]
    state: Verdict
    raised_at: float
    claimed: Identity | None = None
    decided_at: float | None = None

    def beside(self, student_number: str) -> str:
        """The other number."""
        return self.student_number if student_number == self.other_number else self.other_number or ""


def pair_id(one: str, other: str) -> str:
    """The id of the doubt whether two numbers are one person, in either order."""
    return _id("pair", *sorted((one, other)))


def holder_id(student_number: str, claimed: str) -> str:
    """The id of the doubt about a number's new holder, by their fingerprint."""
    return _id("holder", student_number, claimed)


def get(connection: Connection, doubt_id: str) -> Doubt | None:
    """One doubt."""
    rows = connection.execute(select(identity_doubts).where(identity_doubts.c.id == doubt_id)).mappings()
    return next(map(_doubt, rows), None)


def raise_once(connection: Connection, database: Database, doubt: Doubt) -> bool:
    """Raise a doubt unless it is open or decided; return whether it was raised."""
    claimed = None if doubt.claimed is None else doubt.claimed.model_dump_json()
    values = {**doubt.__dict__, "evidence": " ".join(doubt.evidence), "claimed": claimed}
    statement = database.insert(identity_doubts).values(**values)
    statement = statement.on_conflict_do_update(
        index_elements=[identity_doubts.c.id], set_=values, where=identity_doubts.c.state == Verdict.WITHDRAWN
    )
    return bool(connection.execute(statement).rowcount)


def raise_pair(
    connection: Connection, database: Database, number: str, other: str, evidence: Collection[str]
) -> bool:
    """Raise the doubt whether two numbers are one person; False: it was raised before."""
    kinds, now = tuple(sorted(evidence)), database.now(connection)
    doubt = Doubt(pair_id(number, other), number, other, kinds, Verdict.OPEN, now)
    return raise_once(connection, database, doubt)


def of(
    connection: Connection, student_number: str, states: Collection[Verdict] = tuple(Verdict)
) -> list[Doubt]:
    """The doubts about this number, oldest first."""
    rows = connection.execute(_OF, {"number": student_number, "states": list(states)}).mappings()
    return [_doubt(row) for row in rows]


def in_state(connection: Connection, states: Collection[Verdict]) -> list[Doubt]:
    """Every doubt in these states, oldest first."""
    return [_doubt(row) for row in connection.execute(_IN_STATE, {"states": list(states)}).mappings()]


def settle(connection: Connection, doubt_id: str, verdict: Verdict, decided_at: float | None = None) -> None:
    """Record how a doubt ended; only numbers are kept of the people."""
    values: dict[str, object] = {"state": verdict, "claimed": None}
    if decided_at is not None:
        values["decided_at"] = decided_at
    connection.execute(update(identity_doubts).where(identity_doubts.c.id == doubt_id).values(**values))


def claim_fingerprints(
    connection: Connection, database: Database, student_number: str, prints: Mapping[str, str]
) -> dict[str, str]:
    """Take these fingerprints, by kind; return, by kind, others who took them first."""
    rows = [
        {"kind": kind, "value": value, "student_number": student_number} for kind, value in prints.items()
    ]
    if connection.execute(database.insert_new(fingerprints), rows).rowcount == len(rows):
        return {}
    holders = with_fingerprints(connection, list(prints.items()))
    return {kind: holder for (kind, _), holder in holders.items() if holder != student_number}


def take_over_fingerprint(connection: Connection, student_number: str, kind: str, value: str) -> None:
    """Take a fingerprint from a number that no longer has it."""
    connection.execute(
        update(fingerprints)
        .where(fingerprints.c.kind == kind, fingerprints.c.value == value)
        .values(student_number=student_number)
    )


def with_fingerprints(
    connection: Connection, prints: Collection[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """The students who have taken these fingerprints (kind and value)."""
    rows = connection.execute(
        select(fingerprints).where(tuple_(fingerprints.c.kind, fingerprints.c.value).in_(prints))
    )
    return {(row.kind, row.value): row.student_number for row in rows}


def with_digests(connection: Connection, digests: Collection[str]) -> list[tuple[str, str]]:
    """Digest and pseudonym, for those of these digests that are erased persons'."""
    rows = rows_among(connection, _FINGERPRINTS, fingerprints.c.value, list(digests))
    return [(row.value, row.student_number) for row in rows]


def _doubt(row: RowMapping) -> Doubt:
    values = dict(row)
    values["evidence"] = tuple(row["evidence"].split())
    values["state"] = Verdict(row["state"])
    values["claimed"] = None if row["claimed"] is None else Identity.model_validate_json(row["claimed"])
    return Doubt(**values)


def _id(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
