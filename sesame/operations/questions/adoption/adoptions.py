"""What existed in the targets before Sésame: owners found, and open questions.

A question's key is its content: a target's object, a student and a kind. So each is put once, and its
answer is permanent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    String,
    Table,
    bindparam,
    func,
    or_,
    select,
    update,
)

from consumers.registry.ledger import ledger
from pipeline.accounts import accounts
from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

adoptions = Table(
    "adoptions",
    metadata,
    Column("target", String(64), primary_key=True),
    Column("student_number", String(32), primary_key=True),
    Column("object", String(512), nullable=False),  # in the target's own words: DN, user id, address
    Column(
        "evidence", String(32), nullable=False
    ),  # student_number | ine | login | mail | operator | erasure
    Column("adopted_at", Float, nullable=False),
    info=rows_of("student_number"),
)


adoption_questions = Table(
    "adoption_questions",
    metadata,
    Column("id", String(64), primary_key=True),  # a digest of the question: one question, one row
    Column("target", String(64), nullable=False),
    Column("object", String(512), nullable=False),
    Column("student_number", String(32), index=True),  # None: owner unknown
    Column("kind", String(32), nullable=False),
    Column("state", String(16), nullable=False, index=True),  # open | linked | separate | gone
    Column("raised_at", Float, nullable=False),
    Column("decided_at", Float),
    Index("ix_adoption_questions_target_object", "target", "object"),
    info=rows_of("student_number"),
)


BY_ERASURE: Final = "erasure"
CORRECTED: Final = "corrected"
"""Kind of the question that a turn raises; turns do not wait for its answer."""
NUMBER_AFTER: Final = "\n"
"""Separates an adopted object of a service from the other number that it carried."""

# Made once: each call of a target looks.
_OBJECTS: Final = select(adoptions.c.student_number, adoptions.c.object).where(
    adoptions.c.target == bindparam("of_target")
)


class AdoptionAnswer(StrEnum):
    """The state of a question."""

    OPEN = "open"  # waits for an operator
    LINKED = "linked"  # decided: the object is this student's, as it is
    SEPARATE = "separate"  # decided: it is another person's
    GONE = "gone"  # the conflict was resolved at the target; it may return


DECIDED = frozenset({AdoptionAnswer.LINKED, AdoptionAnswer.SEPARATE})


@dataclass(frozen=True)
class Adoption:
    """An object that existed, and its student.

    Attributes:
        object: in the target's own words: an entry's DN in lower case, a Moodle user's id, an address; of
            a service its `ref`, and after NUMBER_AFTER what it carries instead of the student number.
        evidence: what proves it: student_number, ine, login, mail or operator; or an erasure, which has
            written the pseudonym over the number.
    """

    target: str
    student_number: str
    object: str
    evidence: str


@dataclass(frozen=True)
class QuestionRow:
    """A question for an operator.

    Attributes:
        student_number: whom it concerns; None: unknown.
        kind: a token, e.g. `mail_differs`.
        raised_at, decided_at: seconds since the epoch, UTC.
    """

    target: str
    object: str
    student_number: str | None
    kind: str
    state: AdoptionAnswer = AdoptionAnswer.OPEN
    raised_at: float = 0.0
    decided_at: float | None = None

    @property
    def id(self) -> str:
        """Permanent id: a digest of the question."""
        parts = (self.target, self.object, self.student_number or "", self.kind)
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


# --- links --------------------------------------------------------------------------------------------


def adopt(connection: Connection, database: Database, found: Sequence[Adoption], now: float) -> int:
    """Record the students of these objects; return how many links are new."""
    new = 0
    for each in found:
        statement = database.insert(adoptions).values(**each.__dict__, adopted_at=now)
        values = {"object": each.object, "evidence": each.evidence, "adopted_at": now}
        done = connection.execute(
            statement.on_conflict_do_update(
                index_elements=[adoptions.c.target, adoptions.c.student_number],
                set_=values,
                where=(adoptions.c.object != each.object) | (adoptions.c.evidence != each.evidence),
            )
        )
        new += done.rowcount
    return new


def begin_erasing(
    connection: Connection, database: Database, target: str, pseudonyms: Mapping[str, tuple[str, str]]
) -> None:
    """Record that these objects carry pseudonyms from now on.

    `pseudonyms`: by `ref`, the number and the pseudonym.
    """
    found = [
        Adoption(target, number, f"{ref}{NUMBER_AFTER}{pseudonym}", BY_ERASURE)
        for ref, (number, pseudonym) in pseudonyms.items()
    ]
    adopt(connection, database, found, database.now(connection))


def owners(connection: Connection, target: str, refs: Collection[str]) -> Mapping[str, str]:
    """The students of these adopted objects, by `ref`."""
    o = adoptions.c.object
    named = or_(*(or_(o == ref, o.startswith(ref + NUMBER_AFTER, autoescape=True)) for ref in refs))
    rows = connection.execute(
        select(o, adoptions.c.student_number).where(adoptions.c.target == target, named)
    )
    return {row.object.split(NUMBER_AFTER, 1)[0]: row.student_number for row in rows}


def disown(connection: Connection, target: str, student_numbers: Collection[str]) -> None:
    """Remove all links of these students to objects of this target."""
    connection.execute(
        adoptions.delete().where(
            adoptions.c.target == target, adoptions.c.student_number.in_(student_numbers)
        )
    )


def objects_of(connection: Connection, target: str, student_numbers: Collection[str]) -> Mapping[str, str]:
    """The adopted object of each of these students that has one."""
    rows = rows_among(
        connection, _OBJECTS, adoptions.c.student_number, list(student_numbers), of_target=target
    )
    return {row.student_number: row.object for row in rows}


def student_pages(database: Database, target: str, *, size: int) -> Iterator[list[str]]:
    """Students with an adopted object in this target, by number."""
    number, last = adoptions.c.student_number, ""
    here = select(number).where(adoptions.c.target == target).order_by(number).limit(size)
    while True:
        with database.read() as connection:
            page = list(connection.scalars(here.where(number > last)))
        if not page:
            return
        yield page
        last = page[-1]


def dispossessed(connection: Connection) -> list[str]:
    """Students with an unactivated account whose login proved to be another person's."""
    rows = connection.scalars(
        select(accounts.c.student_number)
        .join(ledger, (ledger.c.kind == "login") & (ledger.c.value == accounts.c.login))
        .where(
            accounts.c.activated_at.is_(None),
            func.coalesce(ledger.c.student_number, "") != accounts.c.student_number,
        )
        .order_by(accounts.c.student_number)
    )
    return list(rows)


