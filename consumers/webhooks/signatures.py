"""Make and check the signatures of webhooks (https://www.standardwebhooks.com).

`v1` is an HMAC-SHA256 under a secret that both sides have (`whsec_`), `v1a` an Ed25519 signature that only
the sender can make (`whsk_` signs, `whpk_` checks). Signed are the message's id, time and body: none can be
changed, and an old message is recognised.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipeline.errors import SesameError

TOLERANCE_S: Final = 300.0
"""How far a message's time may be from ours."""

SECRET, SIGNING, CHECKING = "whsec_", "whsk_", "whpk_"
_SECRET_BYTES: Final = range(24, 65)
_ED25519_BYTES: Final = 32
_SIGNATURES_MAX: Final = 32


class SignatureRefused(SesameError):
    """A message does not bear a signature of a key that we know, or its time is over five minutes away from
    ours. Compare the keys and the clocks; the sender may send it again, signed anew."""


class WebhookKeyUnusable(SesameError):
    """A key of webhooks is none: `whsec_` and base64 of 24 to 64 bytes, or `whpk_` (or `whsk_`, to sign with)
    and base64 of 32 bytes, each in a line of its own."""


@dataclass(frozen=True)
class WebhookHead:
    """A message's head: id, time (whole seconds since the epoch) and signatures."""

    id: str
    timestamp: int
    signatures: tuple[str, ...]

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> WebhookHead:
        """Read a head. Raises SignatureRefused: it is missing, or none."""
        name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        signatures = tuple(headers.get("webhook-signature", "").split())
        if not name or not at.isascii() or not at.isdecimal() or not signatures:
            raise SignatureRefused
        return cls(name, int(at[:20]), signatures[:_SIGNATURES_MAX])


def sign(key: str, head_id: str, timestamp: int, body: bytes) -> str:
    """A signature of `webhook-signature` by `whsec_…` or `whsk_…`. Raises WebhookKeyUnusable."""
    content = _content(head_id, timestamp, body)
    if key.startswith(SIGNING):
        made = private_key(key).sign(content)
        return f"v1a,{base64.b64encode(made).decode()}"
    return f"v1,{base64.b64encode(_hmac(key, content)).decode()}"


def private_key(key: str) -> Ed25519PrivateKey:
    """The key that `whsk_…` encodes. Raises WebhookKeyUnusable: it is none."""
    return Ed25519PrivateKey.from_private_bytes(_bytes(key, SIGNING))


def verify(keys: Iterable[str], head: WebhookHead, body: bytes, *, now: float) -> str:
    """Verify a message's signature; return the key that made it.

    Args:
        keys: `whsec_…` and `whpk_…`; several while one follows another.
        now: seconds since the epoch.

    Raises:
        SignatureRefused: with none of them; or its time is not ours.
        WebhookKeyUnusable: one of the keys is none.
    """
    if abs(now - head.timestamp) > TOLERANCE_S:
        raise SignatureRefused
    content = _content(head.id, head.timestamp, body)
    found = [key for key in keys if any(_is_signed(key, one, content) for one in head.signatures)]
    if not found:
        raise SignatureRefused
    return found[0]


def _is_signed(key: str, signature: str, content: bytes) -> bool:
    version, _, text = signature.partition(",")
    try:
        given = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    if not key.startswith(CHECKING):
        made = _hmac(key, content)
        return version == "v1" and hmac.compare_digest(made, given)
    public = Ed25519PublicKey.from_public_bytes(_bytes(key, CHECKING))
    if version != "v1a":
        return False
    try:
        public.verify(given, content)
    except InvalidSignature:
        return False
    return True


def _content(head_id: str, timestamp: int, body: bytes) -> bytes:
    return f"{head_id}.{timestamp}.".encode() + body


def _hmac(key: str, content: bytes) -> bytes:
    return hmac.new(_bytes(key, SECRET), content, hashlib.sha256).digest()


def _bytes(key: str, kind: str) -> bytes:
    try:
        found = base64.b64decode(key.removeprefix(kind), validate=True) if key.startswith(kind) else b""
    except (binascii.Error, ValueError):
        found = b""
    sizes = _SECRET_BYTES if kind == SECRET else range(_ED25519_BYTES, _ED25519_BYTES + 1)
    if len(found) not in sizes:
        raise WebhookKeyUnusable
    return found
