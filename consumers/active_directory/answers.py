"""Meaning of Active Directory's refusals.

Its messages begin with a Windows error in hexadecimal ([MS-ERREF] 2.2; Samba's too), more precise than the
LDAP code. The rest of a message may quote values: it is never shown, but for names of attributes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

from consumers.kit.connector import Refused
from consumers.kit.ldap_answers import Code, LdapAnswer
from pipeline.errors import CredentialsRefused, Misconfigured, SesameError, TargetDown

BUSY: Final = "ad_busy"
"""Cause of a retry: the domain controller is busy."""

_BUSY: Final = frozenset({Code.OPERATIONS_ERROR, Code.TIME_LIMIT, Code.BUSY, Code.UNAVAILABLE, Code.OTHER})
_WINDOWS: Final = re.compile(r"^([0-9A-Fa-f]{8}):")
_ATTRIBUTE: Final = re.compile(r"Att [0-9A-Fa-f]+ \(([A-Za-z][A-Za-z0-9-]*)\)")
_BIND_DATA: Final = re.compile(r"data ([0-9a-f]{3}),")


class Refusal(Enum):
    """Why an operation was refused."""

    NAME_TAKEN = auto()
    PRINCIPAL_TAKEN = auto()
    PASSWORD = auto()
    QUOTA = auto()
    RIGHT = auto()
    CHANGED = auto()
    NOT_MEMBER = auto()
    VALUE = auto()
    BUSY = auto()
    OTHER = auto()


_BY_WINDOWS: Final = {
    0x005: Refusal.RIGHT,
    0x2098: Refusal.RIGHT,
    0x524: Refusal.NAME_TAKEN,
    0x8B0: Refusal.NAME_TAKEN,
    0x2071: Refusal.NAME_TAKEN,
    0x21C8: Refusal.PRINCIPAL_TAKEN,
    0x52C: Refusal.PASSWORD,
    0x52D: Refusal.PASSWORD,
    0x718: Refusal.QUOTA,
    0x216D: Refusal.QUOTA,
    0x561: Refusal.NOT_MEMBER,
    0x2082: Refusal.VALUE,
    0x202F: Refusal.VALUE,
}
_BY_CODE: Final[dict[int, Refusal]] = {
    Code.ADMIN_LIMIT: Refusal.QUOTA,
    Code.NO_SUCH_ATTRIBUTE: Refusal.CHANGED,
    Code.CONSTRAINT: Refusal.VALUE,
    Code.VALUE_EXISTS: Refusal.CHANGED,
    Code.INVALID_SYNTAX: Refusal.VALUE,
    Code.NO_SUCH_OBJECT: Refusal.CHANGED,
    Code.INSUFFICIENT_ACCESS: Refusal.RIGHT,
    Code.ENTRY_EXISTS: Refusal.NAME_TAKEN,
    **dict.fromkeys(_BUSY, Refusal.BUSY),
}
_SAMBA: Final = {
    (Code.CONSTRAINT, "already in use"): Refusal.PRINCIPAL_TAKEN,
    (Code.UNWILLING, "already deleted"): Refusal.NOT_MEMBER,
}
"""Samba's texts that come without a Windows error, or with a less precise one."""


class AdRefused(Exception):
    """An operation was refused.

    Attributes:
        refusal: why.
        told: for operators, without values.
    """

    def __init__(self, answer: LdapAnswer) -> None:
        self.refusal = _refusal(answer)
        self.told = _told(answer)
        super().__init__(self.told)

    def refused(self) -> Refused:
        """The refusal of the student's work."""
        return _MEANING[self.refusal](self.told)


def bind_refused(answer: LdapAnswer) -> SesameError:
    """The error for a failed bind."""
    if answer.code in _BUSY:
        return TargetDown(f"the domain controller takes no bind now ({_told(answer)})")
    if answer.code in (Code.STRONGER_AUTH_REQUIRED, Code.CONFIDENTIALITY_REQUIRED):
        return Misconfigured(
            "the domain controller wants TLS before the bind", remedy="use ldaps:// in active_directory.uri"
        )
    data = _BIND_DATA.search(answer.diagnostic)
    why = _BIND.get(data[1], "") if data else ""
    return CredentialsRefused(
        f"the domain controller refuses Sésame's account{f': {why}' if why else ''} ({_told(answer)})",
        remedy="compare active_directory.bind_dn and bind_password_file with the account in the domain",
    )


def reading_refused(answer: LdapAnswer) -> SesameError:
    """The error for a failed search: it concerns our settings and rights, no student."""
    if answer.code in _BUSY:
        return TargetDown(f"the domain controller cannot answer now ({_told(answer)})")
    if answer.code in (Code.NO_SUCH_OBJECT, Code.REFERRAL):
        return Misconfigured(
            f"this domain has no such branch ({_told(answer)})",
            remedy="compare active_directory.users_dn and groups_dn with the domain's own OUs",
        )
    return Misconfigured(
        f"the domain controller refuses a search ({_told(answer)})",
        remedy="let Sésame's account read the domain, as every account may by default",
    )


_BIND: Final = {
    "525": "there is no such account",
    "52e": "wrong password",
    "530": "not at this hour",
    "531": "not from this machine",
    "532": "its password has expired",
    "533": "it is disabled",
    "701": "it has expired",
    "773": "its password must be changed first",
    "775": "it is locked out",
}
"""Windows' reasons for a refused bind, from `data` in its message."""


_MEANING: Final[Mapping[Refusal, Callable[[str], Refused]]] = {
    # An earlier try of ours, whose outcome is unknown, may have made it: compare first.
    Refusal.NAME_TAKEN: lambda told: Refused("ad_name_taken", told, unknown=True),
    Refusal.PRINCIPAL_TAKEN: lambda told: Refused("ad_principal_taken", told, lasting=True),
    Refusal.PASSWORD: lambda told: Refused("ad_password_refused", told, lasting=True),
    Refusal.QUOTA: lambda told: Refused("ad_quota", told),
    Refusal.RIGHT: lambda told: Refused("ad_right_missing", told, lasting=True),
    Refusal.CHANGED: lambda told: Refused("ad_contended", told),
    Refusal.NOT_MEMBER: lambda told: Refused("ad_contended", told),
    Refusal.VALUE: lambda told: Refused("ad_value_refused", told, lasting=True),
    Refusal.BUSY: lambda told: Refused(BUSY, told),
    Refusal.OTHER: lambda told: Refused("ad_refused", told, lasting=True),
}


def _refusal(answer: LdapAnswer) -> Refusal:
    for (code, words), refusal in _SAMBA.items():
        if answer.code == code and words in answer.diagnostic:
            return refusal
    return _BY_WINDOWS.get(_windows(answer) or 0) or _BY_CODE.get(answer.code, Refusal.OTHER)


def _windows(answer: LdapAnswer) -> int | None:
    found = _WINDOWS.match(answer.diagnostic)
    return int(found[1], 16) if found else None


def _told(answer: LdapAnswer) -> str:
    windows = _windows(answer)
    names = ", ".join(dict.fromkeys(_ATTRIBUTE.findall(answer.diagnostic)))
    error = f", error 0x{windows:x}" if windows else ""
    return f"LDAP result {answer.code}{error}{f', about {names}' if names else ''}"
