"""An account in Partage: as wanted and as read.

Attributes are Zimbra's (LDAP). Addresses are compared in lower case, as Zimbra keeps them; texts without
blanks at their ends, since LDAP ignores those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final
from xml.etree.ElementTree import Element

from consumers.kit.connector import Fields, TargetObject, tidy
from consumers.partage.settings import PartageSettings
from schemas.account import Account

NAME, ALIASES, PRINCIPAL, STATUS = "name", "zimbraMailAlias", "carLicense", "zimbraAccountStatus"
"""In Partage, `carLicense` holds the principal name (EPPN) that people log in with."""

FORWARD, COS, QUOTA, HIDDEN = (
    "zimbraPrefMailForwardingAddress",
    "zimbraCOSId",
    "zimbraMailQuota",
    "zimbraHideInGal",
)
FAMILY, GIVEN, DISPLAY = "sn", "givenName", "displayName"

ACTIVE, IN_MAINTENANCE = "active", "maintenance"
_OPEN: Final = (ACTIVE, "lockout")  # Zimbra's own pause after wrong passwords, which ends automatically
_ADDRESSES: Final = frozenset({NAME, ALIASES, FORWARD})

OWNS: Final = (NAME, ALIASES, PRINCIPAL, FAMILY, GIVEN, DISPLAY, FORWARD, COS, QUOTA, HIDDEN, STATUS)


def owned(settings: PartageSettings) -> tuple[str, ...]:
    """The attributes that these settings make ours."""
    unset = {
        FORWARD: not settings.redirection,
        COS: settings.class_of_service is None,
        QUOTA: settings.quota_bytes is None,
        HIDDEN: settings.hidden is None,
    }
    return (*(name for name in OWNS if not unset.get(name)), settings.number_attribute)


def wanted_fields(account: Account, settings: PartageSettings) -> dict[str, tuple[str, ...]]:
    """The wanted values of an account by attribute, without access."""
    person, mail = account.person, account.mail.lower()
    values: dict[str, Iterable[str | None]] = {
        NAME: [mail],
        ALIASES: sorted({alias.lower() for alias in account.aliases} - {mail}),
        PRINCIPAL: [account.principal],
        FAMILY: [person.filed_name],
        GIVEN: [person.shown_given_name if person.family_name.strip() else None],
        DISPLAY: [person.display_name],
        FORWARD: [account.mail_redirect],
        COS: [settings.class_of_service],
        QUOTA: [str(settings.quota_bytes)],
        HIDDEN: [str(settings.hidden).upper()],
        settings.number_attribute: [account.student_number],
    }
    return {name: _normal(name, values[name]) for name in owned(settings) if name != STATUS}


def object_of(element: Element, settings: PartageSettings) -> TargetObject:
    """An `account` element as an object."""
    fields: dict[str, tuple[str, ...]] = {
        name: _normal(name, _values(element, name)) for name in owned(settings) if name != STATUS
    }
    fields[ALIASES] = tuple(sorted(fields[ALIASES]))
    number = fields[settings.number_attribute]
    addresses = (*fields[NAME], *fields[ALIASES])
    return TargetObject(
        ref=_one(element, "id") or "".join(fields[NAME]),
        student_number=number[0] if len(number) == 1 else "",
        fields=fields,
        open=status_of(element) in _OPEN,
        names=(*(("mail", address) for address in addresses), *(("principal", p) for p in fields[PRINCIPAL])),
        evidence={"family": "".join(fields[FAMILY]), "given": "".join(fields[GIVEN])},
    )


def status_of(element: Element) -> str:
    """Its `zimbraAccountStatus`."""
    return _one(element, STATUS)


def without_others(found: TargetObject, account: Account) -> TargetObject:
    """The account without unwanted aliases, which are not ours and stay."""
    ours = {alias.lower() for alias in account.aliases}
    fields: Fields = {**found.fields, ALIASES: tuple(a for a in found.fields[ALIASES] if a in ours)}
    return replace(found, fields=fields)


def concerns(found: TargetObject, account: Account) -> bool:
    """True if it carries this student's number, or a name that the account wants."""
    return found.student_number == account.student_number or bool(
        {(kind, name.lower()) for kind, name in found.names} & _names(account)
    )


def filter_of(accounts: Iterable[Account], settings: PartageSettings) -> str:
    """An LDAP filter (RFC 4515) for all that `concerns` one of these."""
    terms: list[tuple[str, str]] = []
    for account in accounts:
        terms.append((settings.number_attribute, account.student_number))
        for kind, name in sorted(_names(account)):
            terms += [(PRINCIPAL, name)] if kind == "principal" else [("mail", name), (ALIASES, name)]
    return f"(|{''.join(f'({name}={_escaped(value)})' for name, value in terms)})"


def form_of(fields: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """The attributes for ModifyAccount and CreateAccount; an empty value removes one."""
    return {name: "".join(values) for name, values in fields.items() if name not in (NAME, ALIASES)}


def _names(account: Account) -> set[tuple[str, str]]:
    mails = {("mail", address.lower()) for address in (account.mail, *account.aliases)}
    return mails | {("principal", account.principal.lower())}


def _normal(name: str, values: Iterable[str | None]) -> tuple[str, ...]:
    texts = (tidy(value or "") for value in values)
    return tuple(text.lower() if name in _ADDRESSES else text for text in texts if text)


def _values(element: Element, name: str) -> list[str | None]:
    """An attribute's values: in the element, or in its children if it is an array."""
    return [each.text for found in element.findall(name) for each in (list(found) or [found])]


def _one(element: Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _escaped(value: str) -> str:
    return "".join(f"\\{ord(c):02x}" if c in "\\*()\0" else c for c in value)
