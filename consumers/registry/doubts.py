"""Doubts whether two student numbers are one person: the comparison, and the hold.

Two numbers are compared by **fingerprints**: the birth name, given name and birth date, however they are
spelt; and the INE, the national number, which is no key here but must not belong to two people. Only hashes
are kept. Homonyms with other birth dates are not in doubt.

A new student number that matches another is recorded and held (the technical hold: SupAnn's "suspected
homonym"); no account is made for it. A later match, of a number that has its account already, leaves that
account alone: a registrar's typing error must not shut anyone out. Either way there is a doubt, which
`sesame identities` shows with both sides, and a dead letter that names both numbers.

An operator decides it once, and the same doubt is never raised again. A correction by the registrar that ends
the match, on either side, withdraws the doubt automatically.

A number is compared with its own past when the registrar changes its holder (`registrar.Holders`). People
change their family name, or their given name, and typing errors change a birth date; hardly ever two of these
at once. So a holder is **recognised** when the INE is the same, or when two of family name, given name and
birth date agree. Names agree when they share a word, birth and usage name alike, or are spelt almost alike.
For a person with only one name, now or then, that name and the birth date must agree: it may be either.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Final, NamedTuple

from sqlalchemy import Connection

from consumers.registry import NAME
from consumers.registry import identity_doubts as store
from consumers.registry.erasure.returns import ErasedPersons
from consumers.registry.identity import ascii_word
from consumers.registry.identity_doubts import Doubt, Verdict, fingerprint_of
from consumers.registry.people import Identity, KnownPerson, People
from pipeline import accounts
from pipeline.db.database import Database
from pipeline.dead_letters import events as letter_events
from pipeline.dead_letters import rows as dead_letters
from pipeline.facts import Rejected
from schemas.account import Hold
from schemas.envelope import event_id

ALIKE_MIN: Final = 0.8
"""From this ratio on (difflib: 2 × common letters / all letters), two words are spellings of one."""

AGREEING_MIN: Final = 2
_WORD_LETTERS_MIN: Final = 2  # initials and one-letter particles identify no one


def fingerprints(identity: Identity, ine: str | None) -> dict[str, str]:
    """A person's fingerprints, by kind.

    A name without ASCII letters is compared as written; an only name counts as family and as given name.
    """
    given = (identity.birth_name, identity.given_name)
    names = [ascii_word(name).replace("-", "") or name for name in given if name]
    prints = {"birth": fingerprint_of(*names, identity.birth_date.isoformat())}
    return prints | ({"ine": fingerprint_of(ine.upper())} if ine else {})


def shared(mine: dict[str, str], theirs: dict[str, str]) -> set[str]:
    """The kinds of fingerprint that two people have in common."""
    return {kind for kind, value in mine.items() if theirs.get(kind) == value}


def recognised(before: Identity, after: Identity, ine: str | None, ine_after: str | None) -> bool:
    """True if this may be the same person as before, as far as a machine can tell.

    Args:
        before: the number's holder until now, with `ine`.
        after: its holder by the registrar now, with `ine_after`.
    """
    if ine and ine_after and ine.upper() == ine_after.upper():
        return True
    same_day = before.birth_date == after.birth_date
    if not all((before.birth_name, before.given_name, after.birth_name, after.given_name)):
        return same_day and _agree(_all_names(before), _all_names(after))
    agreeing = (
        same_day,
        _agree((before.birth_name, before.usage_name), (after.birth_name, after.usage_name)),
        _agree(
            (before.given_name, before.preferred_given_name), (after.given_name, after.preferred_given_name)
        ),
    )
    return sum(agreeing) >= AGREEING_MIN


def recognisable(identity: Identity, names: Iterable[str]) -> bool:
    """True if any of these names, given or family, may be one of this person's."""
    return _agree(_all_names(identity), names)


def _all_names(identity: Identity) -> tuple[str | None, ...]:
    return (identity.birth_name, identity.usage_name, identity.given_name, identity.preferred_given_name)


def _agree(before: Iterable[str | None], after: Iterable[str | None]) -> bool:
    mine, theirs = _words(before), _words(after)
    if mine & theirs:
        return True
    return any(SequenceMatcher(None, one, other).ratio() >= ALIKE_MIN for one in mine for other in theirs)


def _words(names: Iterable[str | None]) -> set[str]:
    """The words of some names; a name without ASCII letters counts as one word."""
    words: set[str] = set()
    for name in names:
        if name:
            found = {word for word in ascii_word(name).split("-") if len(word) >= _WORD_LETTERS_MIN}
            words |= found or {ascii_word(name) or name}
    return words


DOUBTFUL = "doubtful_identity"


class Examined(NamedTuple):
    """A comparison's result.

    Attributes:
        released: other numbers that are in doubt no more, and may have an account now.
        doubtful: a doubt about this person was raised.
    """

    released: frozenset[str] = frozenset()
    doubtful: bool = False


