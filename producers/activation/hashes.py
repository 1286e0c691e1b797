"""Hash passwords where they are typed: no other part of the system ever sees one.

The form is that of OpenLDAP's argon2 module (slapd-pw-argon2(5)): `{ARGON2}` and the PHC string, of the
variant argon2id. The default costs are OWASP's (Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane).
"""

from __future__ import annotations

import unicodedata
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import BaseModel, ConfigDict, Field

from pipeline.settings import ADVANCED

SCHEME = "{ARGON2}"
PASSWORD_LENGTH_MAX = 1_024

PASSES: Final = 2
"""Passes over the memory: OWASP's for 19 MiB. Set the memory to change the cost."""
THREADS: Final = 2
"""Hashes computed at once by one command, so that it leaves cores to the pages."""
LANES: Final = 1
"""Lanes of one hash. With libsodium OpenLDAP's module takes one only, unlike with libargon2
(slappw-argon2(5)): one lane is checked by every directory."""


class HashingSettings(BaseModel):
    """What a password's hash costs, here and each time that the directory checks it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_kib: int = Field(
        default=19_456,
        ge=8_192,
        le=1_048_576,
        description="Memory of one hash, in KiB.",
        json_schema_extra=ADVANCED,
    )


class Hasher:
    """Hashes and compares. Thread-safe; argon2 releases the interpreter's lock."""

    def __init__(self, settings: HashingSettings) -> None:
        self._argon2 = PasswordHasher(
            time_cost=PASSES, memory_cost=settings.memory_kib, parallelism=LANES, type=Type.ID
        )

    def hash(self, password: str) -> str:
        """A password's hash, as in `userPassword`; in Unicode NFC first (RFC 8265, 4.2.2)."""
        return SCHEME + self._argon2.hash(_canonical(password))

    def matches(self, hashed: str, password: str) -> bool:
        """True if `hashed` is a hash of this password; in constant time where it matters."""
        try:
            return self._argon2.verify(hashed.removeprefix(SCHEME), _canonical(password))
        except (VerificationError, InvalidHashError):
            return False


def _canonical(password: str) -> str:
    return unicodedata.normalize("NFC", password)
