"""Input from browsers: the fields of a form, and cookies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl

from fastapi.responses import Response

FORM_TOKEN: Final = "jeton"  # noqa: S105 - the field's name
FIELDS_MAX: Final = 20

Kept = tuple[str, str, int | None]
"""A cookie's name, its value, and for how many seconds it is kept; None: until the browser is closed."""


def fields_of(body: bytes) -> dict[str, str]:
    """The fields of a form; of a field that comes twice the last one.

    Raises:
        ValueError: it is none.
    """
    text = body.decode("ascii")
    return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX))


def cookie_name(name: str, *, secure: bool) -> str:
    """The cookie's name: `__Host-` binds it to this host and to HTTPS.

    Source: RFC 6265bis, 4.1.3.2.
    """
    return f"__Host-{name}" if secure else name


def keep(response: Response, cookies: Iterable[Kept], *, secure: bool) -> None:
    """Let the browser keep these, for us alone; one of 0 seconds is forgotten."""
    for name, value, age_s in cookies:
        response.set_cookie(
            cookie_name(name, secure=secure),
            value,
            max_age=age_s,
            secure=secure,
            httponly=True,
            samesite="lax",
            path="/",
        )
