"""The audit's hash chain: each entry hashes its content and the previous hash.

The form, for those who recompute it (ADR 16): an entry is a JSON object of `id`, `at` (ISO 8601, UTC, with
six digits of a second), `actor`, `action`, `detail` and `previous`; its hash is the SHA-256, in hexadecimal,
of that object in UTF-8 with its names sorted, without spaces, with no character escaped that need not be (as
RFC 8785 writes what occurs here). The first entry's `previous` is 64 zeros.

A person is named in `detail` by `person:` and a digest: the SHA-256, in hexadecimal, of a salt of 32
characters and the student number, in UTF-8, one after the other. Number and salt are kept outside the entry,
so they can be erased and the chain still verifies.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

BEGINNING: Final = "0" * 64
PERSON: Final = "person:"

_ONE = frozenset({"student_number", "other", "sponsor"})  # what names a person in a detail
_SEVERAL = frozenset({"student_numbers", "students"})  # `students` may be a count, too
_SALT_BYTES = 16


@dataclass(frozen=True)
class Named:
    """A person in an entry. Once the person is erased, `salt` is None and `student_number` a pseudonym."""

    digest: str
    student_number: str
    salt: str | None

    @property
    def holds(self) -> bool:
        """The digest is of this number, or can be proved no more."""
        return self.salt is None or self.digest == _digest(self.salt, self.student_number)


def hash_of(*, entry_id: int, at: float, actor: str, action: str, detail: object, previous: str) -> str:
    """Return an entry's hash; `detail` is decoded JSON, `at` in epoch seconds, UTC."""
    document = {
        "id": entry_id,
        "at": written(at),
        "actor": actor,
        "action": action,
        "detail": detail,
        "previous": previous,
    }
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def written(at: float) -> str:
    """Return a time as text, in the chain's form."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


NUMBER_CHARACTERS_MAX: Final = 64
"""Longer texts sent as a student number are cut here: they are no student's number."""


def without_persons(detail: Mapping[str, object]) -> tuple[dict[str, object], list[Named]]:
    """Return a detail with digests in place of persons, and the persons named."""
    persons: list[Named] = []

    def name(number: str) -> str:
        number = number[:NUMBER_CHARACTERS_MAX]
        salt = secrets.token_hex(_SALT_BYTES)
        persons.append(Named(_digest(salt, number), number, salt))
        return PERSON + persons[-1].digest

    kept = dict(detail)
    for field, value in detail.items():
        if field in _ONE and isinstance(value, str):
            kept[field] = name(value)
        elif field in _SEVERAL and isinstance(value, list | tuple):
            kept[field] = [name(str(each)) for each in value]
    return kept, persons


def with_persons(detail: Mapping[str, Any], persons: Iterable[Named]) -> dict[str, Any]:
    """A detail with its persons named by their numbers, or pseudonyms."""
    numbers = {PERSON + each.digest: each.student_number for each in persons}
    return {
        field: [numbers.get(str(each), each) for each in value]
        if isinstance(value, list)
        else numbers.get(str(value), value)
        for field, value in detail.items()
    }


def digests_in(detail: object) -> set[str]:
    """Return the digests of persons in a detail."""
    values = detail.values() if isinstance(detail, dict) else ()
    each = (one for value in values for one in (value if isinstance(value, list) else [value]))
    return {one.removeprefix(PERSON) for one in each if isinstance(one, str) and one.startswith(PERSON)}


def _digest(salt: str, number: str) -> str:
    return hashlib.sha256((salt + number).encode()).hexdigest()
