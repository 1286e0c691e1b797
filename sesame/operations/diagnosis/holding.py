"""Why somebody is held, in the words of the operator who did it: for support."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from pipeline.audit import operator_notes
from schemas.account import Account

_PLACED, _ACTIONS = "hold.place", ("hold.place", "hold.lift")


@dataclass(frozen=True)
class HoldNote:
    """One hold that an operator placed, and said why.

    Attributes:
        hold: its kind, e.g. `suspended`.
        words: the operator's own; they may be personal, so neither students nor the log see them.
    """

    hold: str
    since: datetime
    actor: str
    words: str


def hold_notes(connection: Connection, account: Account) -> tuple[HoldNote, ...]:
    """What was said of each hold that is in force. Those of the registry itself have no words."""
    said = operator_notes.of_student(connection, account.student_number)
    newest = {remark.about: remark for remark in said if remark.action in _ACTIONS}
    return tuple(
        HoldNote(hold, datetime.fromtimestamp(remark.at, UTC), remark.actor, remark.words)
        for hold in sorted(account.holds)
        if (remark := newest.get(hold)) is not None and remark.action == _PLACED
    )
