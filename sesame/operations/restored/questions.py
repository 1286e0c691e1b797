"""Students whom a target shows shut, and a restored store does not know why: an operator is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Column, Connection, Float, String, Table, Text, select, update

from pipeline.db.database import Database
from pipeline.db.metadata import metadata

restore_questions = Table(
    "restore_questions",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("shown_by", Text, nullable=False),  # JSON list: the targets that show the student shut
    Column("state", String(16), nullable=False, index=True),  # open | opened | kept
    Column("raised_at", Float, nullable=False),
    Column("decided_at", Float),
)
_t = restore_questions.c


class RestoreAnswer(StrEnum):
    """What an operator has said; `open`: nothing yet."""

    OPEN = "open"
    OPENED = "opened"
    KEPT = "kept"


@dataclass(frozen=True)
class RestoreQuestion:
    """One student, shut at these targets when the store was checked. Times in epoch seconds."""

    student_number: str
    shown_by: tuple[str, ...]
    state: RestoreAnswer
    raised_at: float
    decided_at: float | None


def ask(
    connection: Connection, database: Database, student_number: str, shown_by: Sequence[str], now: float
) -> None:
    """Ask about a student, anew if it was asked after an earlier restore."""
    values = {
        "shown_by": json.dumps(list(shown_by)),
        "state": RestoreAnswer.OPEN.value,
        "raised_at": now,
        "decided_at": None,
    }
    statement = database.insert(restore_questions).values(student_number=student_number, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[_t.student_number], set_=values))


def listed(connection: Connection, states: Sequence[RestoreAnswer]) -> list[RestoreQuestion]:
    """The questions in these states, oldest first."""
    query = select(restore_questions).where(_t.state.in_([state.value for state in states]))
    rows = connection.execute(query.order_by(_t.raised_at, _t.student_number)).all()
    return [
        RestoreQuestion(
            row.student_number,
            tuple(json.loads(row.shown_by)),
            RestoreAnswer(row.state),
            row.raised_at,
            row.decided_at,
        )
        for row in rows
    ]


def decide(connection: Connection, student_number: str, answer: RestoreAnswer, now: float) -> bool:
    """Note an answer; False if nothing was asked about this student."""
    done = connection.execute(
        update(restore_questions)
        .where(_t.student_number == student_number)
        .values(state=answer.value, decided_at=now)
    )
    return bool(done.rowcount)
