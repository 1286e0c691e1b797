"""Meaning of LDAP answers for one entry, or the whole consumer (RFC 4511, 4.1.9).

Diagnostic messages may quote personal values: only names of attributes and classes are taken from them.
"""

from __future__ import annotations

import re
from typing import Final

from consumers.kit.connector import Refused
from consumers.kit.ldap_answers import Busy, Code, LdapAnswer
from pipeline.errors import CredentialsRefused, Misconfigured, SesameError, TargetDown

_BUSY = {
    Code.OPERATIONS_ERROR,
    Code.TIME_LIMIT,
    Code.NO_SUCH_ATTRIBUTE,  # the entry changed between our reading and a write without an assertion
    Code.VALUE_EXISTS,  # likewise
    Code.BUSY,
    Code.UNAVAILABLE,
    Code.OTHER,
}

_LIMITED: Final = (
    "the directory limits how many entries the provisioner may read",
    "add the limits line of ops/ldap/slapd.conf",
)
_MISCONFIGURED: dict[int, tuple[str, str]] = {
    Code.STRONGER_AUTH_REQUIRED: ("the directory wants a stronger bind", "use StartTLS or ldaps"),
    Code.CONFIDENTIALITY_REQUIRED: ("the directory wants TLS before the bind", "use StartTLS or ldaps"),
    Code.REFERRAL: ("the directory refers writes to another server", "set the URI of the writable server"),
    Code.INAPPROPRIATE_AUTH: ("the provisioner's account has no password", "set it with ldappasswd"),
    Code.INVALID_CREDENTIALS: (
        "the directory refuses the provisioner's name or password",
        "compare the bind DN and the password file with the server's entry",
    ),
    Code.INSUFFICIENT_ACCESS: (
        "the provisioner lacks rights on people or groups",
        "load the access rules of ops/ldap/slapd.conf above the server's own",
    ),
    Code.SIZE_LIMIT: _LIMITED,
    Code.ADMIN_LIMIT: _LIMITED,  # of a page's size (slapd: size.pr, size.prtotal)
    Code.NO_SUCH_OBJECT: (
        "the branch of people, or of groups, does not exist in the directory",
        "create it (ops/ldap/tree.ldif) or correct the base DN in the settings",
    ),
    Code.UNWILLING: (
        "the directory does not serve this branch, or is read-only",
        "check the base DN, and that the URI is the writable server's",
    ),
    Code.UNDEFINED_TYPE: (
        "the directory does not know an attribute: {names}",
        "load supann, eduperson, schac and sesame schemas and the ppolicy overlay (ops/ldap)",
    ),
    Code.CRITICAL_EXTENSION: (
        "the directory does not support assertions (RFC 4528)",
        "use OpenLDAP 2.5 or later, or another server that does",
    ),
}

BUSY: Final = "directory_busy"
"""Cause of a retry: the directory is busy."""

NUMBER_TAKEN: Final = "student_number_taken"
"""Cause: another entry carries the student number."""

_TAKEN = {
    "uid": ("identity_collision", "the login is held by another entry"),
    "mail": ("mail_taken", "the mail address is held by another entry"),
    "supannAutreMail": ("mail_taken", "an alias is held by another entry"),
    "supannEtuId": (NUMBER_TAKEN, "another entry carries this student number"),
    "eduPersonPrincipalName": ("principal_taken", "the principal name is held by another entry"),
}

_NON_UNIQUE = "non-unique attributes"
_NAME = r"[A-Za-z][A-Za-z0-9-]*"


def judge(answer: LdapAnswer) -> Refused:
    """Return why this entry, and no other, is permanently refused.

    Raises:
        Busy: it may work later.
        Misconfigured: the directory refuses the consumer, whatever the student.
    """
    if answer.code in _BUSY:
        raise Busy(f"the directory answered {_name(answer.code)} ({answer.code})")
    unknown_class = answer.code == Code.INVALID_SYNTAX and answer.diagnostic.startswith("objectClass:")
    if answer.code in _MISCONFIGURED or unknown_class:
        raise misconfigured(Code.UNDEFINED_TYPE if unknown_class else answer.code, answer.diagnostic)
    if answer.code == Code.CONSTRAINT and _NON_UNIQUE in answer.diagnostic:
        return taken(re.findall(rf"\(({_NAME})=", answer.diagnostic))
    names = _names(answer.diagnostic)
    about = f" about {names}" if names else ""
    return Refused(
        "schema_violation",
        f"the directory answered {_name(answer.code)} ({answer.code}){about}: correct the student's data at "
        "the registrar, or the server's schema, then replay",
        lasting=True,
    )


def misconfigured(code: int, diagnostic: str = "") -> Misconfigured:
    """The error for a code that concerns the consumer, with its remedy."""
    what, remedy = _MISCONFIGURED.get(
        code, ("the directory refuses the consumer", "see the directory's log for the reason")
    )
    what = what.format(names=_names(diagnostic) or "(not named)")
    kind = CredentialsRefused if code == Code.INVALID_CREDENTIALS else Misconfigured
    return kind(f"{what} (LDAP result {code})", remedy=remedy)


def bind_refused(answer: LdapAnswer) -> SesameError:
    """The error for a failed bind."""
    if answer.code in _BUSY:
        return TargetDown(f"the directory cannot take a bind now: {_name(answer.code)} ({answer.code})")
    return misconfigured(answer.code, answer.diagnostic)


def reading_refused(answer: LdapAnswer) -> SesameError:
    """The error for a failed search. It concerns the branch and our rights, no student."""
    try:
        judge(answer)
    except (Busy, Misconfigured) as error:
        return error
    return misconfigured(answer.code)


def changed(answer: LdapAnswer) -> Refused | None:
    """Why a write was refused; None: it was done. Raises as `judge`."""
    return None if answer.code == Code.SUCCESS else judge(answer)


def taken(names: list[str]) -> Refused:
    """Refuse an entry with a value of another one; `names`: the attributes."""
    for name in names:
        if name in _TAKEN:
            cause, what = _TAKEN[name]
            told = f"{what} ({name}): find out whose it is, correct one of the two, then replay"
            return Refused(cause, told, lasting=True)
    told = f"another entry has the same value of {', '.join(names)}, which is unique"
    return Refused("value_taken", told, lasting=True)


def _names(diagnostic: str) -> str:
    """Names in slapd's messages: `sn: value #0 …`, `… requires attribute 'sn'`."""
    prefix = re.match(rf"({_NAME}): ", diagnostic)
    found = [prefix.group(1)] if prefix else re.findall(rf"'({_NAME})'", diagnostic)
    return ", ".join(dict.fromkeys(found))


def _name(code: int) -> str:
    try:
        return Code(code).name.lower()
    except ValueError:
        return "an unexpected result"
