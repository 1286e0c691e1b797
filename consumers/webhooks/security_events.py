"""Events as Security Event Tokens: SCIM's of accounts, and Sésame's own.

A new version of an account is a whole new state: its token says that the user has changed (`put:notice`, of
all attributes that SCIM shows here), and whether access is open now. It says so each time; a receiver that
missed one learns it from the next. The values are at `/scim/v2/Users/NUMBER`.

The algorithm is named `EdDSA`, as receivers' libraries know it; RFC 9864 prefers `Ed25519`.

Sources: RFC 8417 (SET), RFC 9967 (events of SCIM), RFC 7515 and 8037 (JWS by Ed25519), RFC 7517 and 7638
(JWK, thumbprint).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from consumers.webhooks.rows import WebhookEvent
from consumers.webhooks.settings import ASYNC_ANSWER
from consumers.webhooks.signatures import private_key
from schemas.account import Stage
from schemas.events import AccountChanged

MEDIA_TYPE: Final = "application/secevent+jwt"

_SCIM: Final = "urn:ietf:params:scim:event:prov:"
_OURS: Final = "urn:sesame:event:"
VERIFICATION: Final = "https://schemas.openid.net/secevent/ssf/event-type/verification"
_ATTRIBUTES: Final = ("userName", "name", "displayName", "emails", "preferredLanguage", "active", "groups")
_NOTHING: Final[Mapping[str, Any]] = {}


def token_of(event: WebhookEvent, key: str, *, issuer: str, audience: str, now: float) -> str:
    """The signed token for an event; its `jti` is always the event's id.

    `key`: `whsk_…`, else WebhookKeyUnusable; `now`: seconds since the epoch.
    """
    whom = {"format": "scim", "uri": f"/Users/{event.student_number}"}
    told = {"jti": event.event_id, "toe": int(event.happened_at), "sub_id": whom, **_told(event)}
    return _signed({"iss": issuer, "aud": audience, "iat": int(now), **told}, key)


def trial_token(name: str, key: str, *, issuer: str, audience: str, now: float) -> str:
    """A signed token without an event: SSF's verification event (1.0, 8.1.4.1).

    `name`: its `jti`; the rest, and errors, as `token_of`.
    """
    whom = {"format": "opaque", "id": audience}
    told = {"jti": name, "sub_id": whom, "events": {VERIFICATION: {"state": name}}}
    return _signed({"iss": issuer, "aud": audience, "iat": int(now), **told}, key)


def _signed(claims: Mapping[str, Any], key: str) -> str:
    signing = private_key(key)
    head = {"alg": "EdDSA", "kid": _public(key)["kid"], "typ": "secevent+jwt"}
    content = f"{_text(head)}.{_text(claims)}"
    return f"{content}.{_base64(signing.sign(content.encode()))}"


def key_set(keys: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """The public halves of keys (`whsk_…`), as receivers fetch them. Raises WebhookKeyUnusable."""
    return {"keys": [_public(key) for key in dict.fromkeys(keys)]}


def uris_of(event_type: str) -> list[str]:
    """The events in tokens of one of our types."""
    if event_type == ASYNC_ANSWER:
        return [ASYNC_ANSWER]
    if event_type != AccountChanged.type:
        return [_OURS + event_type]
    return [_SCIM + each for each in ("create:notice", "put:notice", "activate", "deactivate", "delete")]


def _told(event: WebhookEvent) -> Mapping[str, Any]:
    data = json.loads(event.data)
    if event.type == ASYNC_ANSWER:
        return {"txn": data["txn"], "events": {ASYNC_ANSWER: data["answer"]}}
    return {"events": _events(event, data)}


def _events(event: WebhookEvent, data: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    if event.type != AccountChanged.type:
        about = {name: value for name, value in data.items() if name != "student_number"}
        return {_OURS + event.type: about}
    changed = AccountChanged.model_validate(data)
    if changed.stage is Stage.ERASED:
        return {_SCIM + "delete": _NOTHING}
    is_open = changed.stage in (Stage.ACTIVE, Stage.GRACE) and not changed.holds
    what = "create" if changed.version == 1 else "put"
    return {
        f"{_SCIM}{what}:notice": {"attributes": _ATTRIBUTES},
        _SCIM + ("activate" if is_open else "deactivate"): _NOTHING,
    }


def _public(key: str) -> dict[str, str]:
    raw = private_key(key).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    needed = {"crv": "Ed25519", "kty": "OKP", "x": _base64(raw)}
    thumb = hashlib.sha256(json.dumps(needed, separators=(",", ":"), sort_keys=True).encode()).digest()
    return {**needed, "kid": _base64(thumb), "use": "sig", "alg": "EdDSA"}


def _text(document: Mapping[str, Any]) -> str:
    return _base64(json.dumps(document, separators=(",", ":")).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
