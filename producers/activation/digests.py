"""Keyed digests of what proves something, so that who reads the database can prove nothing by it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Digests:
    """HMAC-SHA256 under the present key; older keys are still recognised.

    Attributes:
        keys: the present one first (`pipeline.vault.derive_keys`).
    """

    keys: tuple[bytes, ...]

    @classmethod
    def of(cls, keys: Sequence[bytes]) -> Digests:
        """With these keys."""
        return cls(tuple(keys))

    def make(self, *parts: str) -> str:
        """The digest of these parts, in hexadecimal."""
        return self._by(self.keys[0], parts)

    def match(self, digest: str, *parts: str) -> bool:
        """Whether this is the digest of these parts under one of the keys; in constant time."""
        return any([hmac.compare_digest(digest, self._by(key, parts)) for key in self.keys])  # noqa: C419

    @staticmethod
    def _by(key: bytes, parts: Sequence[str]) -> str:
        return hmac.new(key, "\x1f".join(parts).encode(), hashlib.sha256).hexdigest()
