"""Erase again those whom a restored store brought back, by their receipts.

A receipt has no name; it is compared with the pseudonyms of the numbers that the store knows. A person who
returned after the erasure must not be erased by its receipt: it counts only in a store that does not know the
erasure, and only where nothing shows a return: no enrolment in force, no activation since, and no object at
any target, since the receipt attests that there was none. Unclear cases are left to an operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final, Protocol

from pydantic import BaseModel
from sqlalchemy import Connection, select, union

from consumers.registry.erasure import erasures
from consumers.registry.erasure.erasures import Erasure, ErasureState
from consumers.registry.erasure.privacy_key import PrivacyKey
from consumers.registry.people import People
from consumers.registry.people import people as known
from pipeline import accounts, audit
from pipeline.accounts import accounts as a
from schemas.account import Account
from schemas.language import gettext
from schemas.receipt import ErasureReceipt
from sesame.acts.acts import ADMINISTRATORS, Actor, Report, act
from sesame.acts.ports import Configured, HasConnectors, Recognising
from sesame.operations.privacy import receipts
from sesame.operations.privacy.erasure import Erasing, begin, enrolled, held
from sesame.operations.privacy.export import shown_by


class AgainOutcome(StrEnum):
    """The outcome of a receipt."""

    ASKED = "asked"  # erased again
    UNDER_WAY = "under_way"  # is being erased already
    ABSENT = "absent"  # nothing of the person is in the store
    RETURNED = "returned"  # came back after the erasure: left alone
    ENROLLED = "enrolled"  # an enrolment is in force: came back, or the file is not imported yet
    HELD = "held"  # a hold keeps the data
    SHOWN = "shown"  # a target shows the person: came back, or the target was restored too
    UNSEEN = "unseen"  # a target could not be read


UNDECIDED: Final = frozenset(
    {AgainOutcome.ENROLLED, AgainOutcome.HELD, AgainOutcome.SHOWN, AgainOutcome.UNSEEN}
)
"""Outcomes for an operator to decide: nothing was done."""


class ReceiptOutcome(Report):
    """The outcome of one receipt.

    Attributes:
        student_number: of its person; None: no person of the store.
        erasure: the new erasure, or the one under way.
        targets: those that show the person, or could not be read.
    """

    receipt: str
    outcome: AgainOutcome
    student_number: str | None = None
    erasure: str | None = None
    targets: tuple[str, ...] = ()


class ReceiptsGiven(BaseModel):
    """The signed receipts by their names in messages.

    None: those that this machine has kept and the store does not know.
    """

    documents: Mapping[str, bytes] | None = None


class Recalling(Configured, Recognising, Protocol):
    """A site that knows erasures, in the store and outside it."""


class ErasingAgain(Erasing, HasConnectors, Protocol):
    """The site that erases again."""


def unknown(site: Configured) -> list[str]:
    """Receipts kept on this machine of erasures unknown to the (older) store."""
    kept = {path.stem: path.name for path in receipts.folder(site).glob("*.json")}
    with site.database.read() as connection:
        return [kept[each] for each in sorted(kept) if erasures.get(connection, each) is None]


def explained(site: Recalling) -> Callable[[str], bool]:
    """Build the test whether an erasure explains a student's absence from targets.

    The erasure is under way, or has a receipt on this machine that the store does not know.
    """
    privacy = site.privacy_if_any
    if privacy is None:
        return lambda _number: False
    with site.database.read() as connection:
        whose = {each.pseudonym for each in erasures.all_under_way(connection)}
    for name in unknown(site):
        with suppress(receipts.ReceiptRefused):
            receipt, _ = _verified(privacy, name, (receipts.folder(site) / name).read_bytes())
            whose |= set(receipt.pii_principal_id)
    return lambda number: privacy.pseudonym(number) in whose


@act("privacy.again", ADMINISTRATORS)
def again(site: ErasingAgain, actor: Actor, request: ReceiptsGiven) -> list[ReceiptOutcome]:
    """Erase again those whom receipts attest erased, if a restore brought them back.

    Each gets a new receipt at the end. All receipts are verified before anything is done.

    Raises:
        ReceiptRefused: a receipt is not as it was signed, or is another site's; nothing was done.
        PrivacyKeyError: there is no key.
    """
    given = request.documents
    if given is None:
        given = {name: (receipts.folder(site) / name).read_bytes() for name in unknown(site)}
    if not given:
        return []
    read = [_verified(site.privacy, name, document) for name, document in given.items()]
    read.sort(key=lambda each: each[0].completed_at, reverse=True)  # of one person's, the last one decides
    with site.database.read() as connection:
        found = _found(site, connection, {each for receipt, _ in read for each in receipt.pii_principal_id})
    return [one for receipt, text in read for one in _again(site, actor, receipt, text, found)]


def _verified(privacy: PrivacyKey, name: str, document: bytes) -> tuple[ErasureReceipt, str]:
    ours = receipts.site_key(privacy).fingerprint
    try:
        verified = receipts.verify(document, fingerprint=ours, privacy=None, student=None)
    except receipts.ReceiptRefused as refused:
        said = gettext("the receipt {name} is refused", name=name)
        raise receipts.ReceiptRefused(said, remedy=str(refused)) from refused
    return verified.receipt, document.decode()


def _found(site: Erasing, connection: Connection, pseudonyms: set[str]) -> dict[str, str]:
    """Student numbers in the store, by those of these pseudonyms that match one."""
    everybody = union(select(known.c.student_number), select(a.c.student_number))
    of = {site.privacy.pseudonym(number): number for number in connection.scalars(everybody)}
    return {each: of[each] for each in pseudonyms if each in of}


def _again(
    site: ErasingAgain, actor: Actor, receipt: ErasureReceipt, text: str, found: Mapping[str, str]
) -> list[ReceiptOutcome]:
    """One outcome per person of the receipt: its numbers may be two in the store."""
    with site.database.read() as connection:
        people = People(site.database)
        mine = [found[each] for each in receipt.pii_principal_id if each in found]
        persons = {numbers[0]: numbers for each in mine if (numbers := people.numbers(connection, each))}
    done = [_BroughtBack(site, receipt, numbers).erased_by(actor) for numbers in persons.values()]
    if not any(each.outcome in UNDECIDED for each in done):
        with site.database.write() as connection:
            _learn(connection, site, receipt, text)
    return done or [ReceiptOutcome(receipt=receipt.receipt_id, outcome=AgainOutcome.ABSENT)]


@dataclass(frozen=True)
class _BroughtBack:
    site: ErasingAgain
    receipt: ErasureReceipt
    numbers: list[str]

    def erased_by(self, actor: Actor) -> ReceiptOutcome:
        site = self.site
        with site.database.read() as connection:
            known = accounts.newest(connection, self.numbers)
            against = self._against(connection, known)
        if against is not None:
            return against
        seen = [shown_by(site, target, known.values()) for target in site.settings.targets]
        if shown := [each.target for each in seen if each.objects]:
            return self._came_to(AgainOutcome.SHOWN, targets=shown)
        if unseen := [each.target for each in seen if each.unseen]:
            return self._came_to(AgainOutcome.UNSEEN, targets=unseen)
        return site.database.transact(partial(self._ask, actor))

    def _ask(self, actor: Actor, connection: Connection) -> ReceiptOutcome:
        site = self.site
        for number in sorted(self.numbers):
            People(site.database).locked(connection, number)
        against = self._against(connection, accounts.newest(connection, self.numbers))
        if against is not None:
            return against
        detail = {"student_number": self.numbers[0], "receipt": self.receipt.receipt_id}
        audit.note(connection, site.database, actor=actor.name, action="privacy.again", detail=detail)
        day = self.receipt.completed_at.date()
        reason = f"erased again, the store having been restored: receipt {self.receipt.receipt_id} of {day}"
        begun = begin(site, connection, self.numbers, actor=actor.name, reason=reason, gone=True)
        return self._came_to(AgainOutcome.ASKED, begun.id)

    def _against(self, connection: Connection, known: Mapping[str, Account]) -> ReceiptOutcome | None:
        """The objection that the store shows, if any."""
        running = erasures.under_way(connection, self.site.privacy.pseudonym(self.numbers[0]))
        if running is not None:
            return self._came_to(AgainOutcome.UNDER_WAY, running.id)
        if self._came_back(connection, known):
            return self._came_to(AgainOutcome.RETURNED)
        if enrolled(self.site, connection, self.numbers):
            return self._came_to(AgainOutcome.ENROLLED)
        if any(held(People(self.site.database).known(connection, each)) for each in self.numbers):
            return self._came_to(AgainOutcome.HELD)
        return None

    def _came_back(self, connection: Connection, known: Mapping[str, Account]) -> bool:
        """Whether the store shows a return after the erasure.

        It knows this erasure or a later one, or the student has activated the account since.
        """
        if erasures.get(connection, self.receipt.receipt_id) is not None:
            return True
        at = self.receipt.completed_at
        last = erasures.last_done(connection, self.site.privacy.pseudonym(self.numbers[0]))
        if last is not None and (last.ended_at or 0.0) >= at.timestamp():
            return True
        return any(each.activated_at is not None and each.activated_at > at for each in known.values())

    def _came_to(
        self, outcome: AgainOutcome, erasure: str | None = None, targets: Sequence[str] = ()
    ) -> ReceiptOutcome:
        return ReceiptOutcome(
            receipt=self.receipt.receipt_id,
            outcome=outcome,
            student_number=self.numbers[0],
            erasure=erasure,
            targets=tuple(targets),
        )


def _learn(connection: Connection, site: Erasing, receipt: ErasureReceipt, text: str) -> None:
    if erasures.get(connection, receipt.receipt_id) is not None:
        return
    erasures.put(
        connection,
        Erasure(
            id=receipt.receipt_id,
            pseudonym=receipt.pii_principal_id[0],
            sealed=None,
            state=ErasureState.DONE,
            signed_by=receipts.site_key(site.privacy).fingerprint,
            actor=receipt.requested_by,
            reason=receipt.reason,
            asked_at=receipt.requested_at.timestamp(),
            ended_at=receipt.completed_at.timestamp(),
            receipt=text,
        ),
    )
