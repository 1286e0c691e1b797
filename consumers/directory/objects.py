"""Entries as the kit's objects, with comparable fields in one normal form. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from consumers.directory.entry import CLASSES, GROUPS, OWNED, is_renumbered, missing_classes
from consumers.directory.port import DesiredEntry, GroupNames, ObservedEntry
from consumers.kit.connector import Held, TargetObject
from consumers.kit.passwords import NO_PASSWORD

CREDENTIAL: Final = "sesameCredentialRef"
VERSION: Final = "sesameVersion"

GROUP_NOT_OURS: Final = "group_not_ours"
"""Reason of waiting: a group of that name is not ours. An operator removes it or hands it over."""

OPERATOR_RECHECK_S: Final = 3600.0
"""How often to look again at what waits for an operator."""

OWNS: Final = (*OWNED, GROUPS, "uid", "supannEtuId", "objectClass", "userPassword", CREDENTIAL, VERSION)
"""What is ours of an entry, without its lock (pwdAccountLockedTime), which is its access."""

_NAMES: Final = {
    "login": ("supannAliasLogin",),
    "mail": ("mail", "supannAutreMail"),
    "principal": ("eduPersonPrincipalName",),
}
_BIRTH: Final = ("supannOIDCDateDeNaissance", "schacDateOfBirth")
_DATE: Final = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")


@dataclass(frozen=True, slots=True)
class EntryObject(TargetObject):
    """An entry as the kit sees it. `entry`: as the port showed it."""

    entry: ObservedEntry | None = None


def entries_of(found: TargetObject | None) -> tuple[ObservedEntry, ...]:
    """The entry that was read, if there is one."""
    return (found.entry,) if isinstance(found, EntryObject) and found.entry is not None else ()


def wanted_fields(desired: DesiredEntry, credential_ref: str | None) -> dict[str, tuple[str, ...]]:
    """What an entry must show, but its lock."""
    fields = {
        "uid": (desired.login.lower(),),
        "supannEtuId": desired.numbers,
        "objectClass": desired.classes,
        **{name: _sorted(values) for name, values in desired.attributes.items()},
        VERSION: (str(desired.version),),
        GROUPS: _folded(desired.groups),
    }
    return fields if credential_ref is None else {**fields, CREDENTIAL: (credential_ref,)}


def object_of(entry: ObservedEntry, desired: DesiredEntry, groups: GroupNames) -> EntryObject:
    """An entry in the form in which it is compared with the desired one.

    Others' classes, and logins and numbers that others wrote next to ours, do not count. A foreign group
    counts as if the student were in it: the other groups are joined, and the student waits for this one.
    """
    shown, login, number = listed(entry), desired.login.lower(), desired.student_number
    wanted = {name.lower(): name for name in desired.groups}
    foreign = tuple(name for folded, name in wanted.items() if folded in groups.foreign)
    inside = wanted.keys() & groups.present if entry.groups is None else shown.fields[GROUPS]
    fields = {
        **shown.fields,
        "uid": (login,) if login in shown.fields["uid"] else shown.fields["uid"],
        "supannEtuId": _numbers(entry, desired),
        GROUPS: _folded((*inside, *foreign)),
    }
    return replace(
        shown,
        student_number=number if number in entry.student_numbers else shown.student_number,
        fields=fields,
        held=Held(GROUP_NOT_OURS, foreign, OPERATOR_RECHECK_S) if foreign else None,
    )


def listed(entry: ObservedEntry) -> EntryObject:
    """Any entry as shown, with further evidence of its owner.

    Where groups are searches, it is in those that find it.
    """
    groups = entry.attributes.get("sesameGroup", ()) if entry.groups is None else entry.groups
    missing = missing_classes(CLASSES, entry.classes)
    fields = {
        "uid": _folded(entry.logins),
        "supannEtuId": _sorted(entry.numbers),
        "objectClass": tuple(name for name in CLASSES if name not in missing),
        **{name: _sorted(entry.attributes.get(name, ())) for name in OWNED},
        VERSION: (str(entry.version),) if entry.version else (),
        GROUPS: _folded(groups),
        CREDENTIAL: (entry.credential_ref,) if entry.credential_ref else (),
    }
    return EntryObject(
        ref=ref_of(entry.dn),
        student_number=next((each for number in entry.student_numbers if (each := number.strip())), ""),
        fields=fields,
        open=not entry.locked,
        names=tuple(_names(entry)),
        revision=entry.revision,
        evidence=dict(_evidence(entry)),
        entry=entry,
        password_at=_password_at(entry),
    )


def _password_at(entry: ObservedEntry) -> float | None:
    state = entry.password
    if state.absent:
        return NO_PASSWORD
    return None if state.changed_at is None else state.changed_at.timestamp()


def placed(found: EntryObject, adopted: str | None) -> EntryObject:
    """Mark an entry deeper in the branch than ours as out of place, unless adopted."""
    return replace(found, out_of_place=adopted is None or ref_of(adopted) != found.ref)


def ref_of(dn: str) -> str:
    """The kit's reference of an entry: its name, in one case."""
    return dn.lower()


def _numbers(entry: ObservedEntry, desired: DesiredEntry) -> tuple[str, ...]:
    """The values of supannEtuId, as far as they are ours to decide."""
    if is_renumbered(desired, entry):
        return _sorted(entry.numbers)
    return desired.numbers if set(desired.numbers) <= set(entry.student_numbers) else ()


def _names(entry: ObservedEntry) -> Iterator[tuple[str, str]]:
    yield from (("login", login) for login in entry.logins)
    for kind, attributes in _NAMES.items():
        yield from ((kind, value) for name in attributes for value in entry.attributes.get(name, ()))


def _evidence(entry: ObservedEntry) -> Iterator[tuple[str, str]]:
    shown, more = entry.attributes, entry.evidence
    yield "family", next(iter((*more.get("supannNomDeNaissance", ()), *shown.get("sn", ()))), "")
    yield "given", next(iter(shown.get("givenName", ())), "")
    yield "ine", next(iter(more.get("supannCodeINE", ())), "")
    dates = (_DATE.fullmatch(value) for name in _BIRTH for value in more.get(name, ()))
    yield "birth", next(("-".join(found.groups()) for found in dates if found), "")


def _sorted(values: Iterable[str]) -> tuple[str, ...]:
    """Values of an attribute, which have no order."""
    return tuple(sorted(set(values)))


def _folded(names: Iterable[str]) -> tuple[str, ...]:
    """Names as the server compares them: without case (RFC 4519)."""
    return _sorted(name.lower() for name in names)
