"""Compare one target with the accounts: suspects by its list, then a second look.

Reading the list takes time, and provisioning continues meanwhile: so a student is reported only after a
second look, as in a turn, with the newest account. Students under way, or known to wait or to have failed,
are no drift: the pipeline is at work on them, or an operator already sees them.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from pydantic import ConfigDict, Field

from consumers.kit.connector import Anything, Held, TargetObject, find_own
from consumers.kit.handler import (
    AMBIGUOUS,
    OBJECT,
    OUT_OF_PLACE,
    OUT_OF_REACH,
    SHARED,
    differences,
    privately,
    with_passwords_judged,
)
from consumers.kit.passwords import PASSWORD_REPLACED
from pipeline import accounts, target_states
from pipeline.db.database import Database
from pipeline.db.scratch import ScratchDatabase
from pipeline.target import Handler
from pipeline.target_states import State, TargetState
from schemas.account import Account, Stage
from sesame.acts.acts import Report
from sesame.operations.questions.reconcile import questions
from sesame.operations.questions.reconcile.passes import KINDS
from sesame.operations.work.blast_radius import Effect, blast_radius

_PAGE: Final = 400
_SCHEMA: Final = """
CREATE TABLE objects (
    ref TEXT NOT NULL, key TEXT NOT NULL, claimed INTEGER NOT NULL DEFAULT 0, document TEXT NOT NULL
);
CREATE TABLE shown_mails (mail TEXT NOT NULL, ref TEXT NOT NULL);
CREATE TABLE owned_mails (mail TEXT NOT NULL, key TEXT NOT NULL);
"""
_INDEXES: Final = """
CREATE INDEX objects_key ON objects (key);
CREATE INDEX objects_ref ON objects (ref);
CREATE INDEX shown_mails_mail ON shown_mails (mail);
"""


class ObjectSpool(ScratchDatabase):
    """The objects of one target.

    Args:
        key: what identifies an object's student; empty: nothing.
    """

    schema = _SCHEMA

    def __init__(self, key: Callable[[TargetObject], str]) -> None:
        super().__init__()
        self._key = key

    def fill(self, found: Iterable[TargetObject], progress: Callable[[], None] = lambda: None) -> int:
        """Store all objects, once, before any look-up; return how many.

        Args:
            progress: called for some hundreds at a time.
        """
        objects, written = iter(found), 0
        self._db.execute("BEGIN")
        while page := list(islice(objects, _PAGE)):
            rows = [(each.ref, self._key(each), _document(each)) for each in page]
            self._db.executemany("INSERT INTO objects (ref, key, document) VALUES (?, ?, ?)", rows)
            mails = [(mail, each.ref) for each in page if not self._key(each) for mail in _mails(each)]
            self._db.executemany("INSERT INTO shown_mails (mail, ref) VALUES (?, ?)", mails)
            written += len(page)
            progress()
        self._db.execute("COMMIT")
        self._db.executescript(_INDEXES)
        return written

    def claim(self, keys: Collection[str], refs: Collection[str]) -> list[tuple[str, TargetObject]]:
        """Claim the objects with one of these keys or refs; return them with their keys."""
        found = {}
        for column, values in (("key", keys), ("ref", refs)):
            for value in values:
                query = f"SELECT rowid, key, document FROM objects WHERE {column} = ?"  # noqa: S608 (one of two)
                found.update(
                    {row: (key, _object(text)) for row, key, text in self._db.execute(query, (value,))}
                )
        self._db.executemany("UPDATE objects SET claimed = 1 WHERE rowid = ?", [(each,) for each in found])
        return list(found.values())

    def left(self) -> Iterator[list[tuple[str, str]]]:
        """Key and `ref` of unclaimed objects with a key, by key, in pages."""
        query = "SELECT key, ref FROM objects WHERE claimed = 0 AND key != '' ORDER BY key, ref"
        rows = self._db.execute(query)
        while page := rows.fetchmany(_PAGE):
            yield page

    def own(self, mails: Iterable[tuple[str, str]]) -> None:
        """Record the owners of addresses: (address, student number)."""
        rows = [(mail.lower(), number) for mail, number in mails]
        self._db.executemany("INSERT INTO owned_mails (mail, key) VALUES (?, ?)", rows)

    def borrowed(self) -> list[tuple[str, str]]:
        """Unclaimed objects without key that have a student's address.

        As `ref` and that student's number.
        """
        query = (
            "SELECT DISTINCT o.ref, m.key FROM owned_mails m JOIN shown_mails s ON s.mail = m.mail"
            " JOIN objects o ON o.ref = s.ref WHERE o.claimed = 0 AND o.key = '' ORDER BY o.ref, m.key"
        )
        return self._db.execute(query).fetchall()

    def unclaimed(self) -> int:
        """Count unclaimed objects, with or without a key."""
        count: int = self._db.execute("SELECT count(*) FROM objects WHERE claimed = 0").fetchone()[0]
        return count


def _mails(found: TargetObject) -> set[str]:
    return {value.lower() for kind, value in found.names if kind == "mail"}


def _document(found: TargetObject) -> str:
    held = None if found.held is None else [found.held.reason, found.held.pending, found.held.fields]
    return json.dumps(
        [
            *(found.ref, found.student_number, dict(found.fields), found.open, held),
            *(found.out_of_reach, found.out_of_place, found.password_at),
        ],
        separators=(",", ":"),
    )


def _object(text: str) -> TargetObject:
    ref, number, fields, open_, held, out_of_reach, out_of_place, password_at = json.loads(text)
    return TargetObject(
        ref,
        number,
        {name: tuple(values) for name, values in fields.items()},
        open_,
        held=None if held is None else _held(*held),
        out_of_reach=out_of_reach,
        out_of_place=out_of_place,
        password_at=password_at,
    )


def _held(reason: str, pending: Iterable[Any], fields: Iterable[Any]) -> Held:
    return Held(reason, tuple(pending), fields=tuple(fields))


PARTS: Final = 7
"""Nights in which all students are checked in depth, where a list is incomplete."""

_BEYOND_US: Final = {
    OUT_OF_REACH: "moved",
    OUT_OF_PLACE: "moved",
    PASSWORD_REPLACED: "password_replaced",
    SHARED: "different",
}
"""Differences that no turn repairs, with their kind; reported while they last."""

MAIL: Final = "mail"
"""Evidence of an extra object, after the number: it has only the address."""


class TargetReport(Report):
    """What differs at one target.

    Attributes:
        accounts: those that were compared.
        objects: what the target listed; 0 of a connector that cannot list.
        unmanaged: of these, those that carry no student number, or no student's address; they are not
            compared.
        unsettled: accounts that the pipeline is at work on, or whose failure or waiting is known.
        missing, different, moved, password_replaced: student numbers.
        extra, orphaned: objects, in the target's words.
        evidence: by student number or object, what differs or blocks.
        renamed: keys of cohorts whose name or key was changed by hand.
        went_back: the target itself, where it shows an older state than before, or lost unusually much.
        trouble: why it could not be compared; empty: it was.
        replay_id: of the repair; empty: there is none.
        approval: the ID of a repair that is held, since it would write to unusually many; empty: it is not.
    """

    model_config = ConfigDict(frozen=False, json_schema_serialization_defaults_required=True)  # it is filled

    accounts: int = 0
    objects: int = 0
    unmanaged: int = 0
    unsettled: int = 0
    missing: list[str] = Field(default_factory=list)
    different: list[str] = Field(default_factory=list)
    moved: list[str] = Field(default_factory=list)
    password_replaced: list[str] = Field(default_factory=list)
    extra: list[str] = Field(default_factory=list)
    orphaned: list[str] = Field(default_factory=list)
    evidence: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    renamed: list[str] = Field(default_factory=list)
    went_back: list[str] = Field(default_factory=list)
    trouble: str = ""
    replay_id: str = ""
    approval: str = ""
    unsaid: set[str] = Field(default_factory=set, exclude=True)
    """Of `password_replaced`, those whom the pipeline still shows as done."""

    several: set[str] = Field(default_factory=set, exclude=True)
    """Objects of students with more than one, unsettled ones included."""

    def named(self) -> dict[str, list[str]]:
        """Students and objects that differ, by kind."""
        return {kind: getattr(self, kind) for kind in KINDS}

    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return {kind: len(names) for kind, names in self.named().items()}

    def counted(self) -> str:
        """The same in a line."""
        return ", ".join(f"{count} {kind}" for kind, count in self.counts().items() if count)

    @property
    def differs(self) -> bool:
        """Whether anything differs from what is wanted, or could not be compared."""
        return any(self.counts().values()) or bool(self.trouble)


class TargetComparison:
    """Compares one target with the accounts; nothing is written.

    Args:
        connector: of the target, which can write nothing.
        database: the store.
        progress: called repeatedly; what it raises ends the comparison.
    """

    def __init__(
        self,
        connector: Anything,
        database: Database,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._connector = connector
        self._database = database
        self._progress = progress
        self._handler: Handler = connector.handler()
        self._lists = "objects" in connector.verbs()
        self._drift = TargetReport()
        self._absent: set[str] = set()
        with database.read() as connection:
            self._began = database.now(connection)
        self._several: dict[str, list[str]] = {}
        self._cohorts: dict[str, set[str]] = {}

    def run(
        self, sample: int | None = None, *, again: Collection[str] = (), part: int | None = None
    ) -> TargetReport:
        """Compare all accounts, or a random sample of them.

        Args:
            sample: how many of them; None: all.
            again: students who differed: of a list that does not show all of an object, each is read.
            part: likewise, which of the PARTS parts of all students is read; None: none of them.

        Raises:
            TargetDown, Throttled, Misconfigured: the target cannot be read.
            StoreUnavailable: nor the store.
        """
        if sample is not None:
            self._compare(self._lot(sample))
        elif self._lists:
            with ObjectSpool(self._key_of) as spool:
                self._drift.objects = spool.fill(self._connector.objects(), self._progress)
                partial = self._connector.lists is not None
                self._compare(
                    self._suspects(spool, lambda n: partial and (n in again or _part_of(n) == part))
                )
                self._find_orphans(spool)
                self._find_renamed()
                self._find_borrowed(spool)
                self._drift.unmanaged = spool.unclaimed() - len(self._drift.orphaned)
        else:
            self._compare(self._pages())
        self._drift.several = {ref for refs in self._several.values() for ref in refs}
        return self._drift

    def look_at(
        self, changed: Iterable[TargetObject], again: Collection[str]
    ) -> tuple[TargetReport, set[str]]:
        """Compare the owners of changed objects, and these students, with the target.

        Returns:
            What differs, and the student numbers and objects that were compared.
        """
        looked = set(again)
        self._look(sorted(again))
        objects = iter(changed)
        while page := list(islice(objects, _PAGE)):
            self._progress()
            looked |= self._look_at_owners(page)
        return self._drift, looked

    def _look_at_owners(self, page: Sequence[TargetObject]) -> set[str]:
        """Compare the owners of these objects, found by number, or else by login."""
        logins = [login for each in page if not self._key_of(each) for login in _logins(each)]
        with self._database.read() as connection:
            by_login = accounts.with_logins(connection, logins) if logins else {}
        shown: dict[str, dict[str, TargetObject]] = {}
        for each in page:
            owners = {self._key_of(each)} - {""} or {
                by_login[name] for name in _logins(each) & by_login.keys()
            }
            for number in owners:
                shown.setdefault(number, {})[each.ref] = each
        known = self._newest(sorted(shown))
        adopted = self._connector.context.adopted(sorted(known))
        own, orphans = dict[str, list[TargetObject]](), dict[str, str]()
        for number, found in shown.items():
            account = known.get(number)
            if account is None or account.stage is Stage.ERASED:
                orphans |= dict.fromkeys(found, number)
            elif account.activated_at is not None:
                self._several[number] = list(found)
                by_ref = {ref: {ref: each} for ref, each in found.items()}
                own[number] = self._own(account, {**by_ref, number: found}, adopted.get(number))
        self._note_orphans(orphans, known)
        self._look(self._suspected(known, own))
        return {*shown, *(each.ref for each in page)}

    def _pages(self) -> Iterator[list[str]]:
        """Students who may have an object in the target, by number."""
        for page in accounts.number_pages(self._database, *accounts.LIVE, size=_PAGE):
            self._progress()
            yield page
            self._drift.accounts += len(page)

    def _lot(self, size: int) -> Iterator[list[str]]:
        """A random sample of the students."""
        everybody = [number for page in self._pages() for number in page]
        chosen = random.sample(everybody, min(size, len(everybody)))
        self._drift.accounts = len(chosen)
        for at in range(0, len(chosen), _PAGE):
            self._progress()
            yield chosen[at : at + _PAGE]

    def _suspects(self, spool: ObjectSpool, in_depth: Callable[[str], bool]) -> Iterator[list[str]]:
        """Per page, students listed otherwise than wanted, and those to check in depth."""
        for numbers in self._pages():
            known = self._newest(numbers)
            for each in (each for account in known.values() for each in account.cohorts if each.met):
                self._cohorts.setdefault(each.key, set()).add(each.name)
            if not self._by_mail:
                spool.own((mail, n) for n, each in known.items() for mail in (each.mail, *each.aliases))
            adopted = self._connector.context.adopted(numbers)
            seen: dict[str, dict[str, TargetObject]] = {}
            for key, found in spool.claim(list(map(self._key, known.values())), adopted.values()):
                for name in (key, found.ref):
                    seen.setdefault(name, {})[found.ref] = found
            own = {n: self._own(account, seen, adopted.get(n)) for n, account in known.items()}
            suspects = set(self._suspected(known, own))
            yield [number for number in sorted(known) if number in suspects or in_depth(number)]

    def _newest(self, numbers: Sequence[str]) -> dict[str, Account]:
        """The accounts of these, as this target is to have them."""
        with self._database.read() as connection:
            newest = accounts.newest(connection, numbers)
        return {number: account.at(self._connector.name) for number, account in newest.items()}

    def _own(
        self, account: Account, seen: Mapping[str, Mapping[str, TargetObject]], adopted: str | None
    ) -> list[TargetObject]:
        """A student's own objects among the listed ones; note none or several."""
        number, key = account.student_number, self._key(account)
        shown = {**seen.get(key, {}), **seen.get(adopted or key, {})}
        own = list(shown.values()) if self._by_mail else find_own(account, shown.values(), adopted)
        if len(own) > 1:
            self._several[number] = [each.ref for each in own]
        elif not own and account.access_open:
            self._absent.add(number)
        return own

    def _suspected(
        self, known: Mapping[str, Account], own: Mapping[str, Sequence[TargetObject]]
    ) -> list[str]:
        """Those of these students whom the target shows otherwise than wanted."""
        single = {number: objects[0] for number, objects in own.items() if len(objects) == 1}
        shown = with_passwords_judged(self._connector, known.values(), single)
        private = privately(self._connector, own)
        return [
            number
            for number, objects in sorted(own.items())
            if len(objects) > 1
            or any(each.out_of_reach or each.out_of_place for each in objects)
            or differences(self._connector, known[number], shown.get(number), private.get(number))
        ]

    @property
    def _by_mail(self) -> bool:
        return bool(self._connector.known_by == "mail")

    def _key(self, account: Account) -> str:
        return account.mail.lower() if self._by_mail else account.student_number

    def _key_of(self, found: TargetObject) -> str:
        if self._by_mail:
            return next((value.lower() for kind, value in found.names if kind == "mail"), "")
        return found.student_number.strip()

    def _compare(self, pages: Iterable[Sequence[str]]) -> None:
        for page in pages:
            self._look(page)

    def _look(self, numbers: Sequence[str]) -> None:
        """Look at these students as a turn would; count separately what is already known."""
        if not numbers:
            return
        target = self._connector.name
        radius = blast_radius(numbers, handler=self._handler, database=self._database, follows=None)
        with self._database.read() as connection:
            states = target_states.states_of(connection, target, numbers)
        newest = self._newest(numbers)
        for effect in radius.effects:
            if not effect.differs and not effect.obstacle:
                continue
            state, account = states.get(effect.student_number), newest.get(effect.student_number)
            if effect.obstacle in _BEYOND_US:
                getattr(self._drift, _BEYOND_US[effect.obstacle]).append(effect.student_number)
                self._drift.evidence[effect.student_number] = (*effect.differs, effect.obstacle)
                if effect.obstacle == PASSWORD_REPLACED and state and state.state is State.PROVISIONED:
                    self._drift.unsaid.add(effect.student_number)
            elif account is None or self._known(effect, state, account):
                self._drift.unsettled += 1
            else:
                self._note(effect)

    def _known(self, effect: Effect, state: TargetState | None, account: Account) -> bool:
        """Whether the pipeline works on this student, or already shows what was found.

        A student who waits for what the account lacks (an enrolment) has been given all the rest.
        """
        if state is None or state.suspect or state.state_version < account.version:
            return True
        if state.state is State.WAITING:
            lacks = self._connector.wanted(account).held
            all_but = isinstance(lacks, Held) and lacks.reason == state.reason
            return not effect.differs or (effect.obstacle == state.reason and not all_but)
        return state.state is not State.PROVISIONED

    def _note(self, effect: Effect) -> None:
        number = effect.student_number
        if effect.obstacle == AMBIGUOUS:
            for ref in self._several.get(number, ()):
                self._drift.extra.append(ref)
                self._drift.evidence[ref] = (number,)
            return
        gone = OBJECT in effect.differs or (number in self._absent and not effect.differs)
        (self._drift.missing if gone else self._drift.different).append(number)
        obstacle = (effect.obstacle,) if effect.obstacle else ()
        self._drift.evidence[number] = obstacle if gone else (*effect.differs, *obstacle)

    def _find_borrowed(self, spool: ObjectSpool) -> None:
        """Find objects that are no student's and have a student's address."""
        for ref, number in spool.borrowed():
            if ref not in self._drift.evidence:
                self._drift.extra.append(ref)
                self._drift.evidence[ref] = (number, MAIL)

    def _find_renamed(self) -> None:
        for key, what in sorted(self._connector.renamed(self._cohorts).items()):
            self._drift.renamed.append(key)
            self._drift.evidence[key] = what

    def _find_orphans(self, spool: ObjectSpool) -> None:
        """Find objects with a number that has no account, or an erased one.

        An address that is not a student's proves nothing.
        """
        for page in () if self._by_mail else spool.left():
            numbers = sorted({number for number, _ in page})
            known = self._newest(numbers)
            alive = {number for number, account in known.items() if account.stage is not Stage.ERASED}
            self._note_orphans({ref: number for number, ref in page if number not in alive}, known)

    def _note_orphans(self, numbers: Mapping[str, str], known: Mapping[str, Account]) -> None:
        """Record orphaned objects, but none that an operator set aside, or whose erasure is under way."""
        if not numbers:
            return
        target, owners = self._connector.name, sorted(set(numbers.values()))
        with self._database.read() as connection:
            to_stay = questions.set_aside(connection, target, numbers)
            states = target_states.states_of(connection, target, owners)
        for ref, number in numbers.items():
            under_way = number in known and not _was_erased(known[number], states.get(number), self._began)
            if ref not in to_stay and not under_way:
                self._drift.orphaned.append(ref)
                self._drift.evidence[ref] = (number,)


def _was_erased(account: Account, state: TargetState | None, by: float) -> bool:
    """Whether the target was seen without this account before then (epoch seconds)."""
    return state is not None and state.applied_version >= account.version and (state.since or 0.0) < by


def _part_of(number: str) -> int:
    return zlib.crc32(number.encode()) % PARTS


def _logins(found: TargetObject) -> set[str]:
    return {value.lower() for kind, value in found.names if kind == "login"}
