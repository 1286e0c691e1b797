"""Entries as the kit's objects, with comparable fields in one normal form. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from consumers.directory.entry import (
    CLASSES,
    CREDENTIAL,
    EVIDENCE,
    FEDERATION,
    GROUPS,
    KEPT_UNDER,
    OWNED,
    VERSION,
    folded,
    is_ours,
    missing_classes,
    numbers_of,
    ordered,
)
from consumers.kit.connector import Held, Lockout, TargetObject
from consumers.kit.ldap_answers import Raw
from consumers.kit.passwords import NO_PASSWORD
from schemas.account import Account

GROUP_NOT_OURS: Final = "group_not_ours"
"""Reason of waiting: a group of that name is not ours; an operator removes it or hands it over."""

OPERATOR_RECHECK_S: Final = 3600.0
"""Interval between looks at what waits for an operator."""

LOCK: Final = "pwdAccountLockedTime"
LOCKED_FOR_GOOD: Final = "000001010000Z"
"""The value of pwdAccountLockedTime that only an administrator's act lifts (slapo-ppolicy(5))."""

READ: Final = (
    "uid",
    "objectClass",
    "supannEtuId",
    VERSION,
    CREDENTIAL,
    LOCK,
    "pwdChangedTime",
    "pwdFailureTime",
    "pwdReset",
    "pwdPolicySubentry",
    "entryCSN",
    *OWNED,
    *FEDERATION,
)
"""The attributes that `shown` takes."""

DUMPED: Final = (*READ, *EVIDENCE)
"""Those, and evidence of an entry's owner."""

_NAMES: Final = {
    "login": ("uid", "supannAliasLogin"),
    "mail": ("mail", "supannAutreMail"),
    "principal": ("eduPersonPrincipalName",),
}
_BIRTH: Final = ("supannOIDCDateDeNaissance", "schacDateOfBirth")
_DATE: Final = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")


@dataclass(frozen=True, slots=True)
class PasswordState:
    """The server's state of an entry's password (slapo-ppolicy(5)), for diagnosis. In UTC.

    Attributes:
        changed_at: when it was last written; None: the server does not say.
        locked_at: since when wrong passwords have shut the entry; the server lifts that automatically.
        failures: times of wrong passwords since the last good one, oldest first; the server keeps some.
        must_change: an administrator wants another one.
        policy_dn: the policy that applies instead of the usual one.
    """

    changed_at: datetime | None
    locked_at: datetime | None
    failures: tuple[datetime, ...]
    must_change: bool
    policy_dn: str | None


@dataclass(frozen=True, slots=True)
class EntryObject(TargetObject):
    """An entry as the server shows it.

    Attributes:
        dn: distinguished name (RFC 4514); `ref` is the same in lower case.
        attributes: the values read, as text; sorted where the pipeline owns them.
        groups: names of our static groups with this member, sorted; None: groups are searches.
    """

    dn: str = ""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: tuple[str, ...] | None = None

    def of(self, *names: str) -> tuple[str, ...]:
        """The values of these attributes."""
        return tuple(value for name in names for value in self.attributes.get(name, ()))

    @property
    def logins(self) -> tuple[str, ...]:
        """The values of uid."""
        return self.of("uid")

    @property
    def numbers(self) -> tuple[str, ...]:
        """The values of supannEtuId."""
        return self.of("supannEtuId")

    @property
    def kept_under(self) -> tuple[str, ...]:
        """The number that the pipeline keeps it under, if it shows another. See `KEPT_UNDER`."""
        return tuple(
            value.removeprefix(KEPT_UNDER) for value in self.of("supannRefId") if value.startswith(KEPT_UNDER)
        )

    @property
    def student_numbers(self) -> tuple[str, ...]:
        """Its student's numbers; empty for people who are not students."""
        return self.kept_under or self.numbers

    @property
    def version(self) -> int:
        """The account version that it shows, or 0."""
        return int(next(iter(self.of(VERSION)), 0))

    @property
    def locked(self) -> bool:
        """True if closed permanently; a lock that the server lifts does not count."""
        return not self.open

    @property
    def credential_ref(self) -> str | None:
        """The credential that its password was made from."""
        return next(iter(self.of(CREDENTIAL)), None)

    @property
    def password(self) -> PasswordState:
        """What ppolicy keeps; a permanent lock is not one by wrong passwords."""
        return PasswordState(
            changed_at=next(_moments(self.of("pwdChangedTime")), None),
            locked_at=None if self.lockout is None else datetime.fromtimestamp(self.lockout.since, UTC),
            failures=tuple(sorted(_moments(self.of("pwdFailureTime")))),
            must_change=self.of("pwdReset") == ("TRUE",),
            policy_dn=next(iter(self.of("pwdPolicySubentry")), None),
        )

    def is_renumbered(self, account: Account) -> bool:
        """True if the pipeline decides the student number that the entry shows.

        That differs, or is to differ, from the one it is kept under; otherwise further numbers are others'.
        """
        return account.shown_number is not None or bool(self.kept_under)


