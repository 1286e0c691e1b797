"""The welcome message's journal. Intents are recorded first, to never send twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Float,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

welcome_messages = Table(
    "welcome_messages",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("message_id", String(255), nullable=False),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("uidnext", BigInteger, nullable=False),
    Column("intended_at", Float, nullable=False),
    Column("state", String(16), nullable=False),  # intended | sent | undecided
    CheckConstraint("state in ('intended', 'sent', 'undecided')", name="state"),
    info=rows_of("student_number"),
)


WAIVED = "waived"

# Built once: each call of the mail server uses them.
_ROWS: Final = select(welcome_messages)
_INTEND: Final = insert(welcome_messages)
_SETTLE: Final = update(welcome_messages).where(
    welcome_messages.c.student_number.in_(bindparam("numbers", expanding=True))
)


@dataclass(frozen=True)
class RecordedIntent:
    """A welcome message that was, or was to be, sent.

    Attributes:
        message_id: its Message-ID (RFC 5322), angle brackets included.
        uidvalidity, uidnext: the inbox's, read just before the intent was recorded (RFC 9051).
        state: `intended` (unknown whether it was sent), `sent`, `undecided` (unknowable: not sent again), or
            `waived` (the mailbox is older than Sésame: no welcome is sent).
    """

    message_id: str
    uidvalidity: int
    uidnext: int
    state: str


class WelcomeMessages:
    """One row per student, kept but for the canary's. `adopted`: mailboxes from before Sésame, by number."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float],
        adopted: Callable[[Sequence[str]], Mapping[str, str]],
    ) -> None:
        self._database = database
        self._adopted = adopted
        self._clock = clock

    def intend(self, intended: Mapping[str, tuple[str, int, int]]) -> dict[str, RecordedIntent]:
        """Record intents (Message-ID, UIDVALIDITY, UIDNEXT) by number. Keep and return earlier ones."""
        waived = self._waived(list(intended))
        with self._database.write() as connection:
            earlier = waived | self._recorded(connection, intended)
            now = self._clock()
            rows = [
                {
                    "student_number": number,
                    "message_id": message_id,
                    "uidvalidity": uidvalidity,
                    "uidnext": uidnext,
                    "intended_at": now,
                    "state": "intended",
                }
                for number, (message_id, uidvalidity, uidnext) in sorted(intended.items())
                if number not in earlier
            ]
            if rows:
                connection.execute(_INTEND, rows)
        return earlier

    def known(self, student_numbers: Sequence[str]) -> dict[str, RecordedIntent]:
        """The recorded intents of these students."""
        with self._database.read() as connection:
            recorded = self._recorded(connection, student_numbers)
        return self._waived([number for number in student_numbers if number not in recorded]) | recorded

    def sent(self, student_numbers: Sequence[str]) -> None:
        """Record messages that the server accepted, or that mailboxes have."""
        self._settle(student_numbers, "sent")

    def undecided(self, student_numbers: Sequence[str]) -> None:
        """Record that it is unknowable whether these arrived; they are not sent again."""
        self._settle(student_numbers, "undecided")

    def forget(self, student_number: str) -> None:
        """Remove a student's row, while access is shut. The next activation sends a message."""
        with self._database.write() as connection:
            connection.execute(
                delete(welcome_messages).where(welcome_messages.c.student_number == student_number)
            )

    def _recorded(
        self, connection: Connection, student_numbers: Collection[str]
    ) -> dict[str, RecordedIntent]:
        rows = rows_among(connection, _ROWS, welcome_messages.c.student_number, list(student_numbers))
        return {
            row.student_number: RecordedIntent(row.message_id, row.uidvalidity, row.uidnext, row.state)
            for row in rows
        }

    def _waived(self, student_numbers: Sequence[str]) -> dict[str, RecordedIntent]:
        """Students with a mailbox from before Sésame, who get no welcome."""
        adopted = self._adopted(student_numbers) if student_numbers else {}
        return {number: RecordedIntent("", 0, 0, WAIVED) for number in adopted}

    def _settle(self, student_numbers: Sequence[str], state: str) -> None:
        if not student_numbers:
            return
        with self._database.write() as connection:
            connection.execute(_SETTLE, {"numbers": list(student_numbers), "state": state})
