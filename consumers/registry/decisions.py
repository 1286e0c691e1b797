"""Operators' decisions about doubtful identities, and their effects.

**Merge**: two numbers are one person. One account remains, with the enrolments of both and the newest names;
facts and acts about the other number count for the first one from now on. The other number gets no account;
if it already has one, that loses its enrolments and ends as any other does: in grace, so that mail can be
taken out of it, then expired. Its login stays in the ledger permanently. What closes access passes to the
person (holds); what opens it (the activation and its password) passes only to an account that was never
activated, so that a wrong decision never gives a working account to another person's password.

**Separate**: two people. Facts held for the doubt are released; merged numbers part again.

**Mint again**: login and addresses were minted from damaged names. As long as the account is not activated,
no one knows them: they are put out of use permanently, and others are minted from the corrected names.

Of several decisions about one doubt the newest holds, by the time at which the operator took it: a redelivery
changes nothing. A decision by rule (`doubt_rules`) is weaker than any other: it holds only while the doubt is
open and the rule fits both people as they are now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from consumers.registry import identity_doubts as store
from consumers.registry.doubt_rules import RULES
from consumers.registry.doubts import Doubts
from consumers.registry.identity_doubts import Verdict
from consumers.registry.ledger import SqlLedger
from consumers.registry.minter import Minter, Origin
from consumers.registry.people import KnownPerson, People
from consumers.registry.registrar import Holders
from pipeline.db.database import Database
from pipeline.errors import meaning
from pipeline.eventlog.port import ERASED_KEY, Record
from pipeline.facts import Rejected
from schemas.account import Hold, Lane
from schemas.envelope import Message
from schemas.events import Cause, IdentityDecided, IdentityDecision

_VERDICTS = {IdentityDecision.MERGE: Verdict.MERGED, IdentityDecision.SEPARATE: Verdict.SEPARATE}
_SETTLED_BY_THE_STUDENT = (
    "activated_at",
    "credential_ref",
    "credential_sequence",
    "language",
    "preferred_given_name",
    "mail_redirect",
)


class AlreadyActivated(Rejected):
    """The account has been activated: its login is known to its holder and to the targets, and stays. Have
    the registrar correct the names: what is shown follows, and the mail address as `registry.rename` says."""

    def __init__(self) -> None:
        super().__init__("already_activated", meaning(type(self)))


class Decisions:
    """Applies decisions within the caller's transaction."""

    def __init__(
        self, database: Database, people: People, minter: Minter, doubts: Doubts, holders: Holders
    ) -> None:
        self._database = database
        self._people = people
        self._minter = minter
        self._doubts = doubts
        self._holders = holders

    def apply(
        self,
        connection: Connection,
        event: IdentityDecided,
        message: Message,
        lane: Lane,
        apply_fact: Callable[[Message, Record], None],
    ) -> None:
        """Apply a decision.

        Args:
            event, message, lane: the decision.
            apply_fact: applies a fact that was held, as if it came now.

        Raises:
            Rejected: a number that it names is not known.
        """
        number = event.student_number
        holder = self._known(connection, number)
        origin = Origin.of(message, Cause.IDENTITY, lane)
        if event.decision is IdentityDecision.MINT_AGAIN:
            self._mint_again(connection, holder, origin)
            return
        verdict, decided_at = _VERDICTS[event.decision], message.time.timestamp()
        if event.other is None:
            self._holders.decided(connection, holder, verdict, decided_at, apply_fact)
            self._minter.mint_version(connection, number, origin)
            return
        if event.other == number:
            raise Rejected("one_number", "a number cannot be compared with itself: give the other one")
        if event.other.startswith(ERASED_KEY):  # an erased person: this number keeps separate names
            if self._decide(connection, number, event.other, verdict, decided_at):
                self._minter.mint_version(connection, number, origin)
            return
        other = self._known(connection, event.other)
        if event.rule is not None and not self._fits(connection, event.rule, holder, other):
            return
        if not self._decide(connection, number, event.other, verdict, decided_at):
            return
        mine, theirs = self._known(connection, number), self._known(connection, event.other)
        if verdict is Verdict.MERGED:
            self._merge(connection, mine, theirs)
        else:
            self._part(connection, mine, theirs)
        for each in (number, event.other):  # and, if it is merged, the number that remains
            self._minter.mint_version(connection, each, origin, decided=True)

    def _mint_again(self, connection: Connection, holder: KnownPerson, origin: Origin) -> None:
        if holder.activated_at is not None:
            raise AlreadyActivated
        SqlLedger(connection, self._database, self._database.now(connection)).retire(holder.student_number)
        self._minter.mint_version(connection, holder.student_number, origin)

    def _known(self, connection: Connection, student_number: str) -> KnownPerson:
        person = self._people.locked(connection, student_number)
        if person is None:
            raise Rejected(
                "unknown_student",
                "a decision names a student number that is not known: check both numbers, then decide again",
            )
        return person

    def _fits(self, connection: Connection, name: str, mine: KnownPerson, theirs: KnownPerson) -> bool:
        """True if a rule may still settle the doubt about these two; unknown rules never."""
        doubt = store.get(connection, store.pair_id(mine.student_number, theirs.student_number))
        if doubt is None or doubt.state is not Verdict.OPEN:
            return False
        rule = RULES.get(name)
        return rule is not None and rule.fits(mine, theirs)

    def _decide(
        self, connection: Connection, number: str, other: str, verdict: Verdict, decided_at: float
    ) -> bool:
        """Remember the decision; False if a newer one is known."""
        # If no one else had a doubt, the operator has.
        store.raise_pair(connection, self._database, number, other, ["operator"])
        known = store.get(connection, store.pair_id(number, other))
        if known is None or (known.decided_at is not None and known.decided_at >= decided_at):
            return False
        self._doubts.settle(connection, known, verdict, decided_at)
        return True

    def _merge(self, connection: Connection, mine: KnownPerson, theirs: KnownPerson) -> None:
        """Merge `mine` into `theirs`."""
        survivor = theirs
        if theirs.merged_into is not None:
            if theirs.merged_into == mine.student_number:  # the other way round than before
                self._people.change(connection, theirs.student_number, merged_into=None)
            else:
                survivor = self._known(connection, theirs.merged_into)
        if survivor.student_number == mine.student_number:
            return
        for each in (mine, *self._people.merged_into(connection, mine.student_number)):
            if each.student_number != survivor.student_number:
                self._people.change(connection, each.student_number, merged_into=survivor.student_number)
        self._people.change(connection, mine.student_number, holds=mine.holds - {Hold.TECHNICAL})
        carried: dict[str, Any] = {"holds": survivor.holds | (mine.holds - {Hold.TECHNICAL})}
        if survivor.activated_at is None and mine.activated_at is not None:
            carried |= {name: getattr(mine, name) for name in _SETTLED_BY_THE_STUDENT}
        self._people.change(connection, survivor.student_number, **carried)

    def _part(self, connection: Connection, mine: KnownPerson, theirs: KnownPerson) -> None:
        if mine.merged_into is not None and mine.merged_into in (theirs.student_number, theirs.merged_into):
            self._people.change(connection, mine.student_number, merged_into=None)
        elif theirs.merged_into == mine.student_number:
            self._people.change(connection, theirs.student_number, merged_into=None)
