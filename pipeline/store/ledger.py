"""The ledger of logins, mail addresses and principal names: for ever, unique, and never deleted from.

It also holds the names of those who are no students (staff, reserved names), so that minting steers clear of
them. The directory's unique overlay stands behind it.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, exists, select, update

from pipeline.store.database import Database
from pipeline.store.tables import ledger, people

MINTED = "minted"
DIRECTORY = "directory"
_TICK_S = 1e-5  # names that are reserved one after another keep their order


class SqlLedger:
    """The ledger within one transaction: implements `consumers.registry.identity.Ledger`.

    Args:
        connection: the transaction that also writes the account.
        now: seconds since the epoch, UTC.
    """

    def __init__(self, connection: Connection, database: Database, now: float) -> None:
        self._connection = connection
        self._database = database
        self._now = now

    def held_by(self, student_number: str) -> Mapping[str, str]:
        """Kind to value: the name of each kind that the directory showed as this student's, else the first
        one that was minted."""
        rows = self._connection.execute(
            select(ledger.c.kind, ledger.c.value)
            .where(ledger.c.student_number == student_number)
            .order_by(ledger.c.origin == DIRECTORY, ledger.c.recorded_at.desc(), ledger.c.value.desc())
        )
        return {row.kind: row.value for row in rows}  # the one that goes first comes last, and stays

    def all_of(self, student_number: str, kind: str) -> list[str]:
        """Every name of this kind that is this student's, in the order in which they were given."""
        return list(
            self._connection.scalars(
                select(ledger.c.value)
                .where(ledger.c.student_number == student_number, ledger.c.kind == kind)
                .order_by(ledger.c.recorded_at, ledger.c.value)
            )
        )

    def claim(self, names: Mapping[str, str], student_number: str) -> bool:
        """Take all of these (kind to value) for this student, or none if one is held by anybody else.

        Two who claim one name at the same moment are told apart by the primary key: the second one waits
        for the first one's transaction, and is refused if that commits.
        """
        if any(self._holder(kind, value) not in (None, student_number) for kind, value in names.items()):
            return False
        with self._connection.begin_nested() as savepoint:
            for kind, value in names.items():
                if not self._take(kind, value, student_number, MINTED):
                    savepoint.rollback()
                    return False
        return True

    def reserve(self, kind: str, value: str, *, holder: str | None, origin: str) -> bool:
        """Record a name that was given elsewhere (a directory's entry, a reserved word).

        Args:
            kind: login, mail or principal.
            value: the name, in any case.
            holder: the student number, or None if it is no student's.
            origin: where it was found.

        Returns:
            False if somebody else holds it already: nothing is changed, and somebody should look.
        """
        self._now += _TICK_S
        return self._take(kind, value, holder, origin) or self._adopt(kind, value, holder)

    def _adopt(self, kind: str, value: str, holder: str | None) -> bool:
        """Let a name that was seen in the directory as no student's be this student's, whose number its entry
        carries now; not once they have activated an account, whose names stay."""
        activated = exists().where(people.c.student_number == holder, people.c.activated_at.is_not(None))
        done = self._connection.execute(
            update(ledger)
            .where(ledger.c.kind == kind, ledger.c.value == value.lower(), ledger.c.student_number.is_(None))
            .where(ledger.c.origin == DIRECTORY, ~activated)
            .values(student_number=holder, recorded_at=self._now)
        )
        return bool(done.rowcount)

    def _holder(self, kind: str, value: str) -> str | None:
        row = self._connection.execute(
            select(ledger.c.student_number).where(ledger.c.kind == kind, ledger.c.value == value.lower())
        ).one_or_none()
        return None if row is None else (row.student_number or "")

    def _take(self, kind: str, value: str, holder: str | None, origin: str) -> bool:
        statement = self._database.insert(ledger).values(
            kind=kind, value=value.lower(), student_number=holder, origin=origin, recorded_at=self._now
        )
        statement = statement.on_conflict_do_nothing(index_elements=[ledger.c.kind, ledger.c.value])
        if self._connection.execute(statement).rowcount:
            return True
        return self._holder(kind, value) == (holder or "")
