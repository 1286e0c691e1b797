"""The receipt of an erasure: what was removed where, what is kept and why, and a signature.

Words are ISO/IEC TS 27560's where it has them (`schema_version`, `receipt_id`, `pii_principal_id`). No name,
no address and no number of the person is in it: its holder knows whose it is.

**Form.** The document is UTF-8 JSON with its names sorted at every depth, one space of indentation, nothing
escaped that need not be, and a line feed at the end. The signature (Ed25519, RFC 8032) is over `receipt` as
JSON with sorted names and no spaces.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Final, Literal

from pydantic import Field

from schemas.account import Model

VERSION: Final = "sesame-erasure-2"
"""The version signed now; receipts of version 1 (`later` is a list) still verify."""


class ErasedTarget(Model):
    """One target. `absent_at`: when it was read back, and the person was not found."""

    target: str
    absent_at: datetime


class ErasedTable(Model):
    """One table of the store: rows removed, rows that stay without the person, rows left (counted after)."""

    table: str
    removed: int = Field(ge=0)
    kept: int = Field(ge=0)
    left: Literal[0]


class ErasedFiles(Model):
    """Records of log and audit archive with a pseudonym now; None: a server's files. The files were rewritten
    at that time, so that no byte of what was removed is left.
    """

    log_records: int | None
    archived_entries: int
    rewritten_at: datetime | None


class KeptData(Model):
    """What is kept, in which form, and why."""

    what: str
    why: str


class ErasedLater(Model):
    """In a receipt of version 1, what goes later: where, until when at the latest, and why not now."""

    where: str
    until: date
    why: str


class ErasureReceipt(Model):
    """What was erased of one person."""

    schema_version: Literal["sesame-erasure-1", "sesame-erasure-2"]
    receipt_id: str
    pii_principal_id: tuple[str, ...] = Field(
        description="the pseudonyms of the person's student numbers, HMAC-SHA-256 under the site's key"
    )
    requested_by: str
    requested_at: datetime
    reason: str
    completed_at: datetime
    targets: tuple[ErasedTarget, ...]
    tables: tuple[ErasedTable, ...]
    files: ErasedFiles
    kept: tuple[KeptData, ...]
    later: dict[str, tuple[str, ...]] | tuple[ErasedLater, ...] = Field(
        description="what is kept for a while all the same: by target, and of `store` and `log`"
    )


class Signature(Model):
    """By whom. `fingerprint`: `sha256:` and the SHA-256 of the public key's 32 bytes, in hexadecimal."""

    algorithm: Literal["Ed25519"]
    public_key: str = Field(pattern="^[0-9a-f]{64}$")
    fingerprint: str = Field(pattern="^sha256:[0-9a-f]{64}$")
    value: str = Field(pattern="^[0-9a-f]{128}$")


class SignedReceipt(Model):
    """A receipt and its signature."""

    receipt: ErasureReceipt
    signature: Signature

    def text(self) -> str:
        """The document, in the one form in which it is valid."""
        document = self.model_dump(mode="json")
        return json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1) + "\n"


def signed_bytes(signed: Model) -> bytes:
    """Return the bytes that the signature is over."""
    document = signed.model_dump(mode="json")
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
