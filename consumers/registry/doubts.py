"""Are two student numbers one person? What happens until a human has looked, and when they have.

A new student number that matches another (`consumers.registry.recognition`) is recorded and held (the
technical hold: SupAnn's "suspected homonym"); no account is made for it. A match that shows only later, on a
number that has its account already, leaves that account alone: a registrar's typing error must not shut
anybody out. Either way there is a doubt, which `sesame identities` shows with both sides, and a dead letter
that names both numbers.

An operator decides it once, and the same doubt is never raised again. A correction by the registrar that ends
the match, on whichever side, withdraws the doubt by itself.
"""

from __future__ import annotations

from sqlalchemy import Connection

from consumers.registry import identity_doubts as store
from consumers.registry.identity_doubts import Doubt, Verdict
from consumers.registry.minting import NAME
from consumers.registry.people import KnownPerson, People
from consumers.registry.recognition import fingerprints, shared
from pipeline import accounts, dead_letters
from pipeline.db.database import Database
from pipeline.facts import Rejected
from schemas.account import Hold
from schemas.envelope import event_id

DOUBTFUL = "doubtful_identity"


class Doubts:
    """Holds those who may be known under another number, within the caller's transaction."""

    def __init__(self, database: Database, people: People) -> None:
        self._database = database
        self._people = people

    def examine(
        self, connection: Connection, before: KnownPerson | None, after: KnownPerson, fact_id: str
    ) -> set[str]:
        """Compare a person with everybody else, if what is compared has changed.

        Args:
            connection: the caller's transaction.
            before: what was known until now; None: nothing.
            after: what is recorded now.
            fact_id: id of the event that brought it.

        Returns:
            Other student numbers that are in doubt no more, and may have an account now.
        """
        prints = fingerprints(after.identity, after.ine)
        if before is not None and prints == fingerprints(before.identity, before.ine):
            return set()
        matches = self._matches(connection, after, prints)
        released = self._withdraw(connection, after.student_number, matches)
        subject = after.merged_into or after.student_number
        asked = [other for other, kinds in matches.items() if self._raise(connection, subject, other, kinds)]
        if asked:
            self._hold(connection, subject, sorted(asked), fact_id)
        return released

    def settle(
        self, connection: Connection, doubt: Doubt, verdict: Verdict, decided_at: float | None = None
    ) -> bool:
        """End a doubt; return whether the number that it held is free of doubt now."""
        store.settle(connection, doubt.id, verdict, decided_at)
        return self._release(connection, doubt.student_number)

    def declare_separate(self, connection: Connection, student_number: str, decided_at: float) -> None:
        """Somebody has lifted the technical hold of this number: it is nobody else's."""
        for doubt in store.of(connection, student_number, [Verdict.OPEN]):
            if doubt.student_number == student_number and doubt.other_number is not None:
                store.settle(connection, doubt.id, Verdict.SEPARATE, decided_at)
        self.resolved(connection, student_number)

    def resolved(self, connection: Connection, student_number: str) -> None:
        """Nothing about this number waits for anybody any more, unless a doubt about it is open still."""
        if self._open_about(connection, student_number):
            return
        now = self._database.now(connection)
        dead_letters.resolve(
            connection, NAME, student_number, up_to_version=0, how="dismissed", now=now, cause=DOUBTFUL
        )

    def _matches(
        self, connection: Connection, person: KnownPerson, prints: dict[str, str]
    ) -> dict[str, set[str]]:
        """Who may be this person (or goes on as who may be), and what agrees."""
        number, subject = person.student_number, person.merged_into or person.student_number
        matches: dict[str, set[str]] = {}
        for kind, holder in self._people.claim_fingerprints(connection, number, prints).items():
            # A fingerprint names only who took it first; whoever was in doubt with them may have it too.
            candidates = {holder, *(doubt.beside(holder) for doubt in store.of(connection, holder))}
            alike = [
                other
                for candidate in sorted(candidates - {number, ""})
                if (other := self._people.known(connection, candidate)) is not None
                and kind in shared(prints, fingerprints(other.identity, other.ine))
            ]
            if not alike:  # a correction made it untrue of the one who took it
                self._people.take_over_fingerprint(connection, number, kind, prints[kind])
            for other in alike:
                if (goes_on_as := other.merged_into or other.student_number) != subject:
                    matches.setdefault(goes_on_as, set()).add(kind)
        return matches

    def _withdraw(self, connection: Connection, number: str, matches: dict[str, set[str]]) -> set[str]:
        released = set()
        for doubt in store.of(connection, number, [Verdict.OPEN]):
            if doubt.other_number is None:
                continue
            other = self._people.known(connection, doubt.beside(number))
            ended = other is None or (other.merged_into or other.student_number) not in matches
            if ended and self.settle(connection, doubt, Verdict.WITHDRAWN):
                released.add(doubt.student_number)
        return released - {number}

    def _raise(self, connection: Connection, number: str, other: str, kinds: set[str]) -> bool:
        """Ask whether these two are one person; False if it was asked before, and perhaps decided."""
        doubt = Doubt(
            id=store.pair_id(number, other),
            student_number=number,
            other_number=other,
            evidence=tuple(sorted(kinds)),
            state=Verdict.OPEN,
            raised_at=self._database.now(connection),
        )
        return store.raise_once(connection, self._database, doubt)

    def _hold(self, connection: Connection, number: str, others: list[str], fact_id: str) -> None:
        without_account = accounts.find(connection, number) is None
        if without_account and (person := self._people.locked(connection, number)) is not None:
            self._people.change(connection, number, holds=person.holds | {Hold.TECHNICAL})
        doubt = Rejected(DOUBTFUL, _question(number, others, without_account=without_account))
        bury_fact(connection, self._database, number, fact_id, doubt)

    def _release(self, connection: Connection, number: str) -> bool:
        """Lift what the last doubt about a number has left behind; False while there is another one."""
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
    """Put a fact into the registry's dead letters. Doing it twice is harmless."""
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
    dead_letters.record(connection, database, letter)


def _question(number: str, others: list[str], *, without_account: bool) -> str:
    meanwhile = "no account is made for it" if without_account else "its account goes on meanwhile"
    return (
        f"student number {number} may be the person of {', '.join(others)}: same names and birth date, or"
        f" same INE; {meanwhile}. Look at both with `sesame identities show {number}`, then say"
        " `sesame identities merge` or `separate`"
    )
