"""The welcome message's journal: its intent is recorded before it is sent, so that it is never sent twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from pipeline.store import adoptions
from pipeline.store.database import Database
from pipeline.store.tables import welcome_messages as w

WAIVED = "waived"


@dataclass(frozen=True)
class Intent:
    """A welcome message that was, or was to be, sent.

    Attributes:
        message_id: its Message-ID (RFC 5322), angle brackets included.
        uidvalidity, uidnext: the inbox's, read just before the intent was recorded (RFC 9051).
        state: `intended` (unknown whether it was sent), `sent`, `undecided` (it cannot be known, and it is
            not sent again), or `waived` (the mailbox is older than Sésame: nobody is welcomed to it).
    """

    message_id: str
    uidvalidity: int
    uidnext: int
    state: str


def _was_there(connection: Connection, student_number: str) -> bool:
    return bool(adoptions.objects_of(connection, "mailbox", [student_number]))


class WelcomeMessages:
    """One row per student, for ever."""

    def __init__(self, database: Database, *, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def intend(self, student_number: str, message_id: str, uidvalidity: int, uidnext: int) -> Intent | None:
        """Record the intent; if there is an earlier one, leave it and return it."""
        with self._database.write() as connection:
            row = connection.execute(select(w).where(w.c.student_number == student_number)).one_or_none()
            if row is not None:
                return Intent(row.message_id, row.uidvalidity, row.uidnext, row.state)
            if _was_there(connection, student_number):
                return Intent(message_id, uidvalidity, uidnext, WAIVED)
            connection.execute(
                self._database.insert(w).values(
                    student_number=student_number,
                    message_id=message_id,
                    uidvalidity=uidvalidity,
                    uidnext=uidnext,
                    intended_at=self._clock(),
                    state="intended",
                )
            )
            return None

    def known(self, student_number: str) -> Intent | None:
        """What is recorded of a student's message, if anything is."""
        with self._database.read() as connection:
            row = connection.execute(select(w).where(w.c.student_number == student_number)).one_or_none()
            if row is None and _was_there(connection, student_number):
                return Intent("", 0, 0, WAIVED)
        return Intent(row.message_id, row.uidvalidity, row.uidnext, row.state) if row is not None else None

    def sent(self, student_number: str) -> None:
        """The message was accepted by the mail server, or was found in the mailbox."""
        self._settle(student_number, "sent")

    def undecided(self, student_number: str) -> None:
        """It cannot be known whether it arrived; it will not be sent again."""
        self._settle(student_number, "undecided")

    def _settle(self, student_number: str, state: str) -> None:
        with self._database.write() as connection:
            connection.execute(update(w).where(w.c.student_number == student_number).values(state=state))