# --- questions ----------------------------------------------------------------------------------------


def ask(connection: Connection, database: Database, questions: Sequence[QuestionRow], now: float) -> int:
    """Open these questions unless open or decided; return how many were opened."""
    new = 0
    for each in questions:
        statement = database.insert(adoption_questions).values(
            id=each.id,
            target=each.target,
            object=each.object,
            student_number=each.student_number,
            kind=each.kind,
            state=AdoptionAnswer.OPEN,
            raised_at=now,
        )
        done = connection.execute(
            statement.on_conflict_do_update(
                index_elements=[adoption_questions.c.id],
                set_={"state": AdoptionAnswer.OPEN, "raised_at": now, "decided_at": None},
                where=adoption_questions.c.state == AdoptionAnswer.GONE,
            )
        )
        new += done.rowcount
    return new


def decide(connection: Connection, question: QuestionRow, answer: AdoptionAnswer, now: float) -> None:
    """Record an operator's answer. A later one replaces it."""
    connection.execute(
        update(adoption_questions)
        .where(adoption_questions.c.id == question.id)
        .values(state=answer, decided_at=now)
    )


def mended(connection: Connection, ids: Collection[str]) -> None:
    """Close open questions whose cause is gone."""
    connection.execute(
        update(adoption_questions)
        .where(adoption_questions.c.id.in_(ids), adoption_questions.c.state == AdoptionAnswer.OPEN)
        .values(state=AdoptionAnswer.GONE)
    )


def questions(
    connection: Connection, states: Collection[AdoptionAnswer], *, kind: str | None = None
) -> list[QuestionRow]:
    """Questions in these states, the oldest first."""
    wanted = [] if kind is None else [adoption_questions.c.kind == kind]
    return _found(connection, adoption_questions.c.state.in_(states), *wanted)


def beginning_with(connection: Connection, prefix: str) -> list[QuestionRow]:
    """The questions whose id has this beginning."""
    return _found(connection, adoption_questions.c.id.startswith(prefix, autoescape=True))


def about(connection: Connection, target: str, objects: Collection[str]) -> list[QuestionRow]:
    """Every question about these objects of a target, decided ones too."""
    table = adoption_questions.c
    return _found(connection, table.target == target, table.object.in_(objects))


def _found(connection: Connection, *wanted: ColumnElement[bool]) -> list[QuestionRow]:
    table = adoption_questions.c
    query = select(adoption_questions).where(*wanted).order_by(table.raised_at, table.id)
    found = []
    for row in connection.execute(query).mappings():
        values = {name: value for name, value in row.items() if name != "id"}
        found.append(QuestionRow(**{**values, "state": AdoptionAnswer(row["state"])}))
    return found


def open_about(connection: Connection, target: str, student_numbers: Collection[str]) -> list[QuestionRow]:
    """The open questions about these students in one target, the oldest first."""
    table = adoption_questions.c
    mine = (table.target == target, table.student_number.in_(student_numbers))
    return _found(connection, *mine, table.state == AdoptionAnswer.OPEN)
