"""Doubtful identities in words: what agrees, a doubt's state, each side's data."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Final

from schemas.language import gettext, local_day, local_time
from sesame.app.lazy import lazily

with lazily():
    from sesame.operations.people import known_persons
    from sesame.operations.people.diagnosis import words

_TELLING: Final = frozenset(
    {"birth_name", "usage_name", "given_name", "preferred_given_name", "birth_date", "ine"}
)
"""What tells one person from another."""

NONE: Final = "–"


def evidence(kinds: Iterable[str]) -> str:
    """The evidence for a doubt, in words."""
    return ", ".join(words.word("doubt_evidence", each) for each in kinds)


def state(verdict: str) -> str:
    """The state of a doubt."""
    return words.word("verdicts", verdict)


def left(cause: str) -> str:
    """Why a doubt that a rule fits is left to one by one."""
    return words.word("left_doubts", cause)


def stage(token: str | None) -> str:
    """An account's stage, in words."""
    return NONE if token is None else words.word("stages", token)


def hold(token: str) -> str:
    """A reason to shut access."""
    return words.word("holds", token)


def born(day: str) -> str:
    """A birth date, which comes as ISO 8601 has it."""
    return local_day(date.fromisoformat(day))


def compared(before: known_persons.Side, after: known_persons.Side | None) -> list[tuple[str, str, str, str]]:
    """A row for each known field: its label, both sides' values, whether they differ."""
    mine = before.model_dump()
    theirs = {} if after is None else after.model_dump()
    rows = []
    for name in words.glossary()["side"]:
        one, other = _word(name, mine[name]), _word(name, theirs[name]) if theirs else ""
        differs = bool(theirs) and name in _TELLING and one != other
        rows.append((words.word("side", name), one, other, gettext("differs") if differs else ""))
    return rows


def _word(name: str, value: object) -> str:
    if value is None or value == ():
        return NONE
    if name == "holds" and isinstance(value, tuple):
        return ", ".join(hold(each) for each in value)
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, datetime):
        return local_time(value)
    if name == "birth_date":
        return born(str(value))
    return stage(str(value)) if name == "stage" else str(value)
