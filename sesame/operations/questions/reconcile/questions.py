"""A comparison's questions: objects with an unknown or shared student number.

They work as adoption's do: put once, answered by `sesame adopt decide`, permanent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlalchemy import Connection

from pipeline.db.database import Database
from sesame.operations.questions.adoption import adoptions
from sesame.operations.questions.adoption.adoptions import AdoptionAnswer, QuestionRow
from sesame.operations.questions.adoption.questions import QuestionKind

ASKED_MAX = 1_000
"""Limit of questions: beyond it the accounts' list or the target is wrong."""

_KINDS = {"extra": QuestionKind.NUMBER_TWICE, "orphaned": QuestionKind.NUMBER_OF_NOBODY}


def ask(
    connection: Connection,
    database: Database,
    target: str,
    found: Mapping[str, Sequence[str]],
    evidence: Mapping[str, Sequence[str]],
) -> None:
    """Raise questions about these objects by kind of difference, once each."""
    asked = list(_questions(target, found, evidence))
    if len(asked) <= ASKED_MAX:
        adoptions.ask(connection, database, asked, database.now(connection))


def close_others(
    connection: Connection,
    target: str,
    found: Mapping[str, Sequence[str]],
    evidence: Mapping[str, Sequence[str]],
    *,
    single: Collection[str],
) -> None:
    """After a full comparison: close the questions that no longer have a cause.

    Args:
        single: objects that shared a student with others in the comparison before, and do not now.
            Questions about others are from `sesame adopt`, which sees more: two that an INE joins, or of a
            student who has not activated the account.
    """
    asked = {each.id for each in _questions(target, found, evidence)}
    for kind in _KINDS.values():
        still = adoptions.questions(connection, [AdoptionAnswer.OPEN], kind=kind)
        here = [each for each in still if each.target == target and each.id not in asked]
        ended = [each.id for each in here if kind != QuestionKind.NUMBER_TWICE or each.object in single]
        adoptions.mended(connection, ended)


def set_aside(connection: Connection, target: str, objects: Collection[str]) -> set[str]:
    """Those of these objects that an operator decided to leave as they are."""
    answers = adoptions.about(connection, target, objects)
    kind = QuestionKind.NUMBER_OF_NOBODY
    return {each.object for each in answers if each.kind == kind and each.state is AdoptionAnswer.SEPARATE}


def _questions(
    target: str, found: Mapping[str, Sequence[str]], evidence: Mapping[str, Sequence[str]]
) -> Iterator[QuestionRow]:
    for difference, kind in _KINDS.items():
        for ref in (each for each in found.get(difference, ()) if len(evidence[each]) == 1):
            yield QuestionRow(target, ref, evidence[ref][0], kind)
