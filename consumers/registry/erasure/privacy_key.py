"""The site's privacy key: it recognises erased persons and signs receipts.

One secret of 32 bytes, never rotated: without it erased persons are not recognised. From it by HKDF (RFC
5869): the key of pseudonyms and of the digests of names (HMAC-SHA-256, RFC 2104), the seed of the Ed25519 key
that signs receipts (RFC 8032), and a key that seals student numbers during an erasure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.errors import SesameError, system_words
from pipeline.eventlog.port import ERASED_KEY
from pipeline.vault import derive_keys
from schemas.language import gettext

_SECRET_BYTES: Final = 32
_PSEUDONYM_CHARACTERS: Final = 32 - len(ERASED_KEY)  # of base32: 125 bits; a student number's columns take it
HASHED: Final = "erased:"
"""Prefix of a digest in place of a name."""


class PrivacyKeyError(SesameError):
    """The site's privacy key is missing, readable by others, or not a key: nothing can be erased. Make it
    once with `sesame privacy init`, mode 0600, and keep a copy apart from the database's backups."""

    exit_code = 2


class PrivacyKey:
    """The keys derived from one secret, `line` of the key file. Raises PrivacyKeyError: it is none."""

    def __init__(self, line: str) -> None:
        try:
            given = base64.urlsafe_b64decode(line)
        except ValueError:
            given = b""
        if len(given) != _SECRET_BYTES:
            raise PrivacyKeyError(gettext("the privacy key is not 32 bytes of URL-safe base64"))
        self._pseudonyms, self._digests, seed, sealing = (
            derive_keys([line], f"privacy/{purpose}")[0]
            for purpose in ("pseudonyms", "digests", "receipts", "sealing")
        )
        self._fernet = Fernet(base64.urlsafe_b64encode(sealing))
        self.signing = Ed25519PrivateKey.from_private_bytes(seed)

    @classmethod
    def read(cls, path: Path) -> PrivacyKey:
        """The key in this file. Raises PrivacyKeyError: naming the file and what is wrong with it."""
        try:
            mode, text = path.stat().st_mode, path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PrivacyKeyError(
                gettext("the privacy key file {path} cannot be read: {why}", path=path, why=_why(error))
            ) from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise PrivacyKeyError(
                gettext("the privacy key file {path} is open to others", path=path),
                remedy=f"chmod 600 {path}",
            )
        return cls(text)

    def pseudonym(self, student_number: str) -> str:
        """The pseudonym (32 characters) that replaces a student number after the erasure."""
        return ERASED_KEY + _base32(self._pseudonyms, student_number)[:_PSEUDONYM_CHARACTERS]

    def hashed(self, value: str) -> str:
        """The digest that replaces a value which must be recognised again."""
        return HASHED + _base32(self._digests, value)

    def seal(self, student_numbers: Sequence[str]) -> bytes:
        """Encrypt student numbers for the time of their erasure."""
        return self._fernet.encrypt(json.dumps(list(student_numbers)).encode())

    def unseal(self, sealed: bytes) -> list[str]:
        """Decrypt the result of `seal`. Raises PrivacyKeyError: another key sealed it."""
        try:
            numbers: list[str] = json.loads(self._fernet.decrypt(sealed))
        except InvalidToken:
            raise PrivacyKeyError(gettext("an erasure was begun under another privacy key")) from None
        return numbers


def _why(error: OSError | UnicodeDecodeError) -> str:
    return system_words(error) if isinstance(error, OSError) else str(error)


def _base32(key: bytes, value: str) -> str:
    digest = hmac.digest(key, value.encode(), hashlib.sha256)
    return base64.b32encode(digest).decode().rstrip("=").lower()
