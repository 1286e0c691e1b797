"""Koha's patrons in memory, and what Koha refuses about them.

Sources: Koha's own description of its interface (`api/v1/swagger`, patrons) and its tests
(`t/db_dependent/api/v1/patrons.t`). What it shares with the true one:

- PUT replaces the whole patron: what the body leaves out is emptied.
- A property that only Koha writes (`restricted`, say), or that it does not know, is refused with 400.
- Card number and login are unique, whatever their capitals and accents; a conflict is 409.
- A patron with loans, debts or a protection is not deleted: 409 with an `error_code`.
- A value that is too long for its column is a bare 500.
- Of a library that the caller may not see, patrons come with nearly everything emptied.
- A new patron without an expiry date gets one from the category.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Patron = dict[str, Any]

TEXTS = (
    "cardnumber", "surname", "firstname", "preferred_name", "middle_name", "title", "other_name",
    "initials", "pronouns", "street_number", "street_type", "address", "address2", "city", "state",
    "postal_code", "country", "email", "phone", "mobile", "fax", "secondary_email", "secondary_phone",
    "altaddress_address", "altaddress_city", "altaddress_postal_code", "altaddress_email",
    "altaddress_phone", "date_of_birth", "library_id", "category_id", "date_enrolled", "expiry_date",
    "date_renewed", "staff_notes", "relationship_type", "gender", "userid", "opac_notes",
    "altaddress_notes", "statistics_1", "statistics_2", "altcontact_surname", "altcontact_phone",
    "sms_number", "check_previous_checkout", "last_seen", "lang", "overdrive_auth_token",
)  # fmt: skip
OTHERS: Patron = {
    "incorrect_address": False,
    "patron_card_lost": False,
    "autorenew_checkouts": True,
    "sms_provider_id": None,
    "privacy": 1,
    "privacy_guarantor_checkouts": 0,
    "privacy_guarantor_fines": False,
    "login_attempts": 0,
    "protected": False,
}
READ_ONLY = ("patron_id", "restricted", "expired", "anonymized", "updated_on")
REQUIRED = ("surname", "library_id", "category_id")
UNIQUE = ("cardnumber", "userid")
LENGTHS = {"cardnumber": 32, "userid": 75, "statistics_1": 80, "statistics_2": 80}
SHOWN_OF_OTHERS = ("patron_id", "library_id", "surname", "firstname")


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, **body: object) -> None:
        super().__init__(status)
        self.status, self.body = status, body


class Library:
    """The patrons, and the odd states that a test wants."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.patrons: dict[int, Patron] = {}
        self.loans: set[int] = set()
        self.debts: set[int] = set()
        self.superlibrarians: set[int] = set()
        self.libraries, self.categories = {"BU"}, {"ETU"}
        self.mandatory_attribute = ""  # an extended attribute without which nobody is made
        self.hidden: set[str] = set()  # libraries whose patrons the caller may not see
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._last = 50

    def add(self, **fields: object) -> int:
        """A patron that a librarian enters, with whatever; returns its number."""
        with self.lock:
            self._last += 1
            patron = (
                dict.fromkeys(TEXTS) | OTHERS | {"library_id": "BU", "category_id": "ETU", "lang": "default"}
            )
            self.patrons[self._last] = (
                patron | fields | {"patron_id": self._last, "updated_on": self._stamp()}
            )
            return self._last

    def edit(self, patron_id: int, **fields: object) -> None:
        """What a librarian changes by hand."""
        with self.lock:
            self.patrons[patron_id] |= fields | {"updated_on": self._stamp()}

    def shown(self, patron: Patron) -> Patron:
        """The patron as the interface shows it to this caller."""
        if patron["library_id"] in self.hidden:
            return {name: patron.get(name) if name in SHOWN_OF_OTHERS else None for name in self._all(patron)}
        return self._all(patron)

    def create(self, body: Patron) -> Patron:
        """Make a patron, or raise."""
        with self.lock:
            self._check(body, 0)
            if self.mandatory_attribute:
                text = f"Missing mandatory extended attribute (type={self.mandatory_attribute})"
                raise Refusal(400, error=text)
            expiry = body.get("expiry_date") or (self.now().date() + timedelta(days=365)).isoformat()
            return self.patrons[self.add(**body | {"expiry_date": expiry})]

    def replace(self, patron_id: int, body: Patron) -> Patron:
        """Put the body in the place of the patron, or raise."""
        with self.lock:
            before = self.patrons.get(patron_id)
            if before is None:
                raise Refusal(404, error="Patron not found")
            self._check(body, patron_id)
            if patron_id in self.superlibrarians and body.get("email") != before["email"]:
                raise Refusal(403, error="Not enough privileges to change a superlibrarian's email")
            kept = {name: before[name] for name in ("patron_id", "updated_on")}
            after = dict.fromkeys(TEXTS) | OTHERS | body | kept
            if after != before:
                self.patrons[patron_id] = after | {"updated_on": self._stamp()}
            return self.patrons[patron_id]

    def delete(self, patron_id: int) -> None:
        """Delete the patron, or raise."""
        with self.lock:
            patron = self.patrons.get(patron_id)
            if patron is None:
                raise Refusal(404, error="Patron not found")
            if patron_id in self.loans:
                raise Refusal(409, error="Pending checkouts prevent deletion", error_code="has_checkouts")
            if patron_id in self.debts:
                raise Refusal(409, error="Pending debts prevent deletion", error_code="has_debt")
            if patron["protected"]:
                raise Refusal(409, error="Protected patrons cannot be deleted", error_code="is_protected")
            del self.patrons[patron_id]

    def _check(self, body: Patron, patron_id: int) -> None:
        _check_form(body)
        for name, known in (("library_id", self.libraries), ("category_id", self.categories)):
            if body[name] not in known:
                raise Refusal(400, error=f"Given {name} does not exist")
        if any(len(body.get(name) or "") > most for name, most in LENGTHS.items()):
            raise Refusal(500, error="Something went wrong, check Koha logs for details.")
        for name in UNIQUE:
            mine, others = fold(body.get(name)), [key for key in self.patrons if key != patron_id]
            if mine and any(fold(self.patrons[key][name]) == mine for key in others):
                raise Refusal(409, error="Duplicate ID", conflict=f"borrowers.{name}")

    def _all(self, patron: Patron) -> Patron:
        expired = bool(patron["expiry_date"]) and patron["expiry_date"] < self.now().date().isoformat()
        return patron | {"restricted": False, "anonymized": False, "expired": expired}

    def _stamp(self) -> str:
        return self.now().isoformat(timespec="seconds")


def _check_form(body: Patron) -> None:
    for name in body:
        if name in READ_ONLY:
            raise Refusal(400, errors=[{"message": "Read-only.", "path": f"/body/{name}"}])
        if name not in TEXTS and name not in OTHERS:
            raise Refusal(400, errors=[{"message": "Properties not allowed.", "path": "/body"}])
    for name in REQUIRED:
        if body.get(name) is None:
            raise Refusal(400, errors=[{"message": "Missing property.", "path": f"/body/{name}"}])


def fold(value: object) -> object:
    """A value as the database compares it: neither capitals nor accents count."""
    if not isinstance(value, str):
        return value
    bare = "".join(each for each in unicodedata.normalize("NFKD", value) if not unicodedata.combining(each))
    return bare.casefold().rstrip()
