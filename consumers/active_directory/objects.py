"""A user's attributes in Active Directory: as wanted and as read ([MS-ADA1] to 3)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from consumers.active_directory.settings import ActiveDirectorySettings
from consumers.kit.connector import Lockout, TargetObject, tidy
from consumers.kit.ldap_answers import Raw, normal
from consumers.kit.passwords import NO_PASSWORD
from schemas.account import Account

LOGIN, UPN, MAIL = "sAMAccountName", "userPrincipalName", "mail"
FAMILY, GIVEN, DISPLAY = "sn", "givenName", "displayName"
GROUPS, CONTROL, GUID, REVISION = "memberOf", "userAccountControl", "objectGUID", "uSNChanged"
NAME: Final = "distinguishedName"

PASSWORD_SET: Final = "pwdLastSet"  # noqa: S105 (an attribute)

LOCKED_AT: Final = "lockoutTime"
IS_LOCKED: Final = "msDS-User-Account-Control-Computed"
"""Computed for each entry that is read: a lock that has run out leaves its `lockoutTime`."""

CREDENTIAL: Final = "adminDisplayName"
"""Shows which password an object has: an attribute that no tool of Windows shows or uses."""

CLASSES: Final = ("top", "person", "organizationalPerson", "user")
PEOPLE: Final = "(&(objectCategory=person)(objectClass=user))"

NORMAL, DISABLED, DONT_EXPIRE = 0x200, 0x2, 0x10000
"""Bits of userAccountControl ([MS-ADTS] 2.2.16)."""
_LOCKOUT: Final = 0x10

OWN: Final = (LOGIN, UPN, MAIL, FAMILY, GIVEN, DISPLAY, CREDENTIAL)
"""Attributes that are ours at every site, apart from the number; all of them name the person."""
_FROM_1601_TO_1970_S: Final = 11_644_473_600
_NOT_IN_LOGIN: Final = re.compile(r'["/\\\[\]:;|=,+*?<>@\s]')
LOGIN_MAX: Final = 20


def owned(settings: ActiveDirectorySettings) -> tuple[str, ...]:
    """The attributes that these settings make ours."""
    groups = (GROUPS,) if settings.groups_dn is not None else ()
    return (settings.number_attribute, *OWN, *groups, CONTROL)


def read_attributes(settings: ActiveDirectorySettings) -> tuple[str, ...]:
    """The attributes that `object_of` reads."""
    return (*owned(settings), GUID, REVISION, NAME, PASSWORD_SET)


def looked_at(settings: ActiveDirectorySettings) -> tuple[str, ...]:
    """The attributes that are read of single users: their lock too, which costs."""
    return (*read_attributes(settings), LOCKED_AT, IS_LOCKED)


def login_of(account: Account) -> str | None:
    """The account's sAMAccountName: at most 20 characters that Windows accepts. None: it has none yet."""
    login = account.short_login or account.login
    return None if len(login) > LOGIN_MAX or _NOT_IN_LOGIN.search(login) else login


def principal_of(account: Account, settings: ActiveDirectorySettings) -> str:
    """The account's userPrincipalName."""
    if settings.upn_suffix is None:
        return account.principal
    return f"{account.principal.partition('@')[0]}@{settings.upn_suffix}"


def wanted_fields(account: Account, settings: ActiveDirectorySettings) -> dict[str, tuple[str, ...]]:
    """The wanted values of an account by attribute, without access."""
    person = account.person
    values: dict[str, Iterable[str | None]] = {
        settings.number_attribute: [account.student_number],
        LOGIN: [login_of(account)],
        UPN: [principal_of(account, settings)],
        MAIL: [account.mail],
        FAMILY: [person.filed_name],
        GIVEN: [person.shown_given_name if person.family_name.strip() else None],
        DISPLAY: [person.display_name],
    }
    fields = {name: _normal(each) for name, each in values.items()}
    if not fields[LOGIN]:
        del fields[LOGIN]  # keep the login that a user has
    if account.credential_ref is not None:
        fields[CREDENTIAL] = (account.credential_ref,)
    if settings.groups_dn is not None:
        fields[GROUPS] = tuple(sorted({group.key.lower() for group in account.groups if group.met}))
    return fields


