"""Sign receipts of erasures, and verify them offline from the file alone."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from consumers.registry.erasure.privacy_key import PrivacyKey
from pipeline.errors import SesameError
from schemas.language import gettext
from schemas.receipt import ErasureReceipt, Signature, SignedReceipt, signed_bytes
from sesame.acts.acts import Report
from sesame.acts.ports import HasSettings

_DAMAGED = 6


class ReceiptRefused(SesameError):
    """This is no receipt of Sésame's as it was signed: a byte was changed, or another key signed it."""

    exit_code = _DAMAGED


class SiteKey(Report):
    """The public key by which receipts of this site are verified, and its fingerprint."""

    public_key: str
    fingerprint: str


class ReceiptVerified(Report):
    """A genuine receipt.

    `key_known`: its key is the expected one; `student`: it is the given student's; None: none was given.
    """

    receipt: ErasureReceipt
    fingerprint: str
    key_known: bool | None
    student: bool | None


def site_key(privacy: PrivacyKey) -> SiteKey:
    """The public half of the key that signs."""
    public = privacy.signing.public_key().public_bytes_raw()
    return SiteKey(public_key=public.hex(), fingerprint=_fingerprint(public))


def sign(receipt: ErasureReceipt, privacy: PrivacyKey) -> str:
    """The signed document."""
    return SignedReceipt(receipt=receipt, signature=signature(signed_bytes(receipt), privacy)).text()


def signature(content: bytes, privacy: PrivacyKey) -> Signature:
    """This site's signature of some bytes."""
    value = privacy.signing.sign(content).hex()
    return Signature(algorithm="Ed25519", value=value, **site_key(privacy).model_dump())


def signed_by(content: bytes, given: Signature, key: str | None) -> str:
    """The fingerprint of the key that signed these bytes. `key`: the expected one, or its fingerprint.

    Raises:
        ReceiptRefused: they are not what was signed, or another key signed them.
    """
    public = bytes.fromhex(given.public_key)
    found = _fingerprint(public)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(given.value), content)
    except (InvalidSignature, ValueError) as error:
        raise ReceiptRefused from error
    if not hmac.compare_digest(found, given.fingerprint):
        raise ReceiptRefused
    if key is not None and key.lower() not in (found, found.removeprefix("sha256:"), public.hex()):
        raise ReceiptRefused(gettext("it was signed by another key: {found}", found=found))
    return found


def folder(site: HasSettings) -> Path:
    """This machine's signed receipts: a restored store has lost the later ones."""
    return site.settings.data_dir / "receipts"


def keep(site: HasSettings, receipt_id: str, text: str) -> None:
    """Store a receipt outside the database, with mode 0600. Raises `OSError`: it is not kept."""
    folder(site).mkdir(mode=0o700, exist_ok=True)
    made = folder(site) / f"{receipt_id}.new"
    made.touch(mode=0o600)
    made.write_text(text, encoding="utf-8")
    made.replace(made.with_suffix(".json"))


def verify(
    document: bytes, *, fingerprint: str | None, privacy: PrivacyKey | None, student: str | None
) -> ReceiptVerified:
    """Verify a receipt's signature.

    Args:
        document: the whole file.
        fingerprint: of the site's key, or that key; None: unknown.
        privacy: the site's key, to tell whose it is.
        student: whose it should be; needs `privacy`.

    Raises:
        ReceiptRefused: it is not, or is of another key or student.
    """
    try:
        signed = SignedReceipt.model_validate_json(document)
    except ValidationError as error:
        raise ReceiptRefused from error
    if signed.text().encode() != document:
        raise ReceiptRefused
    found = signed_by(signed_bytes(signed.receipt), signed.signature, fingerprint)
    whose = None if student is None or privacy is None else privacy.pseudonym(student)
    if whose is not None and whose not in signed.receipt.pii_principal_id:
        raise ReceiptRefused(gettext("the receipt is not this student's"))
    return ReceiptVerified(
        receipt=signed.receipt,
        fingerprint=found,
        key_known=None if fingerprint is None else True,
        student=None if whose is None else True,
    )


def _fingerprint(public: bytes) -> str:
    return f"sha256:{hashlib.sha256(public).hexdigest()}"
