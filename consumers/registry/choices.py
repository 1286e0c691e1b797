"""Choices of students and operators: activation, password, preference, hold.

Each becomes a change of the person's row, computed here; the handler writes it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from consumers.registry.people import KnownPerson
from pipeline.facts import Rejected
from schemas.account import Account
from schemas.events import Preference
from schemas.scalars import is_mail_address

PREFERRED_NAME_LENGTH_MAX = 100

_BIDI_MARKS = dict.fromkeys(
    map(ord, "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
)
_NO_TEXT = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories that no name has. Joiners (Cf) belong to letters in Persian and in Indic scripts."""


def preference_change(
    preference: Preference, value: str | None, account: Account | None
) -> Mapping[str, Any]:
    """The change of the person's row; None or blank clears. Raises Rejected, without the personal value."""
    text = unicodedata.normalize("NFC", value).strip() if value is not None else ""
    if preference is Preference.MAIL_REDIRECT:
        return {"mail_redirect": _address(text, account) if text else None}
    if preference is Preference.PREFERRED_GIVEN_NAME:
        return {"preferred_given_name": _given_name(text) if text else None}
    return {"language": text or None}


def credential_change(person: KnownPerson, ref: str, sequence: int | None) -> Mapping[str, Any]:
    """The change that a sealed password brings; empty if a newer one is known already.

    Args:
        person: the row before.
        ref: the vault's reference.
        sequence: its place in the vault's order; None: the vault has none of this student's under it.

    Raises:
        Rejected: the reference is not this student's.
    """
    if sequence is None:
        raise Rejected(
            "unknown_credential",
            "the vault holds no password of this student under the event's reference: it was restored from an"
            " older backup, or the producer is not ours. Let the student choose a password again",
        )
    if sequence <= person.credential_sequence:
        return {}
    return {"credential_ref": ref, "credential_sequence": sequence}


def _address(text: str, account: Account | None) -> str:
    if not is_mail_address(text):
        raise Rejected(
            "invalid_mail_redirect",
            "the address to redirect to is not a mail address. The form that took it should have refused it",
        )
    own = {account.mail, *account.aliases} if account is not None else set()
    if text.lower() in own:
        raise Rejected(
            "invalid_mail_redirect",
            "the address to redirect to is the student's own: mail would go round in circles. Let the student"
            " give another one",
        )
    return text


def _given_name(text: str) -> str | None:
    """The name without bidirectional marks. They change its display only."""
    name = unicodedata.normalize("NFC", text.translate(_BIDI_MARKS)).strip()
    if len(name) > PREFERRED_NAME_LENGTH_MAX or not _NO_TEXT.isdisjoint(map(unicodedata.category, name)):
        raise Rejected(
            "invalid_preferred_given_name",
            f"a preferred given name has at most {PREFERRED_NAME_LENGTH_MAX} characters, no control character"
            ". The form that took it should have refused it",
        )
    return name or None
