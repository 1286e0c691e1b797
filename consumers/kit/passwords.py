"""Passwords for targets: the vault's hashes, or what was typed, for a target that takes no hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:  # it loads cryptography, and words need none
    from pipeline.vault import Vault

CREDENTIAL_NEEDED: Final = "credential_needed"
"""Reason of waiting: the target lacks the password, and the vault has it no more. A new one lifts it."""

SEAL_BROKEN: Final = "seal_broken"
"""Cause of a dead letter: the vault's key does not open the password."""

SEAL_BROKEN_TEXT: Final = "the vault's key does not open this password: put the former key back, then replay"


class Passwords(Protocol):
    """The passwords of one target. The vault itself is one, of hashes."""

    def open(self, ref: str) -> str | None:
        """What an account's `credential_ref` stands for: the password in Unicode NFC, or its hash; None: it
        was used, has expired, or never was.

        Raises:
            SealBroken: it is there and cannot be opened.
        """

    def consume(self, refs: Sequence[str]) -> None:
        """Erase these: the target was seen to have them. Twice is harmless."""


class NoPasswords:
    """Where none is to be given."""

    def open(self, ref: str) -> str | None:  # noqa: ARG002
        """See `Passwords.open`."""
        return None

    def consume(self, refs: Sequence[str]) -> None:
        """See `Passwords.consume`."""


@dataclass(frozen=True)
class SealedPasswords:
    """Those that the vault keeps for a target."""

    vault: Vault
    target: str

    def open(self, ref: str) -> str | None:
        """See `Passwords.open`."""
        return self.vault.open(self._own(ref))

    def consume(self, refs: Sequence[str]) -> None:
        """See `Passwords.consume`."""
        self.vault.consume([self._own(ref) for ref in refs])

    def _own(self, ref: str) -> str:
        from pipeline.vault import plain_ref

        return plain_ref(ref, self.target)
