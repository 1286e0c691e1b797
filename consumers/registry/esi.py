"""The European Student Identifier (ESI), minted once from a definitive INE.

The European router keeps the first one that it saw, so an ESI never changes, whatever becomes of the INE, and
none is made of a provisional INE, nor of one that may be provisional. It contains the INE: it stays in the
registry's own table, and a target gets it by a port (`esis_of`), never by an account.

Each is claimed as a fingerprint, which the database keeps unique: of two persons with one INE one gets it.
After an erasure the fingerprint stays as a keyed digest: no other person gets the erased one's ESI, and a
person who returns gets the same one or none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Connection, and_, case, func, or_, select, union

from consumers.registry import identity_doubts
from consumers.registry.identity_doubts import Verdict, fingerprint_of, hashable
from consumers.registry.people import KnownPerson, People, people
from consumers.registry.settings import EsiRules
from pipeline.db.database import Database

if TYPE_CHECKING:
    from consumers.registry.erasure.privacy_key import PrivacyKey

PREFIX: Final = "urn:schac:personalUniqueCode:int:esi:fr:"
"""Of every ESI of France; the INE follows (SCHAC, MyAcademicID)."""

_KIND: Final = "esi"


class EsiState(StrEnum):
    """Whether a person has an ESI, or why not."""

    MINTED = "minted"
    KEPT = "kept"  # minted of an earlier INE
    WAITS = "waits"  # the INE is missing, provisional, or may be provisional
    TAKEN = "taken"  # another person's ESI is of this INE, or this person's was of another one
    DUE = "due"  # it is minted when the registry looks at the person next


class Esis:
    """Mints ESIs within the caller's transaction. `rules`: None: this site mints none."""

    def __init__(self, database: Database, people: People, rules: EsiRules | None) -> None:
        self._database = database
        self._people = people
        self._rules = rules
        self.privacy: PrivacyKey | None = None

    @property
    def are_minted(self) -> bool:
        """True if this site mints ESIs."""
        return self._rules is not None

    def mint(self, connection: Connection, person: KnownPerson, numbers: Sequence[str]) -> bool:
        """Mint the person's ESI if it is due; return whether it was minted.

        Args:
            person: as locked.
            numbers: all of the person's numbers, this one first; none of a merged one.
        """
        if self._rules is None or not numbers or person.esi is not None:
            return False
        state, ine = self._judged(connection, person, numbers)
        number, prints = person.student_number, {_KIND: fingerprint_of(ine)}
        if state is not EsiState.DUE:
            return False
        if identity_doubts.claim_fingerprints(connection, self._database, number, prints):
            return False
        self._people.change(connection, number, esi=PREFIX + ine)
        return True

    def state(self, connection: Connection, person: KnownPerson) -> EsiState | None:
        """Whether a person has an ESI, for operators; None: this site mints none."""
        if self._rules is None:
            return None
        numbers = self._people.numbers(connection, person.student_number)
        remains = self._people.known(connection, numbers[0]) or person
        state, ine = self._judged(connection, remains, numbers)
        if state is EsiState.DUE:
            prints = [(_KIND, fingerprint_of(ine))]
            holders = identity_doubts.with_fingerprints(connection, prints).values()
            return EsiState.TAKEN if set(holders) - set(numbers) else state
        return state

    def _judged(
        self, connection: Connection, person: KnownPerson, numbers: Sequence[str]
    ) -> tuple[EsiState, str]:
        """The state as far as no living person has the INE's ESI, and the INE that counts."""
        several = len(numbers) > 1
        everybody = [person, *(self._people.merged_into(connection, numbers[0]) if several else ())]
        esi = next((each.esi for each in everybody if each.esi), None)
        if esi is not None:
            same = person.ine is None or esi == PREFIX + person.ine.upper()
            return (EsiState.MINTED if same else EsiState.KEPT), ""
        newest_first = sorted(everybody, key=lambda each: each.identity_sequence, reverse=True)
        ine = next((each.ine.upper() for each in newest_first if each.ine and self._is_definitive(each)), "")
        if not ine:
            return EsiState.WAITS, ""
        return (EsiState.TAKEN if self._was_another_s(connection, numbers, ine) else EsiState.DUE), ine

    def _is_definitive(self, person: KnownPerson) -> bool:
        rules, ine = self._rules, person.ine
        return rules is not None and ine is not None and rules.is_definitive(ine, person.ine_provisional)

    def _was_another_s(self, connection: Connection, numbers: Iterable[str], ine: str) -> bool:
        """True if an erased person had the ESI of this INE.

        True also of this person, if erased with the ESI of another INE.
        """
        if self.privacy is None:
            return False
        mine = [self.privacy.pseudonym(number) for number in numbers]
        digest = self.privacy.hashed(hashable(_KIND, fingerprint_of(ine)))
        f = identity_doubts.fingerprints.c
        had = select(f.value, f.student_number).where(
            f.kind == _KIND, or_(f.value == digest, f.student_number.in_(mine))
        )
        for value, holder in connection.execute(had):
            is_mine = holder in mine or any(_merged(connection, number, holder) for number in numbers)
            if not is_mine or value != digest:
                return True
        return False


def esis_of(connection: Connection, student_numbers: Collection[str]) -> dict[str, str]:
    """The ESIs of these students, by the number that their account is under.

    Empty for a number that was merged into another, since the one that remains shows it, and for one without
    an ESI that was parted from another, whose ESI it may show. Others without an ESI are left out.
    """
    p = people.c
    wanted = sorted(student_numbers)
    merged = select(p.merged_into, p.esi).where(p.merged_into.in_(wanted), p.esi.is_not(None))
    own = select(p.student_number, p.esi).where(
        p.student_number.in_(wanted), p.esi.is_not(None), p.merged_into.is_(None)
    )
    merged_away = select(p.student_number).where(p.student_number.in_(wanted), p.merged_into.is_not(None))
    doubts = identity_doubts.identity_doubts.c
    parted = (
        select(number).where(number.in_(wanted), doubts.state == Verdict.SEPARATE)
        for number in (doubts.student_number, doubts.other_number)
    )
    found = dict.fromkeys(connection.execute(union(merged_away, *parted)).scalars(), "")
    for query in (merged.order_by(p.student_number.desc()), own):  # the later one overwrites
        found |= {number: esi for number, esi in connection.execute(query)}  # noqa: C416 (typed rows)
    return found


class EsiFigures(NamedTuple):
    """Persons with an ESI, those of them with one of an earlier INE, and the others."""

    minted: int
    kept: int
    without: int


def figures(connection: Connection) -> EsiFigures:
    """Count the persons with and without an ESI."""
    p = people.c
    earlier = and_(p.esi.is_not(None), p.ine.is_not(None), p.esi != PREFIX + func.upper(p.ine))
    counts = (func.count(p.esi), func.sum(case((earlier, 1), else_=0)), func.count())
    minted, kept, everybody = connection.execute(select(*counts).where(p.merged_into.is_(None))).one()
    return EsiFigures(minted, int(kept or 0), everybody - minted)


def _merged(connection: Connection, number: str, pseudonym: str) -> bool:
    """True if an operator decided that this number is the erased person."""
    doubt = identity_doubts.get(connection, identity_doubts.pair_id(number, pseudonym))
    return doubt is not None and doubt.state is Verdict.MERGED
