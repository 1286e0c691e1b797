"""Acts of privacy: the site's key, erasures and their receipts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from consumers.registry.erasure import erasures
from consumers.registry.erasure.erasures import TO_READ, Erasure, ErasureState
from consumers.registry.erasure.privacy_key import PrivacyKey
from consumers.registry.people import People
from pipeline import accounts, audit
from pipeline.errors import SesameError
from schemas.language import gettext, gettext_noop
from schemas.scalars import Text
from sesame.acts import acts
from sesame.acts.acts import (
    ADMINISTRATORS,
    EVERYBODY,
    OPERATORS,
    Actor,
    ActPath,
    ActRequest,
    Report,
    act,
    utc,
    utc_or_none,
)
from sesame.acts.ports import HasSettings, Stored
from sesame.operations.keeping.vault import KeyMade, key_made
from sesame.operations.people.diagnosis.reasons import explanation
from sesame.operations.people.known_persons import NoSuchStudent, refuse_erased
from sesame.operations.privacy import receipts
from sesame.operations.privacy.erasure import (
    REGISTRY,
    Erasing,
    awaited,
    begin,
    causes,
    enrolled,
    held,
    kept_aside,
)
from sesame.operations.privacy.receipts import ReceiptVerified, SiteKey

_LISTED_MAX = 1000


class StillEnrolled(SesameError):
    """An enrolment of this person is in force: the registrar, or of staff the HR system, ends it first, or
    the next import would bring the person back. A guest's invitation: `sesame guests end`."""


class UnderHold(SesameError):
    """A hold keeps this student's data: lift it first. One for a stolen password keeps nothing."""


class NoSuchErasure(SesameError):
    """There is no erasure of this ID. `sesame privacy list` shows them."""


class ErasureRequest(ActRequest):
    """The person to erase, and the reason, which the receipt has."""

    student_number: str
    reason: Text


class ErasureStanding(Report):
    """An erasure's progress.

    Attributes:
        pseudonym: replaces the student number from then on.
        awaited: what it waits for: targets, `hold`, `doubt`, `under_way` for work of Sésame's own, `registry`
            for facts that it has not read, or a folder that holds all persons in clear.
        causes: why, by target: the token of what it waits for, or its consumer's report.
        later: what is kept for a while all the same, by target, as the receipt has it.
    """

    id: str
    pseudonym: str
    state: ErasureState
    requested_by: str
    reason: str
    asked_at: datetime
    ended_at: datetime | None
    awaited: tuple[str, ...] = ()
    causes: dict[str, str] = Field(default_factory=dict)
    later: dict[str, tuple[str, ...]] = Field(default_factory=dict)


@act("privacy.init", ADMINISTRATORS)
def init(site: HasSettings, _actor: Actor) -> KeyMade:
    """Make the privacy key's file, mode 0600. There need be no store yet, and so no audit.

    Raises:
        KeyExists: there is one.
        FolderUnusable: its folder can neither be used nor made.
    """
    remedy = gettext("It is never replaced: by it those who were erased are recognised.")
    return key_made(site.settings.privacy_key_file, remedy=remedy)


@act("privacy.key", EVERYBODY)
def public_key(site: HasSettings, _actor: Actor) -> SiteKey:
    """The public key by which receipts of this site are verified.

    Raises:
        PrivacyKeyError: there is no key.
    """
    return receipts.site_key(PrivacyKey.read(site.settings.privacy_key_file))


@act("privacy.erase", ADMINISTRATORS, path=ActPath("erase_person", "POST", "/erasures", 202))
def erase(site: Erasing, actor: Actor, request: ErasureRequest) -> ErasureStanding:
    """Have a person erased, everywhere, under all of their numbers.

    An erasure that is under way is not requested twice.

    Raises:
        PrivacyKeyError, NoSuchStudent, ErasedAlready, StillEnrolled, UnderHold: nothing was done.
    """
    privacy = site.privacy
    people = People(site.database)

    def ask(connection: Connection) -> Erasure:
        numbers = people.numbers(connection, request.student_number)
        locked = [person for number in sorted(numbers) if (person := people.locked(connection, number))]
        running = erasures.under_way(connection, privacy.pseudonym(numbers[0]))
        if running is not None:
            return running
        if not locked and accounts.find(connection, numbers[0]) is None:
            raise NoSuchStudent
        if enrolled(site, connection, numbers):
            raise StillEnrolled
        if any(map(held, locked)):
            raise UnderHold
        whom = {"student_number": request.student_number}
        audit.note(connection, site.database, actor=actor.name, action="privacy.erase", detail=whom)
        return begin(site, connection, numbers, actor=actor.name, reason=request.reason)

    try:
        return _standing(site, site.database.transact(ask))
    except NoSuchStudent:
        refuse_erased(site, request.student_number)
        raise


