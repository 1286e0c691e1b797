"""Questions about students shut at a target, for reasons a restored store lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, Field
from sqlalchemy import Column, Connection, Float, String, Table, Text, select, update

from consumers.registry.people import People
from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of
from pipeline.errors import SesameError
from producers.holds import HoldRequest, lift
from schemas import scalars
from schemas.account import Hold
from sesame.acts.acts import (
    OPERATORS,
    STAFF,
    Actor,
    ActPath,
    ActRequest,
    Report,
    act,
    shown,
    utc,
    utc_or_none,
)
from sesame.acts.ports import Publishing, Stored

restore_questions = Table(
    "restore_questions",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("shown_by", Text, nullable=False),  # JSON list: the targets that show the student shut
    Column("state", String(16), nullable=False, index=True),  # open | opened | kept
    Column("raised_at", Float, nullable=False),
    Column("decided_at", Float),
    info=rows_of("student_number"),
)
_t = restore_questions.c


HOLD: Final = Hold.ADMINISTRATIVE
"""The hold that keeps them shut: an operator's own kind. The technical one belongs to doubtful identities."""


class NotAsked(SesameError):
    """Nothing is asked about this student. `sesame restored list` shows who is asked about."""


class RestoreAnswer(StrEnum):
    """An operator's answer; `open`: none yet."""

    OPEN = "open"
    OPENED = "opened"
    KEPT = "kept"


class AskedAbout(Report):
    """One whom these targets showed shut, and the operator's answer."""

    student_number: str
    shown_shut_by: tuple[str, ...]
    state: RestoreAnswer
    raised_at: datetime
    decided_at: datetime | None


def ask(
    connection: Connection, database: Database, student_number: str, shown_by: Sequence[str], now: float
) -> None:
    """Raise the question about a student; reopen one from an earlier restore."""
    values = {
        "shown_by": json.dumps(list(shown_by)),
        "state": RestoreAnswer.OPEN.value,
        "raised_at": now,
        "decided_at": None,
    }
    statement = database.insert(restore_questions).values(student_number=student_number, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[_t.student_number], set_=values))


def in_states(connection: Connection, states: Sequence[RestoreAnswer]) -> list[AskedAbout]:
    """The questions in these states, oldest first."""
    query = select(restore_questions).where(_t.state.in_([state.value for state in states]))
    return [
        AskedAbout(
            student_number=row.student_number,
            shown_shut_by=tuple(json.loads(row.shown_by)),
            state=RestoreAnswer(row.state),
            raised_at=utc(row.raised_at),
            decided_at=utc_or_none(row.decided_at),
        )
        for row in connection.execute(query.order_by(_t.raised_at, _t.student_number))
    ]


class RestoredRequest(BaseModel):
    """Filter: open questions, or all."""

    everything: bool = Field(False, description="Decided ones, too.")


class RestoredAnswerRequest(ActRequest):
    """Whether one who was asked about is opened or kept shut, and why."""

    student_number: str
    answer: Literal[RestoreAnswer.OPENED, RestoreAnswer.KEPT]
    reason: scalars.Text


@act(
    "restored.list",
    STAFF,
    path=ActPath("list_restored", "GET", "/restored"),
    shows=lambda report, _request: shown(each.student_number for each in report),
)
def listed(site: Stored, _actor: Actor, request: RestoredRequest) -> list[AskedAbout]:
    """Whom a target showed shut after a restore, and the store does not know why."""
    states = list(RestoreAnswer) if request.everything else [RestoreAnswer.OPEN]
    with site.database.read() as connection:
        return in_states(connection, states)


@act("restored.answer", OPERATORS, path=ActPath("answer_restored", "POST", "/restored/answer", 204))
def answer(site: Publishing, actor: Actor, request: RestoredAnswerRequest) -> None:
    """Open the access in question, or keep it shut: the hold stays until lifted.

    Raises:
        NotAsked: there is no question, or it was answered.
        LogUnavailable: it may have been opened already; repeating the answer is harmless.
    """
    database = site.database
    with database.read() as connection:
        waiting = {each.student_number for each in in_states(connection, [RestoreAnswer.OPEN])}
        numbers = People(database).numbers(connection, request.student_number)
    number = next((each for each in (request.student_number, *numbers) if each in waiting), None)
    if number is None:
        raise NotAsked
    if request.answer is RestoreAnswer.OPENED:
        asked = HoldRequest(number, HOLD, request.reason, actor.name, datetime.now(UTC))
        lift(asked, database=database, producer=site.producer)

    def note(connection: Connection) -> None:
        operator_notes.keep_and_audit(
            connection,
            database,
            action=f"restored.{request.answer}",
            about=HOLD,
            student_number=number,
            actor=actor.name,
            words=request.reason,
            detail={"student_number": number},
        )
        answered = {"state": request.answer.value, "decided_at": database.now(connection)}
        connection.execute(update(restore_questions).where(_t.student_number == number).values(answered))

    database.transact(note)
