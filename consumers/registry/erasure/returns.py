"""Returns after an erasure: recognised by digests, or referred to an operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from consumers.registry import identity_doubts
from consumers.registry.account import shown_person
from consumers.registry.identity import LOGIN, every_name
from consumers.registry.identity_doubts import HOLDER
from consumers.registry.ledger import erased_names, hashable
from consumers.registry.people import KnownPerson
from consumers.registry.settings import RegistrySettings

if TYPE_CHECKING:
    from consumers.registry.erasure.privacy_key import PrivacyKey


class ErasedPersons:
    """Compares new persons with erased ones. `privacy`: makes their digests."""

    def __init__(self, settings: RegistrySettings, privacy: PrivacyKey) -> None:
        self._settings = settings
        self._privacy = privacy

    def matches(
        self, connection: Connection, person: KnownPerson, prints: Mapping[str, str]
    ) -> dict[str, set[str]]:
        """Pseudonyms of erased persons for an operator to judge, with what agrees.

        A person who comes back under the same number, name and birth date, or INE, is recognised without a
        question, and gets the login back. `holder`: the number is an erased person's, and the rest does not
        agree. Otherwise another number has the fingerprints of an erased person.
        """
        digests = {
            self._privacy.hashed(identity_doubts.hashable(kind, value)): kind
            for kind, value in prints.items()
        }
        found: dict[str, set[str]] = {}
        for digest, pseudonym in identity_doubts.with_digests(connection, digests):
            found.setdefault(pseudonym, set()).add(digests[digest])
        mine = self._privacy.pseudonym(person.student_number)
        agrees = found.pop(mine, None)
        names = erased_names(connection, mine)
        if any(kind == LOGIN for kind, _digest in names) and not (agrees and self._named(person, names)):
            found[mine] = {HOLDER}
        return found

    def _named(self, person: KnownPerson, names: set[tuple[str, str]]) -> bool:
        """True if one of these is a login that the person's name would give."""
        shown = shown_person(person)
        return any(
            (kind, self._privacy.hashed(hashable(kind, value))) in names
            for kind, value in every_name(shown, person.student_number, self._settings)
            if kind == LOGIN
        )
