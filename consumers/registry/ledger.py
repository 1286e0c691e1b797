"""The permanent ledger of logins, mail addresses and principal names.

Names are unique and never deleted. It also holds names of non-students (staff, reserved names), so that
minting avoids them. The directory's unique overlay is the second guard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Exists,
    Float,
    Index,
    Select,
    String,
    Table,
    and_,
    bindparam,
    case,
    delete,
    exists,
    or_,
    select,
    tuple_,
    update,
)

from consumers.registry.people import people
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import Forgetting, ForgottenRows, OnErasure, forgets, rows_of

if TYPE_CHECKING:
    from consumers.registry.erasure.privacy_key import PrivacyKey

ledger = Table(
    "ledger",
    metadata,
    Column("kind", String(16), primary_key=True),  # login | short_login | mail | principal
    Column("value", String(255), primary_key=True),  # compared in lower case; never deleted
    Column("student_number", String(32)),  # None: held by a non-student
    Column("origin", String(32), nullable=False),  # minted | directory | reserved …
    Column("recorded_at", Float, nullable=False),
    Index("ix_ledger_student_number", "student_number"),
    info=rows_of("student_number", on_erasure=OnErasure.OWN),
)


MINTED = "minted"
DIRECTORY = "directory"
MOODLE = "moodle"
MAILBOX = "mailbox"
SERVICE = "service"  # any other target
RETIRED = "retired"
"""Origin of a minted name that is out of use.

Minted for a student who turned out to have one, or from a damaged name: no one has seen it, no student ever
gets it, and it is no alias of theirs."""

SEEN = (DIRECTORY, MOODLE, MAILBOX, SERVICE)
"""Origins of names from before Sésame."""

_STANDING = case((ledger.c.origin == DIRECTORY, 2), (ledger.c.origin.in_(SEEN), 1), else_=0)

# Built once: building a statement for each name costs more than the database does.
_OWN: Final = (
    select(ledger.c.kind, ledger.c.value, ledger.c.origin, ledger.c.recorded_at)
    .where(ledger.c.student_number == bindparam("number"))
    .order_by(_STANDING, ledger.c.recorded_at.desc(), ledger.c.value.desc())
)
_ERASED: Final = select(ledger.c.kind, ledger.c.value).where(ledger.c.student_number == bindparam("number"))
_NAMED: Final = update(ledger).where(
    ledger.c.kind == bindparam("of_kind"), ledger.c.value == bindparam("digest")
)

_TICK_S = 1e-5  # names that are reserved one after another keep their order


def hashable(kind: str, value: str) -> str:
    """The text digested for a name whose holder was erased."""
    return f"{kind}:{value.lower()}"


@forgets(ledger)
def _forget(connection: Connection, _database: Database, person: Forgetting) -> ForgottenRows:
    """Replace a person's names by digests: unreadable, but never given to another."""
    mine = select(ledger.c.kind, ledger.c.value).where(ledger.c.student_number == person.student_number)
    rows = connection.execute(mine).all()
    for kind, value in rows:
        connection.execute(
            update(ledger)
            .where(ledger.c.kind == kind, ledger.c.value == value)
            .values(value=person.hashed(hashable(kind, value)), student_number=person.pseudonym)
        )
    return ForgottenRows(kept=len(rows))


def erased_names(connection: Connection, pseudonym: str) -> set[tuple[str, str]]:
    """Kind and digest of the names that an erased person keeps."""
    rows = connection.execute(_ERASED, {"number": pseudonym})
    return {(row.kind, row.value) for row in rows}


class Holder(NamedTuple):
    """The holder of a name (None: no student), and where that was found."""

    student_number: str | None
    origin: str


class _Own(NamedTuple):
    """A name of a student's."""

    kind: str
    value: str
    origin: str
    recorded_at: float


