"""Signatures of webhooks: as others sign, and nothing else."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from consumers.webhooks.signatures import SignatureRefused, WebhookHead, WebhookKeyUnusable, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"x" * 32).decode()
ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
PUBLISHED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
"""Of the specification's own example."""

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_RAW = PRIVATE.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
SIGNING = "whsk_" + base64.b64encode(_RAW).decode()
CHECKING = (
    "whpk_" + base64.b64encode(PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
)


def head(*signatures: str, at: int = AT, name: str = ID) -> WebhookHead:
    return WebhookHead(name, at, signatures)


def test_the_specification_s_own_example() -> None:
    assert sign(SECRET, ID, AT, BODY) == PUBLISHED
    assert verify([SECRET], head(PUBLISHED), BODY, now=AT) == SECRET


@given(st.text(min_size=1, max_size=300), st.integers(0, 4_000_000_000))
def test_as_the_reference_library_signs(text: str, at: int) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    theirs = Webhook(SECRET).sign(ID, datetime.fromtimestamp(at, UTC), text)
    assert sign(SECRET, ID, at, text.encode()) == theirs
    assert verify([SECRET], head(theirs, at=at), text.encode(), now=at) == SECRET


def test_an_ed25519_signature_is_checked_with_the_public_key_alone() -> None:
    made = PRIVATE.sign(f"{ID}.{AT}.".encode() + BODY)
    theirs = f"v1a,{base64.b64encode(made).decode()}"
    assert sign(SIGNING, ID, AT, BODY) == theirs
    assert verify([CHECKING], head(theirs), BODY, now=AT) == CHECKING
    for keys, signature in (([SECRET], theirs), ([CHECKING], theirs.replace("v1a", "v1"))):
        with pytest.raises(SignatureRefused):
            verify(keys, head(signature), BODY, now=AT)


def test_one_key_follows_another_without_a_gap() -> None:
    both = head(sign(OTHER, ID, AT, BODY), PUBLISHED)
    assert verify([SECRET], both, BODY, now=AT) == SECRET  # we have the former one still
    assert verify([OTHER], both, BODY, now=AT) == OTHER  # we have the next one already
    assert verify([OTHER, SECRET], head(PUBLISHED), BODY, now=AT) == SECRET  # they have the former one still


@pytest.mark.parametrize(
    ("changed", "body", "now"),
    [
        ({}, BODY + b" ", AT),
        ({"name": "msg_other"}, BODY, AT),
        ({"at": AT + 1}, BODY, AT),
        ({}, BODY, AT + 301),
        ({}, BODY, AT - 301),
    ],
)
def test_what_was_changed_or_is_old_or_of_the_future_is_refused(
    changed: dict[str, Any], body: bytes, now: int
) -> None:
    with pytest.raises(SignatureRefused):
        verify([SECRET], head(PUBLISHED, **changed), body, now=now)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "v1",
        "v1,",
        "v1,?",
        "v2," + PUBLISHED[3:],
        "v1a," + PUBLISHED[3:],
        PUBLISHED[:-4],
        PUBLISHED.upper(),
    ],
)
def test_what_is_no_signature_is_refused(signature: str) -> None:
    for keys in ([SECRET], [CHECKING], [OTHER, CHECKING]):
        with pytest.raises(SignatureRefused):
            verify(keys, head(signature), BODY, now=AT)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"webhook-id": ID, "webhook-timestamp": "soon", "webhook-signature": PUBLISHED},
        {"webhook-id": ID, "webhook-timestamp": "²", "webhook-signature": PUBLISHED},
        {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": " "},
        {"webhook-id": "", "webhook-timestamp": str(AT), "webhook-signature": PUBLISHED},
    ],
)
def test_a_head_that_lacks_something_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        WebhookHead.of(headers)


@pytest.mark.parametrize("key", ["", "whsec_", "whsec_!", "whsec_YWJj", "secret", "whpk_YWJj", CHECKING[5:]])
def test_a_key_that_is_none_is_said_to_be(key: str) -> None:
    with pytest.raises(WebhookKeyUnusable):
        verify([key], head(PUBLISHED), BODY, now=AT)
