"""LDAP Content Synchronization (RFC 4533) for a polling client: its two controls."""

from __future__ import annotations

import re
from typing import Final

from pyasn1.codec.ber import decoder, encoder
from pyasn1.type.namedtype import DefaultedNamedType, NamedType, NamedTypes, OptionalNamedType
from pyasn1.type.univ import Boolean, Enumerated, OctetString, Sequence

REQUEST: Final = "1.3.6.1.4.1.4203.1.9.1.1"
DONE: Final = "1.3.6.1.4.1.4203.1.9.1.3"

_REFRESH_ONLY: Final = 1
_CSN: Final = re.compile(r"(\d{14}\.\d{6}Z#[0-9a-f]{6})#([0-9a-f]{3})#[0-9a-f]{6}")


class _Request(Sequence):
    """Section 2.2, without its hint."""

    componentType = NamedTypes(  # noqa: N815 (pyasn1's)
        NamedType("mode", Enumerated()), OptionalNamedType("cookie", OctetString())
    )


class _Done(Sequence):
    """Section 2.4."""

    componentType = NamedTypes(  # noqa: N815
        OptionalNamedType("cookie", OctetString()), DefaultedNamedType("refreshDeletes", Boolean(0))
    )


def request(cookie: str) -> bytes:
    """The value of a request's control: changes since this cookie. Empty: since the beginning."""
    value = _Request()
    value["mode"] = _REFRESH_ONLY
    if cookie:
        value["cookie"] = cookie.encode()
    return bytes(encoder.encode(value))


def is_behind(fresh: str, cookie: str) -> bool:
    """True if `fresh` is older than `cookie` for a writer (`time#count#writer#mod`)."""
    now = _by_writer(fresh)
    return any(number > now[writer] for writer, number in _by_writer(cookie).items() if writer in now)


def _by_writer(cookie: str) -> dict[str, str]:
    return {writer: number for number, writer in _CSN.findall(cookie)}


def ended(done: bytes) -> tuple[str, bool]:
    """The cookie of the final control, and whether removals were reported.

    An empty cookie: no change. If removals were not reported, every entry not mentioned is gone.
    """
    value = decoder.decode(done, asn1Spec=_Done())[0]
    cookie = value["cookie"]
    return bytes(cookie).decode() if cookie.hasValue() else "", bool(value["refreshDeletes"])
