"""Compare the names in use with the ledger: do their holders agree?"""

from __future__ import annotations

from consumers.directory import NAME as DIRECTORY
from consumers.registry.ledger import SqlLedger
from pipeline import accounts
from pipeline.db.database import Database
from sesame.operations.questions.adoption import adoptions
from sesame.operations.questions.adoption.questions import Answers, QuestionKind, ask
from sesame.operations.questions.adoption.sheet import FoundObject, Sheet, Standing


def compare(sheet: Sheet, database: Database, target: str) -> None:
    """Raise questions about names of a target that the ledger has for another holder.

    The sheet is judged so far.
    """
    for rows in sheet.pages(target):
        names = {row.id: _names_to_take(sheet, row) for row in rows}
        wanted = [name for several in names.values() for name in several]
        if not wanted:
            continue
        with database.read() as connection:
            held = SqlLedger(connection, database, 0.0).holders(wanted)
            holders = {each.student_number for each in held.values() if each.student_number}
            active = accounts.active_logins(connection, sorted(holders))
            answers = Answers(adoptions.about(connection, target, [row.ref for row in rows]))
        for row in rows:
            holder = holder_of(row)
            for name in names[row.id]:
                theirs = held[name].student_number if name in held else None
                # Without an owner it was seen before its owner was known.
                if theirs in (None, holder) or (holder is None and theirs == row.student):
                    continue
                kind = QuestionKind.LEDGER_ACTIVE if theirs in active else QuestionKind.LEDGER_OTHER
                ask(sheet, row, holder or theirs or "", kind, answers, ":".join(name))
                break
        sheet.judge(rows)


def _names_to_take(sheet: Sheet, row: FoundObject) -> list[tuple[str, str]]:
    """Names to reserve: those only this entry has; elsewhere, those that no entry has."""
    entries = 1 if row.target == DIRECTORY else 0
    return [name for name in sheet.names_of(row) if len(sheet.with_name(DIRECTORY, *name)) == entries]


def holder_of(row: FoundObject) -> str | None:
    """The holder for an object's names: an entry's number, or its matched student.

    Outside the directory a name is reserved without a holder, so that no student gets it: an address in
    Moodle may be a private one, which must not become an alias. A user without an entry is separate.
    """
    if row.target == DIRECTORY:
        return row.number or (row.student if row.standing is Standing.MATCH else "") or None
    return None