class SqlLedger:
    """The ledger within one transaction; implements `registry.identity.Ledger`.

    Args:
        connection: the transaction that also writes the account.
        now: seconds since the epoch, UTC.
        privacy: recognises the names of erased persons, which no other student gets. None: this site erases
            no one, or the caller gives and takes no name.
    """

    def __init__(
        self, connection: Connection, database: Database, now: float, privacy: PrivacyKey | None = None
    ) -> None:
        self._connection = connection
        self._database = database
        self._now = now
        self._privacy = privacy
        self._own: dict[str, Sequence[_Own]] = {}  # students' rows, read since the last change

    def has_nothing_of(self, student_number: str) -> None:
        """Take as read that this student has no name; the caller has looked."""
        self._own[student_number] = ()

    def held_by(self, student_number: str) -> Mapping[str, str]:
        """The name of each kind that counts. The directory's, a target's, or the first minted."""
        rows = self._of(student_number)  # in reverse: the preferred one overwrites
        return {row.kind: row.value for row in rows if row.origin != RETIRED}

    def all_of(self, student_number: str, kind: str) -> list[str]:
        """This student's names of this kind, in the order in which they were given."""
        rows = [row for row in self._of(student_number) if row.kind == kind and row.origin != RETIRED]
        return [row.value for row in sorted(rows, key=lambda row: (row.recorded_at, row.value))]

    def claim(self, names: Mapping[str, str], student_number: str) -> bool:
        """Take all these names (by kind) for this student, or none if one is taken.

        The primary key decides between two claims of one name at the same moment: the second one waits for
        the first one's transaction, and is refused if that commits. A student's names keep the order of their
        claims, also when the clock was set back in between.
        """
        before = None if self._privacy is None else self._privacy.pseudonym(student_number)
        holders = self._holders(names)
        if any(each - {student_number, before} for each in holders.values()):
            return False
        for row in self._of(student_number):
            self._now = max(self._now, row.recorded_at + _TICK_S)
        free = [(kind, value) for kind, value in names.items() if not holders[kind]]
        if self._insert(free, student_number, MINTED) < len(free):
            mine = ledger.c.student_number == student_number, ledger.c.recorded_at == self._now
            self._connection.execute(delete(ledger).where(*mine))
            return False
        for kind, value in names.items() - free:
            if not (before in holders[kind] and self._name_again(kind, value, student_number)):
                self._make_again(kind, value)
        return True

    def give_back(self, student_number: str, names: Iterable[tuple[str, str]]) -> None:
        """Return their names (of these: kind, value) to an erased person who is back."""
        if self._privacy is None:
            return
        pseudonym = self._privacy.pseudonym(student_number)
        left = erased_names(self._connection, pseudonym)
        for kind, value in names if left else ():
            if (kind, self._privacy.hashed(hashable(kind, value))) in left:
                self._name_again(kind, value, student_number)

    def reserve(self, kind: str, value: str, *, holder: str | None, origin: str) -> bool:
        """Record a name that was given elsewhere (a directory's entry, a reserved word).

        Args:
            kind: login, mail or principal.
            value: the name, in any case.
            holder: the student number; None: no student's.
            origin: where it was found.

        Returns:
            False if another student or person holds it: nothing changes, and an operator should look.
        """
        self._now += _TICK_S
        return self._take(kind, value, holder, origin) or self._adopt(kind, value, holder)

    def take_note(self, kind: str, value: str, *, holder: str | None, origin: str) -> bool:
        """Record a name in use if the ledger does not have it; return whether it was new."""
        self._now += _TICK_S
        return bool(self._insert([(kind, value)], holder, origin))

    def hand_over(self, kind: str, value: str, *, holder: str | None, origin: str) -> bool:
        """Move a minted name to the person found to use it in a target. False: not applicable.

        It is taken from a student without an activated account, whose other minted names are retired.
        """
        this = ledger.c.kind == kind, ledger.c.value == value.lower()
        ours = ledger.c.origin.in_((MINTED, RETIRED)), ~_activated(ledger.c.student_number)
        previous = self._connection.scalar(select(ledger.c.student_number).where(*this, *ours))
        if previous is None or previous == holder:
            return False
        self.retire(previous)
        self._own.clear()
        self._connection.execute(update(ledger).where(*this).values(student_number=holder, origin=origin))
        return True

    def retire(self, *student_numbers: str) -> None:
        """Put these students' minted names out of use. No other student ever gets them."""
        self._own.clear()
        self._connection.execute(
            update(ledger)
            .where(ledger.c.student_number.in_(student_numbers), ledger.c.origin == MINTED)
            .values(origin=RETIRED)
        )

    def retire_minted(self, student_numbers: Collection[str]) -> None:
        """Retire names minted for students who had a login. Activated students keep theirs."""
        seen = ledger.alias()
        had_one = exists().where(
            seen.c.student_number == ledger.c.student_number, seen.c.kind == "login", seen.c.origin.in_(SEEN)
        )
        minted_one = select(ledger.c.student_number).where(
            ledger.c.student_number.in_(student_numbers), ledger.c.kind == "login", ledger.c.origin == MINTED
        )
        activated = _activated(ledger.c.student_number)
        self.retire(*self._connection.scalars(minted_one.where(had_one, ~activated)))

    def names_of(self, student_numbers: Collection[str]) -> dict[str, dict[str, str]]:
        """As `held_by`, for many students at once."""
        rows = self._connection.execute(
            select(ledger.c.student_number, ledger.c.kind, ledger.c.value)
            .where(ledger.c.student_number.in_(student_numbers), ledger.c.origin != RETIRED)
            .order_by(_STANDING, ledger.c.recorded_at.desc(), ledger.c.value.desc())
        )
        found: dict[str, dict[str, str]] = {}
        for number, kind, value in rows:
            found.setdefault(number, {})[kind] = value
        return found

    def holders(self, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], Holder]:
        """The holders of these names (kind, value in lower case)."""
        rows = self._connection.execute(
            select(ledger.c.kind, ledger.c.value, ledger.c.student_number, ledger.c.origin).where(
                tuple_(ledger.c.kind, ledger.c.value).in_(names)
            )
        )
        return {(row.kind, row.value): Holder(row.student_number, row.origin) for row in rows}

    def _adopt(self, kind: str, value: str, holder: str | None) -> bool:
        """Give a student a name that a target first showed as no one's. Not once activated."""
        self._own.clear()
        done = self._connection.execute(
            update(ledger)
            .where(ledger.c.kind == kind, ledger.c.value == value.lower(), ledger.c.student_number.is_(None))
            .where(ledger.c.origin.in_(SEEN), ~_activated(holder))
            .values(student_number=holder, recorded_at=self._now)
        )
        return bool(done.rowcount)

    def _of(self, student_number: str) -> Sequence[_Own]:
        if student_number not in self._own:
            rows = self._connection.execute(_OWN, {"number": student_number})
            self._own[student_number] = [_Own(*row) for row in rows]
        return self._own[student_number]

    def _holders(self, names: Mapping[str, str]) -> dict[str, set[str]]:
        """The holders of names by kind, erased persons by pseudonym; an empty text: a non-student."""
        wanted: dict[str, str | None] = {}
        for place, (kind, value) in enumerate(names.items()):
            digest = self._digest(kind, value)
            wanted |= {f"kind{place}": kind, f"name{place}": value.lower(), f"digest{place}": digest}
        found: dict[str, set[str]] = {kind: set() for kind in names}
        for row in self._connection.execute(_holders_of(len(names)), wanted):
            found[row.kind].add(row.student_number or "")
        return found

    def _digest(self, kind: str, value: str) -> str | None:
        return None if self._privacy is None else self._privacy.hashed(hashable(kind, value))

    def _name_again(self, kind: str, value: str, student_number: str) -> bool:
        """Return a name to the person who had it before their erasure."""
        if self._privacy is None:
            return False
        self._own.clear()
        here = {"of_kind": kind, "digest": self._digest(kind, value)}
        mine = ledger.c.student_number == self._privacy.pseudonym(student_number)
        again = _NAMED.where(mine).values(value=value.lower(), student_number=student_number)
        return bool(self._connection.execute(again, here).rowcount)

    def _take(self, kind: str, value: str, holder: str | None, origin: str) -> bool:
        if self._insert([(kind, value)], holder, origin):
            return True
        return self._holders({kind: value})[kind] == {holder or ""}

    def _make_again(self, kind: str, value: str) -> None:
        """Put a name that was retired into use again, for its holder."""
        self._own.clear()
        retired = ledger.c.kind == kind, ledger.c.value == value.lower(), ledger.c.origin == RETIRED
        self._connection.execute(update(ledger).where(*retired).values(origin=MINTED))

    def _insert(self, names: Sequence[tuple[str, str]], holder: str | None, origin: str) -> int:
        """Record those of these names (kind, value) that the ledger lacks; return how many."""
        if not names:
            return 0
        self._own.clear()
        rows = [
            {
                "kind": kind,
                "value": value.lower(),
                "student_number": holder,
                "origin": origin,
                "recorded_at": self._now,
            }
            for kind, value in names
        ]
        return self._connection.execute(self._database.insert_new(ledger), rows).rowcount


@cache
def _holders_of(names: int) -> Select[tuple[str, str]]:
    """Kind and holder of so many names."""
    each = (
        and_(
            ledger.c.kind == bindparam(f"kind{place}"),
            or_(ledger.c.value == bindparam(f"name{place}"), ledger.c.value == bindparam(f"digest{place}")),
        )
        for place in range(names)
    )
    return select(ledger.c.kind, ledger.c.student_number).where(or_(*each))


def _activated(student_number: ColumnElement[str] | str | None) -> Exists:
    """The condition that this student has activated the account."""
    return exists().where(people.c.student_number == student_number, people.c.activated_at.is_not(None))
