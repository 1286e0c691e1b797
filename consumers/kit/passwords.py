"""Passwords for targets: the vault's hashes, or the text where no hash is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:  # it loads cryptography, and words need none
    from pipeline.db.database import Database
    from pipeline.vault import HandedOver, Vault

CREDENTIAL_NEEDED: Final = "credential_needed"
"""Reason of waiting: target and vault lack the password; the student chooses a new one."""

PASSWORD_REPLACED: Final = "password_replaced"  # noqa: S105 (a token)
"""Reason of waiting: others set or deleted the password at the target; the student chooses a new one."""

LACKING: Final = frozenset({CREDENTIAL_NEEDED, PASSWORD_REPLACED})
"""Reasons that only another password of the student's lifts."""

NO_PASSWORD: Final = 0.0
"""As `TargetObject.password_at`: the object has no password."""

CLOCKS_S: Final = 300.0
"""The target's clock may be ahead of ours by so much, if its time of our write is unknown."""

SEAL_BROKEN: Final = "seal_broken"
"""Cause of a dead letter: the vault's key does not open the password."""

SEAL_BROKEN_TEXT: Final = "the vault's key does not open this password: put the former key back, then replay"


class Passwords(Protocol):
    """The passwords of one target; the vault itself is one, of hashes."""

    def open(self, ref: str) -> str | None:
        """An account's password, in Unicode NFC, or its hash. None: used, expired, or never there.

        Raises SealBroken: it exists and cannot be opened.
        """

    def consume(self, shown: Mapping[str, float | None]) -> None:
        """Erase passwords seen at the target (`password_at` by reference). May be repeated."""

    def handed_over(self, refs: Sequence[str]) -> Mapping[str, HandedOver]:
        """Which of these references the target was seen to have, and since when."""

    def open_kept(self, ref: str) -> str | None:
        """The last hash of an object that is gone, to write next, or None. Raises SealBroken."""

    def forget_kept(self, refs: Sequence[str]) -> None:
        """Destroy the kept hashes of these references."""


class NoPasswords:
    """Passwords of a target that gets none."""

    def open(self, ref: str) -> str | None:  # noqa: ARG002
        """See `Passwords.open`."""
        return None

    def consume(self, shown: Mapping[str, float | None]) -> None:
        """See `Passwords.consume`."""

    def handed_over(self, refs: Sequence[str]) -> Mapping[str, HandedOver]:  # noqa: ARG002
        """See `Passwords.handed_over`."""
        return {}

    def open_kept(self, ref: str) -> str | None:  # noqa: ARG002
        """See `Passwords.open_kept`."""
        return None

    def forget_kept(self, refs: Sequence[str]) -> None:
        """See `Passwords.forget_kept`."""


@dataclass(frozen=True)
class KnownPasswords(NoPasswords):
    """Passwords for previews: gives none, but knows which were given. `target` None: as hashes."""

    database: Database
    target: str | None

    def handed_over(self, refs: Sequence[str]) -> Mapping[str, HandedOver]:
        """See `Passwords.handed_over`."""
        from pipeline.vault import handed_over, plain_ref

        own = {ref if self.target is None else plain_ref(ref, self.target): ref for ref in refs}
        with self.database.read() as connection:
            found = handed_over(connection, list(own))
        return {own[ref]: one for ref, one in found.items()}


@dataclass(frozen=True)
class SealedPasswords:
    """Passwords that the vault keeps for a target as typed."""

    vault: Vault
    target: str

    def open(self, ref: str) -> str | None:
        """See `Passwords.open`."""
        return self.vault.open(self._own(ref))

    def consume(self, shown: Mapping[str, float | None]) -> None:
        """See `Passwords.consume`."""
        self.vault.consume({self._own(ref): at for ref, at in shown.items()})

    def handed_over(self, refs: Sequence[str]) -> Mapping[str, HandedOver]:
        """See `Passwords.handed_over`."""
        own = {self._own(ref): ref for ref in refs}
        return {own[ref]: one for ref, one in self.vault.handed_over(list(own)).items()}

    def open_kept(self, ref: str) -> str | None:  # noqa: ARG002
        """See `Passwords.open_kept`: typed passwords are never kept."""
        return None

    def forget_kept(self, refs: Sequence[str]) -> None:
        """See `Passwords.forget_kept`: the hash of the same password."""
        self.vault.forget_kept(refs)

    def _own(self, ref: str) -> str:
        from pipeline.vault import plain_ref

        return plain_ref(ref, self.target)
