"""Are two student numbers one person? What is compared, and what happens until a human has looked.

Two fingerprints: the birth name, given name and birth date, however they are spelt; and the INE, the national
number, which is no key here but must not belong to two people. Homonyms with other birth dates are not in
doubt. Only hashes are kept.

A new student number that matches another is recorded and held (the technical hold: SupAnn's "suspected
homonym"); no account is made for it. A match that shows only later, on a number that has its account already,
leaves that account alone: a registrar's typing error must not shut anybody out. Either way a dead letter
names both numbers. Lifting the hold says that they are two persons, and makes the account; a correction by
the registrar that ends the match lifts it too.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection

from consumers.registry.identity import ascii_word
from consumers.registry.minting import NAME
from pipeline.burial import bury, resolve
from pipeline.facts import Rejected
from pipeline.store import dead_letters
from pipeline.store.database import Database
from pipeline.store.people import Identity, KnownPerson, People
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
    ) -> None:
        """Compare a person with everybody else, if what is compared has changed.

        Args:
            connection: the caller's transaction.
            before: what was known until now; None: nothing.
            after: what is recorded now.
            fact_id: id of the event that brought it.
        """
        prints = fingerprints(after.identity, after.ine)
        if before is not None and prints == fingerprints(before.identity, before.ine):
            return
        number = after.student_number
        others = self._people.claim_fingerprints(connection, number, prints)
        without_account = self._people.account(connection, number) is None
        if others:
            if without_account:
                self._people.change(connection, number, holds=after.holds | {Hold.TECHNICAL})
            doubt = Rejected(DOUBTFUL, _question(number, others, without_account=without_account))
            bury_fact(connection, self._database, number, fact_id, doubt)
        elif without_account and self._in_doubt(connection, after):
            self._people.change(connection, number, holds=after.holds - {Hold.TECHNICAL})
            self.resolved(connection, number)

    def resolved(self, connection: Connection, student_number: str) -> None:
        """Somebody has looked: the doubt about this number is over."""
        now = self._database.now(connection)
        resolve(connection, NAME, student_number, up_to_version=0, how="dismissed", now=now, cause=DOUBTFUL)

    def _in_doubt(self, connection: Connection, person: KnownPerson) -> bool:
        return Hold.TECHNICAL in person.holds and bool(
            dead_letters.unresolved(
                connection, consumer=NAME, student_number=person.student_number, cause=DOUBTFUL
            )
        )


def fingerprints(identity: Identity, ine: str | None) -> dict[str, str]:
    """Kind to value. A name of which nothing is left in ASCII is compared as it is written."""
    names = [ascii_word(name).replace("-", "") or name for name in (identity.birth_name, identity.given_name)]
    prints = {"birth": _hash(*names, identity.birth_date.isoformat())}
    return prints | ({"ine": _hash(ine.upper())} if ine else {})


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
    bury(connection, database, letter)


def _question(number: str, others: list[str], *, without_account: bool) -> str:
    meanwhile = "no account is made for it" if without_account else "its account goes on meanwhile"
    return (
        f"student number {number} may be the person of {', '.join(others)}: same names and birth date, or"
        f" same INE; {meanwhile}. If they are one person, have the registrar merge the numbers and cancel the"
        f" enrolments of {number}. If they are two, lift the technical hold of {number}"
    )


def _hash(*parts: str) -> str:
    return "sha256:" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
