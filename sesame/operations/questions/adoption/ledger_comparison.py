"""Compare the names in use with the ledger: do their holders agree?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consumers.directory import NAME as DIRECTORY
from consumers.registry.ledger import Holder, SqlLedger
from pipeline import accounts
from pipeline.db.database import Database
from sesame.operations.questions.adoption import adoptions
from sesame.operations.questions.adoption.questions import Answers, QuestionKind, ask
from sesame.operations.questions.adoption.sheet import FoundObject, Sheet, Standing


class LedgerComparison:
    """Raises questions about names that the ledger has for another holder.

    Args:
        sheet: judged so far.
        database: the store.
    """

    def __init__(self, sheet: Sheet, database: Database) -> None:
        self._sheet = sheet
        self._database = database

    def compare(self, target: str) -> None:
        """Look at all names of a target."""
        for rows in self._sheet.pages(target):
            names = {row.id: self._names_to_take(row) for row in rows}
            wanted = [name for several in names.values() for name in several]
            if not wanted:
                continue
            with self._database.read() as connection:
                held = SqlLedger(connection, self._database, 0.0).holders(wanted)
                holders = {each.student_number for each in held.values() if each.student_number}
                active = accounts.active_logins(connection, sorted(holders))
                answers = Answers(adoptions.about(connection, target, [row.ref for row in rows]))
            for row in rows:
                self._hold_against(row, names[row.id], held, active, answers)
            self._sheet.judge(rows)

    def _names_to_take(self, row: FoundObject) -> list[tuple[str, str]]:
        """Names to reserve: those only this entry has; elsewhere, those that no entry has."""
        names = self._sheet.names_of(row)
        if row.target == DIRECTORY:
            return [n for n in names if len(self._sheet.with_name(DIRECTORY, *n)) == 1]
        return [n for n in names if not self._sheet.with_name(DIRECTORY, *n)]

    def _hold_against(
        self,
        row: FoundObject,
        names: Iterable[tuple[str, str]],
        held: Mapping[tuple[str, str], Holder],
        active: Mapping[str, str],
        answers: Answers,
    ) -> None:
        holder = holder_of(row)
        for name in names:
            known = held.get(name)
            if known is None or known.student_number in (None, holder):
                continue  # unowned: it was seen before its owner was known
            if holder is None and known.student_number == row.student:
                continue
            kind = QuestionKind.LEDGER_ACTIVE if known.student_number in active else QuestionKind.LEDGER_OTHER
            ask(self._sheet, row, holder or known.student_number, kind, answers, ":".join(name))
            return


def holder_of(row: FoundObject) -> str | None:
    """The holder for an object's names: an entry's number, or its matched student.

    Outside the directory a name is reserved without a holder, so that no student gets it: an address in
    Moodle may be a private one, which must not become an alias. A user without an entry is separate.
    """
    if row.target == DIRECTORY:
        return row.number or (row.student if row.standing is Standing.MATCH else "") or None
    return None
