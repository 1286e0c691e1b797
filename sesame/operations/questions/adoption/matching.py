"""Match objects with students: certain, candidate, contradiction, or no student.

Only strong evidence links: the student number on the object, or the INE. Names with the birth date make a
candidate. A login or an address that is the same in two targets links nothing: it tells where to look, and
an operator decides. Decided questions are not put twice.

The directory is judged first: the users of Moodle and of connectors, and the mailboxes, are compared with
it, then all of it with the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pydantic import ValidationError
from sqlalchemy import Connection

from consumers.directory import NAME as DIRECTORY
from consumers.mailbox import NAME as MAILBOX
from consumers.moodle import NAME as MOODLE
from consumers.registry.doubts import fingerprints, recognisable
from consumers.registry.identity_doubts import with_fingerprints
from consumers.registry.people import Identity, KnownPerson, People
from pipeline import accounts
from pipeline.db.database import Database
from pipeline.target_states import TargetState, states_of
from sesame.operations.questions.adoption import adoptions, ledger_comparison
from sesame.operations.questions.adoption.adoptions import DECIDED
from sesame.operations.questions.adoption.owners import owners_of, same_names
from sesame.operations.questions.adoption.questions import BY_HAND, Answers, QuestionKind, ask
from sesame.operations.questions.adoption.sheet import FoundObject, Sheet, Standing

BY_NUMBER, BY_INE, BY_MAIL = "student_number", "ine", "mail"
_OWN_RULES = (DIRECTORY, MAILBOX)


@dataclass(frozen=True)
class _Page:
    """What the store knows of one page's objects.

    `written`: students whose object Sésame has written.
    """

    answers: Answers
    known: Mapping[str, KnownPerson]
    active: Mapping[str, str]
    twice: frozenset[str]
    prints: Mapping[tuple[str, str], str]
    owners: Mapping[int, str]
    short_logins: Mapping[str, str | None]
    written: frozenset[str]


class Matcher:
    """Judges the objects on a sheet; changes only the sheet.

    Args:
        sheet: with all objects on it.
        database: the store: who is known, what was decided, who holds which name.
    """

    def __init__(self, sheet: Sheet, database: Database) -> None:
        self._sheet = sheet
        self._database = database
        self._people = People(database)

    def match(self, targets: Sequence[str]) -> None:
        """Judge the objects of these targets.

        Raises:
            StoreUnavailable: only the sheet was changed.
        """
        if DIRECTORY in targets:
            self._entries()
            self._twice(DIRECTORY)
            self._shared()
        for target in targets:
            if target not in _OWN_RULES:
                self._users(target)
                self._twice(target)
        if MAILBOX in targets:
            self._mailboxes()
        for target in targets:
            ledger_comparison.compare(self._sheet, self._database, target)

    # --- the directory --------------------------------------------------------------------------------

    def _entries(self) -> None:
        twice = self._sheet.numbers_twice(DIRECTORY)
        for rows in self._sheet.pages(DIRECTORY):
            with self._database.read() as connection:
                page = self._page(connection, rows, twice)
            for row in rows:
                self._entry(row, page)
            self._sheet.judge(rows)

    def _page(self, connection: Connection, rows: Sequence[FoundObject], twice: frozenset[str]) -> _Page:
        prints = [item for row in rows if not row.number for item in _prints(row).items()]
        taken = with_fingerprints(connection, prints) if prints else {}
        target = rows[0].target
        owners, short_logins, states = dict[int, str](), dict[str, str | None](), dict[str, TargetState]()
        if target not in _OWN_RULES:
            owners, short_logins = owners_of(self._sheet, self._database, connection, rows)
            states = states_of(connection, target, [row.number for row in rows if row.number])
        numbers = [*{row.number for row in rows if row.number} | {*taken.values(), *owners.values()}]
        return _Page(
            answers=Answers(adoptions.about(connection, target, [row.ref for row in rows])),
            known=self._people.known_among(connection, numbers),
            active=accounts.active_logins(connection, numbers),
            twice=twice,
            prints=taken,
            owners=owners,
            short_logins=short_logins,
            written=frozenset(number for number, state in states.items() if state.applied_version),
        )

    def _entry(self, row: FoundObject, page: _Page) -> None:
        if self._by_hand(row, page.answers):
            return
        if len(row.numbers) > 1:
            ask(self._sheet, row, "", QuestionKind.SEVERAL_NUMBERS, page.answers)
        elif row.number:
            row.student, row.evidence = row.number, BY_NUMBER
            person = page.known.get(row.number)
            if row.number in page.twice:
                row.standing = Standing.CONFLICT
            elif person is not None:
                self._recognise(row, person, page)
        else:
            self._anonymous(row, page)

    def _recognise(self, row: FoundObject, person: KnownPerson, page: _Page) -> None:
        """Check an object with a known owner: names and login in use must agree."""
        row.standing = Standing.MATCH
        login = page.active.get(row.student)
        if not _alike(row, person):
            ask(self._sheet, row, row.student, QuestionKind.NUMBER_OF_OTHER, page.answers)
        elif row.target == DIRECTORY and login is not None and login != row.login.lower():
            ask(self._sheet, row, row.student, QuestionKind.ACCOUNT_DIFFERS, page.answers)

    def _anonymous(self, row: FoundObject, page: _Page) -> bool:
        """Match an object without a number: by INE, or as candidate by names and birth.

        Return whether one of them fits.
        """
        prints = _prints(row)
        ine = page.prints.get(("ine", prints.get("ine", "")))
        birth = page.prints.get(("birth", prints.get("birth", "")))
        if ine is not None:
            row.student, row.evidence = ine, BY_INE
            self._recognise(row, page.known[ine], page)
        elif birth is not None:
            row.standing = Standing.MATCH
            ask(self._sheet, row, birth, QuestionKind.NAMES_AND_BIRTH_DATE, page.answers)
        return ine is not None or birth is not None

    def _shared(self) -> None:
        """Raise conflicts over a login or address that different students' entries share."""
        for name, kind in (("login", QuestionKind.LOGIN_SHARED), ("mail", QuestionKind.MAIL_SHARED)):
            for value, rows in self._sheet.shared_names(DIRECTORY, name):
                if len({row.student or row.ref for row in rows}) > 1:
                    first = next((row for row in rows if row.standing is not Standing.STRANGER), rows[0])
                    others = ", ".join(row.ref for row in rows if row.id != first.id)
                    self._contradict(first, kind, first.student, f"{value}: {others}")

    def _twice(self, target: str) -> None:
        for student, rows in self._sheet.students_twice(target):
            for row in rows:
                row.standing = Standing.CONFLICT
            self._sheet.judge(rows)
            others = ", ".join(row.ref for row in rows[1:])
            self._contradict(rows[0], QuestionKind.NUMBER_TWICE, student, others)

    # --- users of Moodle and of connectors ------------------------------------------------------------

    def _users(self, target: str) -> None:
        twice = self._sheet.numbers_twice(target)
        for rows in self._sheet.pages(target):
            with self._database.read() as connection:
                page = self._page(connection, rows, twice)
            for row in rows:
                self._user(row, page)
            self._sheet.judge(rows)

    def _user(self, row: FoundObject, page: _Page) -> None:
        if self._by_hand(row, page.answers):
            return
        person = page.known.get(row.number)
        if person is not None:
            self._numbered(row, person, page)
        elif row.number or not self._anonymous(row, page):
            self._ask_about_owner(row, page)

    def _numbered(self, row: FoundObject, person: KnownPerson, page: _Page) -> None:
        entry = next(iter(self._sheet.with_name(DIRECTORY, "login", row.login)), None)
        row.student, row.evidence, row.standing = row.number, BY_NUMBER, Standing.MATCH
        if row.number in page.twice:
            row.standing = Standing.CONFLICT
        elif not _alike(row, person):
            ask(self._sheet, row, row.student, QuestionKind.NUMBER_OF_OTHER, page.answers)
        elif entry is not None and len(entry.numbers) <= 1 and entry.student != row.number:
            ask(self._sheet, row, row.student, QuestionKind.LOGIN_SHARED, page.answers, entry.ref)
        elif row.number not in page.written:  # else it is drift, which the next turn repairs
            self._compare_with_entry(row, page)

    def _ask_about_owner(self, row: FoundObject, page: _Page) -> None:
        """Raise a question about a user with a student's login or address, but no number."""
        owner = page.owners.get(row.id)
        if owner is None or owner == row.number:
            return
        if row.number and self._sheet.carrying(DIRECTORY, row.number):
            kind = QuestionKind.LOGIN_SHARED
        else:
            kind = QuestionKind.IDNUMBER_OTHER if row.number else QuestionKind.IDNUMBER_EMPTY
            person = page.known.get(owner)
            answered = page.answers.of(row, owner, kind) in DECIDED
            if person is not None and not answered and not same_names(row, person):
                kind = QuestionKind.NAMES_DIFFER
        ask(self._sheet, row, owner, kind, page.answers)

    def _compare_with_entry(self, row: FoundObject, page: _Page) -> None:
        """Compare a user with the right number with that student's entry, or entries."""
        answers, login = page.answers, row.login.lower()
        mine = self._sheet.of_student(DIRECTORY, row.student)
        names = {name for entry in mine for name in self._sheet.names_of(entry)}
        other = ("login", login) not in names and page.short_logins.get(login) != row.student
        if mine and login and other:
            ask(self._sheet, row, row.student, QuestionKind.LOGIN_DIFFERS, answers, mine[0].login)
        elif row.target == MOODLE and row.login != login:
            ask(self._sheet, row, row.student, QuestionKind.USERNAME_CASE, answers)
        mails = {value for kind, value in names if kind == "mail"}
        if row.mail and mails and row.mail not in mails:
            others = [
                e for e in self._sheet.with_name(DIRECTORY, "mail", row.mail) if e.student != row.student
            ]
            kind = QuestionKind.MAIL_SHARED if others else QuestionKind.MAIL_DIFFERS
            ask(self._sheet, row, row.student, kind, answers, others[0].ref if others else mine[0].mail)

    # --- mailboxes ------------------------------------------------------------------------------------

    def _mailboxes(self) -> None:
        for rows in self._sheet.pages(MAILBOX):
            with self._database.read() as connection:
                page = self._page(connection, rows, frozenset())
            for row in rows:
                self._mailbox(row, page.answers)
            self._sheet.judge(rows)

    def _mailbox(self, row: FoundObject, answers: Answers) -> None:
        """Match a mailbox by its address alone: its owner is that entry's."""
        if self._by_hand(row, answers):
            return
        found = self._sheet.with_name(DIRECTORY, "mail", row.mail)
        entry = next((e for e in found if e.mail == row.mail), next(iter(found), None))
        if entry is None or entry.standing is Standing.STRANGER:
            return
        row.student, row.standing = entry.student, entry.standing
        row.evidence = BY_MAIL if entry.evidence else ""
        if entry.mail != row.mail:
            ask(self._sheet, row, entry.student, QuestionKind.MAIL_DIFFERS, answers, entry.mail)

    # --- asking ---------------------------------------------------------------------------------------

    def _by_hand(self, row: FoundObject, answers: Answers) -> bool:
        student = answers.by_hand(row)
        if student is None:
            return False
        row.student, row.evidence, row.standing = student, BY_HAND, Standing.MATCH
        return True

    def _contradict(self, row: FoundObject, kind: QuestionKind, student: str, detail: str) -> None:
        """Record a conflict that an operator can resolve only in the target."""
        row.standing = Standing.CONFLICT
        self._sheet.judge([row])
        self._sheet.contradict(row, kind, student, detail)


def _alike(row: FoundObject, person: KnownPerson) -> bool:
    """Whether an object's names, or its INE or birth date, may be this person's.

    Missing names prove nothing.
    """
    if row.ine and person.ine and row.ine == person.ine.upper():
        return True
    if row.birth and row.birth == person.identity.birth_date.isoformat():
        return True
    names = [*row.family.split("\n"), *row.given.split("\n")]
    names = [name for name in names if name.strip()]
    return not names or recognisable(person.identity, names)


def _prints(row: FoundObject) -> dict[str, str]:
    """An entry's fingerprints, as far as it identifies a person."""
    prints: dict[str, str] = {}
    names = row.family.split("\n")[0], row.given.split("\n")[0]
    try:
        birth = date.fromisoformat(row.birth or "0001-01-01")
        identity = Identity(birth_name=names[0], given_name=names[1], birth_date=birth)
    except (ValidationError, ValueError):
        return prints
    found = fingerprints(identity, row.ine or None)
    if row.birth and names[0]:
        prints["birth"] = found["birth"]
    if row.ine:
        prints["ine"] = found["ine"]
    return prints