@dataclass(frozen=True, slots=True)
class GroupNames:
    """Existing groups, by names in lower case; `foreign`: those that are not ours."""

    present: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()

    def not_ours(self, account: Account) -> tuple[str, ...]:
        """This account's groups that are not ours."""
        wanted = (group.key for group in account.groups if group.met)
        return tuple(key for key in wanted if key.lower() in self.foreign)


def shown(dn: str, raw: Raw, classes: Sequence[str] = CLASSES) -> EntryObject:
    """Translate an entry as the server sent it, with further evidence of its owner.

    `classes`: those of our entries at this site.
    """
    attributes = {name: texts(raw, name) for name in raw}
    attributes |= {name: tuple(sorted(attributes[name])) for name in OWNED if name in attributes}
    entry = EntryObject(ref_of(dn), dn=dn, attributes=attributes)
    missing = missing_classes(classes, entry.of("objectClass"))
    fields = {
        **{name: tuple(v for v in ordered(entry.of(name)) if is_ours(name, v)) for name in FEDERATION},
        **{name: ordered(entry.of(name)) for name in (*OWNED, "supannEtuId", VERSION, CREDENTIAL)},
        "uid": folded(entry.logins),
        "objectClass": tuple(name for name in classes if name not in missing),
        GROUPS: folded(entry.of("sesameGroup")),
    }
    changed_at = entry.password.changed_at
    return replace(
        entry,
        student_number=next((each for number in entry.student_numbers if (each := number.strip())), ""),
        fields=fields,
        open=LOCKED_FOR_GOOD not in entry.of(LOCK),
        names=tuple((kind, value) for kind, names in _NAMES.items() for value in entry.of(*names)),
        revision="".join(entry.of("entryCSN")),
        evidence=_evidence(entry),
        password_at=None if changed_at is None else changed_at.timestamp(),
        lockout=_lockout(entry),
    )


def in_groups(entry: EntryObject, groups: Sequence[str]) -> EntryObject:
    """The entry as a member of these static groups of ours."""
    names = tuple(sorted(groups))
    return replace(entry, groups=names, fields={**entry.fields, GROUPS: folded(names)})


def is_doubtful(entry: EntryObject) -> bool:
    """True if it shows that it was given a password, but not when."""
    return entry.credential_ref is not None and entry.password_at is None


def without_password(entry: EntryObject) -> EntryObject:
    """The entry, marked as one whose password was deleted."""
    return replace(entry, password_at=NO_PASSWORD)


def compared(entry: EntryObject, account: Account, groups: GroupNames) -> EntryObject:
    """An entry in the form in which it is compared with what its student is to have.

    Others' classes, logins and numbers next to ours do not count. A foreign group counts as if the student
    were in it: the other groups are joined, and the student waits for this one.
    """
    login, number = account.login.lower(), account.student_number
    wanted = {group.key.lower() for group in account.groups if group.met}
    foreign = groups.not_ours(account)
    inside = wanted & groups.present if entry.groups is None else entry.groups
    fields = {
        **entry.fields,
        "uid": (login,) if login in entry.fields["uid"] else entry.fields["uid"],
        "supannEtuId": _numbers(entry, account),
        GROUPS: folded((*inside, *foreign)),
    }
    return replace(
        entry,
        student_number=number if number in entry.student_numbers else entry.student_number,
        fields=fields,
        held=Held(GROUP_NOT_OURS, foreign, OPERATOR_RECHECK_S) if foreign else None,
    )


def ref_of(dn: str) -> str:
    """The kit's reference of an entry: its name in lower case."""
    return dn.lower()


def texts(raw: Raw, name: str) -> tuple[str, ...]:
    """An attribute's values as text (RFC 4517: directory strings are UTF-8)."""
    return tuple(value.decode("utf-8", errors="replace") for value in raw.get(name, ()))


def _numbers(entry: EntryObject, account: Account) -> tuple[str, ...]:
    """The values of supannEtuId that are ours to decide."""
    wanted = numbers_of(account)
    if entry.is_renumbered(account):
        return ordered(entry.numbers)
    return wanted if set(wanted) <= set(entry.student_numbers) else ()


def _evidence(entry: EntryObject) -> dict[str, str]:
    def first(*names: str) -> str:
        return next(iter(entry.of(*names)), "")

    dates = (_DATE.fullmatch(value) for value in entry.of(*_BIRTH))
    return {
        "family": first("supannNomDeNaissance", "sn"),
        "given": first("givenName"),
        "ine": first("supannCodeINE"),
        "birth": next(("-".join(found.groups()) for found in dates if found), ""),
    }


def _lockout(entry: EntryObject) -> Lockout | None:
    """The server's own lock; a permanent one is an administrator's or our hold."""
    value = next(iter(entry.of(LOCK)), "")
    since = next(_moments([value]), None)
    return None if value == LOCKED_FOR_GOOD or since is None else Lockout(since.timestamp(), value)


def _moments(values: Iterable[str]) -> Iterator[datetime]:
    """Parse generalized times in UTC (RFC 4517, section 3.3.13)."""
    for value in values:
        with suppress(ValueError):
            yield datetime.strptime(value[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
