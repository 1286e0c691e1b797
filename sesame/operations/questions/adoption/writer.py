"""Write the sheet to the store: names to the ledger, links, and questions.

The targets are not touched. Each page is one transaction. What was written stays when the rest fails, and
a repeat adds what is missing: names are inserted once, links and questions have their own keys, and the
accounts to remake are found by comparing, not by remembering.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from pydantic import ConfigDict, Field, computed_field
from sqlalchemy import Connection

from consumers.directory import NAME as DIRECTORY
from consumers.mailbox import NAME as MAILBOX
from consumers.registry.ledger import SEEN, SERVICE, SqlLedger
from pipeline import accounts
from pipeline.db.database import Database
from sesame.acts.acts import Report
from sesame.operations.questions.adoption import adoptions
from sesame.operations.questions.adoption.adoptions import (
    DECIDED,
    NUMBER_AFTER,
    Adoption,
    AdoptionAnswer,
    QuestionRow,
)
from sesame.operations.questions.adoption.ledger_comparison import holder_of
from sesame.operations.questions.adoption.questions import QuestionKind
from sesame.operations.questions.adoption.sheet import PAGE, FoundObject, Sheet, Standing

_RAISED_ELSEWHERE = (QuestionKind.NUMBER_OF_NOBODY, QuestionKind.CORRECTED)


class Written(Report):
    """What was written to the store.

    Attributes:
        names: new in the ledger.
        adopted: objects linked for the first time, or differently.
        asked: newly open questions.
        mended: open questions whose cause is gone.
        differing: students whose account has another login or address than they turned out to have: the
            registry makes it again. None of them has activated it.
    """

    model_config = ConfigDict(frozen=False)  # it is counted up

    names: int = 0
    adopted: int = 0
    asked: int = 0
    mended: int = 0
    differing: list[str] = Field(default_factory=list, exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def accounts_differing(self) -> int:
        """The number of differing accounts."""
        return len(self.differing)


class Writer:
    """Writes a sheet's results to the store.

    Args:
        sheet: judged.
        database: the store.
    """

    def __init__(self, sheet: Sheet, database: Database) -> None:
        self._sheet = sheet
        self._database = database
        self._written = Written()

    def write(self, targets: Sequence[str]) -> Written:
        """Write names, then links, then questions; return what was new.

        Raises:
            StoreUnavailable: what was written stays; retry.
        """
        for target in targets:
            for rows in self._sheet.pages(target):
                with self._database.write() as connection:
                    self._take_names(connection, rows)
                    self._link(connection, rows)
        for target in targets:
            self._forget_links(target)
        self._ask(targets)
        with self._database.read() as connection:
            self._written.differing += adoptions.dispossessed(connection)
        for rows in self._sheet.pages(DIRECTORY):
            self._compare_accounts(rows)
        return self._written

    def _take_names(self, connection: Connection, rows: Sequence[FoundObject]) -> None:
        ledger = SqlLedger(connection, self._database, self._database.now(connection))
        questions = adoptions.about(connection, rows[0].target, [row.ref for row in rows])
        decided = {q.object for q in questions if q.kind == QuestionKind.LEDGER_OTHER and q.state in DECIDED}
        for row in rows:
            origin, holder = row.target if row.target in SEEN else SERVICE, holder_of(row)
            for kind, value in self._names_in_use(row):
                if ledger.take_note(kind, value, holder=holder, origin=origin):
                    self._written.names += 1
                elif holder is not None and ledger.reserve(kind, value, holder=holder, origin=origin):
                    continue  # it was seen before its owner was known, or it is theirs
                elif row.ref in decided:
                    ledger.hand_over(kind, value, holder=holder, origin=origin)
            if row.login and row.standing is Standing.MATCH and self._lone(row):
                ledger.reserve("login", row.login, holder=row.student, origin=origin)
        ledger.retire_minted([row.student for row in rows if row.standing is Standing.MATCH])

    def _names_in_use(self, row: FoundObject) -> list[tuple[str, str]]:
        """The names to reserve.

        A principal name outside the directory stays free if the object has a student, or a login or
        address of an entry: that holder may be given the same one.
        """
        names = self._sheet.names_of(row)
        others = [name for name in names if name[0] != "principal"]
        if row.target == DIRECTORY or len(others) == len(names):
            return names
        somebodys = row.student or row.number or any(self._sheet.with_name(DIRECTORY, *n) for n in others)
        return others if somebodys else names

    def _lone(self, row: FoundObject) -> bool:
        """Whether this student's user elsewhere keeps its login.

        It does if the student has no entry, and no entry has that login.
        """
        entries = self._sheet.of_student(DIRECTORY, row.student)
        return not entries and not self._sheet.with_name(DIRECTORY, "login", row.login)

    # --- links ----------------------------------------------------------------------------------------

    def _link(self, connection: Connection, rows: Sequence[FoundObject]) -> None:
        found = [
            Adoption(row.target, row.student, _named(row), row.evidence)
            for row in rows
            if row.standing is Standing.MATCH and row.student and row.evidence
        ]
        now = self._database.now(connection)
        self._written.adopted += adoptions.adopt(connection, self._database, found, now)

    def _forget_links(self, target: str) -> None:
        """Remove links of students for whom this target shows nothing certain any more."""
        for page in adoptions.student_pages(self._database, target, size=PAGE):
            gone = [number for number in page if not self._certain(target, number)]
            if gone:
                with self._database.write() as connection:
                    adoptions.disown(connection, target, gone)

    def _certain(self, target: str, student: str) -> bool:
        found = self._sheet.of_student(target, student)
        return any(row.standing is Standing.MATCH for row in found)

    # --- questions ------------------------------------------------------------------------------------

    def _ask(self, targets: Sequence[str]) -> None:
        with self._database.read() as connection:
            stale = {
                each.id
                for each in adoptions.questions(connection, [AdoptionAnswer.OPEN])
                if each.target in targets and each.kind not in _RAISED_ELSEWHERE
            }
        found = (
            QuestionRow(row.target, row.ref, student or None, kind)
            for row, kind, student, _ in self._sheet.conflicts()
        )
        while page := list(islice(found, PAGE)):
            stale.difference_update(each.id for each in page)
            with self._database.write() as connection:
                now = self._database.now(connection)
                self._written.asked += adoptions.ask(connection, self._database, page, now)
        self._written.mended = len(stale)
        ended = iter(sorted(stale))
        with self._database.write() as connection:
            while ids := list(islice(ended, PAGE)):
                adoptions.mended(connection, ids)

    # --- accounts -------------------------------------------------------------------------------------

    def _compare_accounts(self, rows: Sequence[FoundObject]) -> None:
        """Find accounts minted before their student's existing login was known.

        A login still on another person's account is left alone: that one is remade first.
        """
        numbers = [row.student for row in rows if row.student and row.standing is Standing.MATCH]
        with self._database.read() as connection:
            newest = accounts.newest(connection, numbers)
            names = SqlLedger(connection, self._database, 0.0).names_of(numbers)
            logins = [held["login"] for held in names.values() if "login" in held]
            holders = accounts.with_logins(connection, logins)
        for number, account in newest.items():
            held = names.get(number, {})
            mine = {"login": account.login, "mail": account.mail}
            differs = any(held.get(kind, value) != value for kind, value in mine.items())
            free = holders.get(held.get("login", ""), number) == number
            if account.activated_at is None and differs and free:
                self._written.differing.append(number)


def _named(row: FoundObject) -> str:
    """The name of an adopted object, for the target's consumer."""
    if row.target in (DIRECTORY, MAILBOX) or row.number in ("", row.student):
        return row.ref
    return f"{row.ref}{NUMBER_AFTER}{row.number}"