class Doubts:
    """Holds students who may have another number, within the caller's transaction."""

    def __init__(self, database: Database, people: People) -> None:
        self._database = database
        self._people = people
        self.erased: ErasedPersons | None = None

    def examine(
        self, connection: Connection, before: KnownPerson | None, after: KnownPerson, fact_id: str
    ) -> Examined:
        """Compare a person with all others, if the compared values have changed.

        Args:
            before: the person until now; None: unknown.
            after: the person as recorded now.
            fact_id: id of the event that brought it.
        """
        prints = fingerprints(after.identity, after.ine)
        if before is not None and prints == fingerprints(before.identity, before.ine):
            return Examined()
        matches = self._matches(connection, after, prints)
        released = set() if before is None else self._withdraw(connection, after.student_number, matches)
        subject = after.merged_into or after.student_number
        asked = [
            other
            for other, kinds in matches.items()
            if store.raise_pair(connection, self._database, subject, other, kinds)
        ]
        if asked:
            self._hold(connection, subject, sorted(asked), fact_id)
        return Examined(frozenset(released), doubtful=bool(asked))

    def settle(
        self, connection: Connection, doubt: Doubt, verdict: Verdict, decided_at: float | None = None
    ) -> bool:
        """End a doubt; return whether the number that it held has no other doubt."""
        store.settle(connection, doubt.id, verdict, decided_at)
        return self._release(connection, doubt.student_number)

    def declare_separate(self, connection: Connection, student_number: str, decided_at: float) -> None:
        """Settle this number's doubts as separate: an operator lifted its technical hold."""
        for doubt in store.of(connection, student_number, [Verdict.OPEN]):
            if doubt.student_number == student_number and doubt.other_number is not None:
                store.settle(connection, doubt.id, Verdict.SEPARATE, decided_at)
        self.resolved(connection, student_number)

    def resolved(self, connection: Connection, student_number: str) -> None:
        """Close this number's dead letters, unless another doubt about it is open."""
        if self._open_about(connection, student_number):
            return
        now = self._database.now(connection)
        letter_events.resolve(
            connection, NAME, student_number, up_to_version=0, how="dismissed", now=now, cause=DOUBTFUL
        )

    def _matches(
        self, connection: Connection, person: KnownPerson, prints: dict[str, str]
    ) -> dict[str, set[str]]:
        """Numbers that may be this person (after merges), and what agrees."""
        number, subject = person.student_number, person.merged_into or person.student_number
        matches: dict[str, set[str]] = {}
        for kind, holder in store.claim_fingerprints(connection, self._database, number, prints).items():
            # A fingerprint names only who took it first; those in doubt with them may have it too.
            candidates = {holder, *(doubt.beside(holder) for doubt in store.of(connection, holder))}
            alike = [
                other
                for candidate in sorted(candidates - {number, ""})
                if (other := self._people.known(connection, candidate)) is not None
                and kind in shared(prints, fingerprints(other.identity, other.ine))
            ]
            if not alike:  # a correction made it untrue of the one who took it
                store.take_over_fingerprint(connection, number, kind, prints[kind])
            for other in alike:
                if (goes_on_as := other.merged_into or other.student_number) != subject:
                    matches.setdefault(goes_on_as, set()).add(kind)
        if self.erased is not None and accounts.find(connection, subject) is None:
            matches |= self.erased.matches(connection, person, prints)
        return matches

    def _withdraw(self, connection: Connection, number: str, matches: dict[str, set[str]]) -> set[str]:
        released = set()
        for doubt in store.of(connection, number, [Verdict.OPEN]):
            if doubt.other_number is None:
                continue
            beside = doubt.beside(number)
            other = self._people.known(connection, beside)
            goes_on_as = beside if other is None else other.merged_into or other.student_number
            if goes_on_as not in matches and self.settle(connection, doubt, Verdict.WITHDRAWN):
                released.add(doubt.student_number)
        return released - {number}

    def _hold(self, connection: Connection, number: str, others: list[str], fact_id: str) -> None:
        without_account = accounts.find(connection, number) is None
        if without_account and (person := self._people.locked(connection, number)) is not None:
            self._people.change(connection, number, holds=person.holds | {Hold.TECHNICAL})
        doubt = Rejected(DOUBTFUL, _question(number, others, without_account=without_account))
        bury_fact(connection, self._database, number, fact_id, doubt)

    def _release(self, connection: Connection, number: str) -> bool:
        """Lift the last doubt's hold from a number; False while another doubt is open."""
        if self._open_about(connection, number):
            return False
        person = self._people.locked(connection, number)
        held = person is not None and Hold.TECHNICAL in person.holds
        if person is not None and held and accounts.find(connection, number) is None:
            self._people.change(connection, number, holds=person.holds - {Hold.TECHNICAL})
        self.resolved(connection, number)
        return True

    def _open_about(self, connection: Connection, number: str) -> bool:
        open_ones = store.of(connection, number, [Verdict.OPEN])
        return any(doubt.student_number == number for doubt in open_ones)


def bury_fact(
    connection: Connection, database: Database, student_number: str, fact_id: str, reason: Rejected
) -> None:
    """Put a fact into the registry's dead letters; may be repeated."""
    letter = dead_letters.DeadLetter(
        id=event_id("dead-letter", NAME, student_number, fact_id, reason.cause),
        consumer=NAME,
        student_number=student_number,
        version=None,
        cause=reason.cause,
        message=str(reason),
        attempts=1,
        recorded_at=database.now(connection),
        event_id=fact_id,
    )
    letter_events.record(connection, database, letter)


def _question(number: str, others: list[str], *, without_account: bool) -> str:
    meanwhile = "no account is made for it" if without_account else "its account goes on meanwhile"
    return (
        f"student number {number} may be the person of {', '.join(others)}: same names and birth date, or"
        f" same INE; {meanwhile}. Look at both with `sesame identities show {number}`, then say"
        " `sesame identities merge` or `separate`"
    )