def object_of(
    raw: Raw, groups: Sequence[str], settings: ActiveDirectorySettings, *, out_of_reach: bool = False
) -> TargetObject:
    """An entry as an object; `groups`: the names of our groups that it is a member of."""
    fields = {name: _normal(_texts(raw, name)) for name in (settings.number_attribute, *OWN)}
    if settings.groups_dn is not None:
        fields[GROUPS] = tuple(sorted(groups))
    number = fields[settings.number_attribute]
    named = (("login", LOGIN), ("principal", UPN), ("mail", MAIL))
    return TargetObject(
        ref=ref_of(raw),
        student_number=number[0] if len(number) == 1 else "",
        fields=fields,
        open=not control_of(raw) & DISABLED,
        names=tuple((kind, value) for kind, name in named for value in fields[name]),
        revision="".join(_texts(raw, REVISION)),
        evidence={"family": "".join(fields[FAMILY]), "given": "".join(fields[GIVEN])},
        out_of_reach=out_of_reach,
        password_at=_password_at(raw),
        lockout=_lockout(raw),
    )


def _password_at(raw: Raw) -> float | None:
    """When its password was set, in epoch seconds.

    [MS-ADA3] 2.176; 0: the user must choose another one, which we never demand.
    """
    told = next(iter(_texts(raw, PASSWORD_SET)), None)
    if told is None:
        return None
    return NO_PASSWORD if told == "0" else _epoch_s(told)


def _lockout(raw: Raw) -> Lockout | None:
    """The lock after wrong passwords that is in force ([MS-ADA1] 2.350)."""
    computed = int(next(iter(_texts(raw, IS_LOCKED)), "0"))
    return Lockout(_epoch_s(told := _texts(raw, LOCKED_AT)[0]), told) if computed & _LOCKOUT else None


def _epoch_s(told: str) -> float:
    """A time in units of 100 ns since 1601."""
    return int(told) / 10**7 - _FROM_1601_TO_1970_S


def name_of(raw: Raw) -> str:
    """An entry's distinguished name, as the server writes it."""
    return "".join(_texts(raw, NAME))


def is_below(dn: str, branch: str) -> bool:
    """True if an entry is below this branch, at any depth."""
    return normal(dn).endswith(f",{normal(branch)}")


def written(settings: ActiveDirectorySettings) -> frozenset[str]:
    """The attributes that we write to an existing user's entry."""
    return frozenset({settings.number_attribute, *OWN, CONTROL})


def ref_of(raw: Raw) -> str:
    """An entry's objectGUID, which never changes."""
    return str(uuid.UUID(bytes_le=raw[GUID][0]))


def member_of(raw: Raw) -> list[str]:
    """The names of an entry's groups but its primary one. Ranges ([MS-ADTS] 3.1.1.3.1.3.3) are joined."""
    return _texts(raw, GROUPS)


class Member(NamedTuple):
    """An object, and how its memberships of our groups are to change.

    Attributes:
        dn: its name.
        joins: the display name of each group to join, by its name in lower case.
        leaves: names of the groups to leave, in lower case.
    """

    dn: str
    joins: Mapping[str, str]
    leaves: frozenset[str]


def to_join(members: Iterable[Member]) -> dict[str, set[str]]:
    """The DNs of those that have yet to join a group, by its name in lower case."""
    joining: dict[str, set[str]] = {}
    for each in members:
        for name in each.joins:
            joining.setdefault(name, set()).add(each.dn)
    return joining


def control_of(raw: Raw) -> int:
    """An entry's userAccountControl; a group has none."""
    return int(next(iter(_texts(raw, CONTROL)), NORMAL))


def concerns(found: TargetObject, account: Account, settings: ActiveDirectorySettings) -> bool:
    """True if it carries this student's number, or a wanted login or principal. Mail is not unique."""
    wanted = {("principal", principal_of(account, settings).lower())}
    if (login := login_of(account)) is not None:
        wanted.add(("login", login.lower()))
    held = {(kind, value.lower()) for kind, value in found.names}
    return found.student_number == account.student_number or not held.isdisjoint(wanted)


def by_guid(ref: str) -> str:
    """A name of an object that survives moving and renaming ([MS-ADTS] 3.1.1.3.1.2.4)."""
    return f"<GUID={ref}>"


def typed(password: str) -> bytes:
    """A password as unicodePwd takes it ([MS-ADTS] 3.1.1.3.1.5.1)."""
    return f'"{password}"'.encode("utf-16-le")


def _normal(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(text for value in values if (text := tidy(value or "")))


def _texts(raw: Raw, name: str) -> list[str]:
    return [value.decode("utf-8", errors="replace") for value in raw.get(name, ())]
