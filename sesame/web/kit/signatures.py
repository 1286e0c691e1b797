"""Signed values that browsers keep and must not change; each kind has its salt."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

from itsdangerous import BadSignature, Signer, URLSafeTimedSerializer

FORM: Final = "form"
REQUEST: Final = "request"
GRANT: Final = "grant"
DEPARTURE: Final = "departure"
TOLD: Final = "told"


class Signing:
    """Signs and checks. Thread-safe. `keys`: the present one first (`pipeline.vault.derive_keys`)."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = list(reversed(keys))  # the library signs with the last one

    def sign(self, kind: str, value: Any) -> str:
        """The value and its signature, as a text for URLs and cookies."""
        return str(self._serializer(kind).dumps(value))

    def read(self, kind: str, text: str | None, *, age_s_max: float) -> Any:
        """The value of a signed text; None if it is not ours, of another kind, or too old."""
        if not text:
            return None
        try:
            return self._serializer(kind).loads(text, max_age=int(age_s_max))
        except BadSignature:
            return None

    def form_token(self, browser: str) -> str:
        """A form's token: only the browser that it was made for can send the form."""
        return self._signer().get_signature(browser).decode()

    def is_form_token(self, browser: str, token: str) -> bool:
        """Whether this token belongs to this browser; in constant time."""
        return bool(browser) and self._signer().verify_signature(browser, token)

    @staticmethod
    def new_browser() -> str:
        """A name for a browser that we do not know yet."""
        return secrets.token_urlsafe(18)

    def _signer(self) -> Signer:
        return Signer(self._keys, salt=f"sesame/{FORM}")

    def _serializer(self, kind: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._keys, salt=f"sesame/{kind}")