STEPS: Final = {
    "asked": gettext_noop("targets erase"),
    "forgotten": gettext_noop("the store has forgotten"),
    "cleared": gettext_noop("files are rewritten"),
    "done": gettext_noop("erased"),
    "withdrawn": gettext_noop("withdrawn: enrolled again"),
}
"""An erasure's progress, by its state."""

_AWAITED: Final = {
    "hold": gettext_noop("a hold"),
    "doubt": gettext_noop("a doubt about who it is"),
    "under_way": gettext_noop("work under way"),
    "registry": gettext_noop("facts that the registry has not read"),
}


def how_far(found: ErasureStanding) -> str:
    """An erasure's progress in a line, with what it waits for."""
    words = f"{found.id}: {gettext(STEPS[found.state])}"
    if found.awaited:
        waits = ", ".join(_named(each, found.causes.get(each)) for each in found.awaited)
        words += "; " + gettext("awaited: {what}", what=waits)
    return words


def _named(awaited: str, cause: str | None) -> str:
    if cause is None:
        return gettext(_AWAITED.get(awaited, awaited))
    known = explanation(cause)
    return f"{awaited} ({cause if known is None else known.what})"


@act("privacy.standing", ADMINISTRATORS, path=ActPath("show_erasure", "GET", "/erasures/{erasure_id}"))
def standing(site: Erasing, _actor: Actor, erasure_id: str) -> ErasureStanding:
    """An erasure's progress, and what it waits for.

    Raises:
        NoSuchErasure: there is none of this ID.
    """
    return _standing(site, _get(site, erasure_id))


@act("privacy.list", EVERYBODY, path=ActPath("list_erasures", "GET", "/erasures"))
def listed(site: Stored, _actor: Actor) -> list[ErasureStanding]:
    """Erasures, the newest first, without names."""
    with site.database.read() as connection:
        return [_shown(each) for each in erasures.listed(connection, limit=_LISTED_MAX)]


@act("privacy.receipt", OPERATORS)
def receipt(site: Stored, actor: Actor, erasure_id: str) -> str:
    """A receipt, as it was signed.

    Raises:
        NoSuchErasure: there is none of this ID, or it has no receipt yet.
    """
    found = _get(site, erasure_id)
    if found.receipt is None:
        raise NoSuchErasure(gettext("erasure {id} has no receipt: {state}", id=found.id, state=found.state))
    acts.note(site.database, actor, "privacy.receipt", erasure=found.id)
    return found.receipt


class VerifyReceiptRequest(BaseModel):
    """A receipt, with its expected key and student."""

    document: bytes
    key: str | None = None
    student_number: str | None = None


@act("privacy.verify", EVERYBODY)
def verify(site: HasSettings | None, _actor: Actor, request: VerifyReceiptRequest) -> ReceiptVerified:
    """Verify a receipt's signature.

    Only the file is read, and the privacy key (of `site`) where a student is named.

    Raises:
        ReceiptRefused: it is not.
        PrivacyKeyError: a student is named, and there is no key.
    """
    privacy = None
    if site is not None and request.student_number is not None:
        privacy = PrivacyKey.read(site.settings.privacy_key_file)
    return receipts.verify(
        request.document, fingerprint=request.key, privacy=privacy, student=request.student_number
    )


def _get(site: Stored, erasure_id: str) -> Erasure:
    with site.database.read() as connection:
        found = erasures.get(connection, erasure_id)
    if found is None:
        raise NoSuchErasure(gettext("there is no erasure {id!r}", id=erasure_id))
    return found


def _standing(site: Erasing, erasure: Erasure) -> ErasureStanding:
    waits: list[str] = []
    why: dict[str, str] = {}
    if TO_READ in erasure.noted:
        waits = [REGISTRY]
    elif erasure.state is ErasureState.ASKED:
        numbers = site.privacy.unseal(erasure.sealed or b"")
        with site.database.read() as connection:
            waits = awaited(site, connection, numbers)
            why = causes(connection, numbers, waits)
    elif erasure.state is ErasureState.CLEARED:
        waits = list(map(str, kept_aside(site)))
    return _shown(erasure, waits, why)


def _shown(
    erasure: Erasure, waits: Iterable[str] = (), why: Mapping[str, str] | None = None
) -> ErasureStanding:
    later = {} if erasure.receipt is None else json.loads(erasure.receipt)["receipt"].get("later")
    return ErasureStanding(
        causes=dict(why or {}),
        later=later if isinstance(later, dict) else {},
        id=erasure.id,
        pseudonym=erasure.pseudonym,
        state=erasure.state,
        requested_by=erasure.actor,
        reason=erasure.reason,
        asked_at=utc(erasure.asked_at),
        ended_at=utc_or_none(erasure.ended_at),
        awaited=tuple(waits),
    )
