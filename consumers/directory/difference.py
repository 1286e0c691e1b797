"""The difference between an entry as wanted and as shown. Pure.

`Change.fields` has all wanted fields here, since an entry may be read again while it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from consumers.directory.entry import (
    CLASSES,
    CREDENTIAL,
    FEDERATION,
    OWNED,
    VERSION,
    missing_classes,
    numbers_of,
    user_password,
)
from consumers.directory.objects import LOCK, LOCKED_FOR_GOOD, EntryObject, ref_of
from consumers.kit.connector import Change, Refused
from consumers.kit.handler import COLLISION
from consumers.kit.ldap_answers import Modification
from schemas.account import Account

_MAIL: Final = ("mail", "supannAutreMail")
UNIQUE: Final = {
    "uid": ("uid",),
    "mail": _MAIL,
    "supannAutreMail": _MAIL,
    "supannEtuId": ("supannEtuId",),
    "eduPersonPrincipalName": ("eduPersonPrincipalName",),
}
"""Attributes under slapd's uniqueness (ops/ldap/slapd.conf), each with those that share it.

Its own search inherits the assertion of the modify that triggered it, and fails (122 `unique_search failed`,
slapd 2.5.13): such a modify must guard itself by values instead."""

_NOT_GUARDED: Final = frozenset({"userPassword", LOCK})
"""A hash cannot be read; a lock may hold the server's own, temporary value."""


def forbidden(account: Account, current: EntryObject, adopted: str | None = None) -> Refused | None:
    """Why this entry must not be changed, or None. `adopted`: the DN of the student's adopted entry."""
    is_adopted = adopted is not None and ref_of(adopted) == current.ref and not current.student_numbers
    if account.student_number not in current.student_numbers and not is_adopted:
        return Refused(
            COLLISION,
            "the login is held by an entry that does not carry this student number: if it is the same "
            "person, add supannEtuId to that entry, else give this student another login; then replay",
            lasting=True,
        )
    if account.login.lower() not in (login.lower() for login in current.logins):
        return Refused(
            "login_mismatch",
            "this student's entry has another login than the registry gave: rename one, then replay",
            lasting=True,
        )
    if current.version > account.version:
        return Refused("superseded", "the entry shows a newer version of the account")
    return None


def new_values(change: Change) -> list[tuple[str, str]]:
    """Each unique value that would be written, with its attribute; the login first."""
    entry = change.found if isinstance(change.found, EntryObject) else EntryObject("")
    values = [("uid", change.account.login)] if change.found is None else []
    if not entry.student_numbers or entry.is_renumbered(change.account):
        values += [("supannEtuId", number) for number in numbers_of(change.account)]
    values += [(name, each) for name in UNIQUE if name in OWNED for each in change.fields.get(name, ())]
    return [(name, value) for name, value in values if value not in entry.of(name)]


def new_attributes(change: Change) -> dict[str, tuple[str, ...]]:
    """The attributes of a new entry, without its object classes."""
    ours = (*OWNED, *FEDERATION, VERSION)
    owned = {name: values for name, values in change.fields.items() if name in ours}
    return {
        **owned,
        "uid": (change.account.login,),
        "supannEtuId": numbers_of(change.account),
        LOCK: () if change.account.access_open else (LOCKED_FOR_GOOD,),
        **{name: values for _, name, values in _password(change, None)},
    }


def changes(change: Change, current: EntryObject) -> list[Modification]:
    """The modifications that bring `current` to what is wanted. Empty if nothing differs."""
    account, numbers = change.account, numbers_of(change.account)
    made: list[Modification] = []
    if missing := missing_classes(change.fields.get("objectClass", CLASSES), current.of("objectClass")):
        made.append(("add", "objectClass", missing))
    for name, values in change.fields.items():
        if (name in OWNED or name == VERSION) and set(values) != set(current.of(name)):
            made.append(("replace", name, values))
        if name in FEDERATION:  # others' values stay
            there = current.fields.get(name, ())
            gone, new = (
                tuple(v for v in there if v not in values),
                tuple(v for v in values if v not in there),
            )
            made += [("delete", name, gone)] if gone else []
            made += [("add", name, new)] if new else []
    if current.is_renumbered(account):
        if set(numbers) != set(current.numbers):
            made.append(("replace", "supannEtuId", numbers))
    elif not current.student_numbers:  # adopted, else `forbidden` has refused it
        made.append(("add", "supannEtuId", (account.student_number,)))
    if not account.access_open and not current.locked:
        made.append(("replace", LOCK, (LOCKED_FOR_GOOD,)))
    if current.locked and account.access_open:
        # A plain delete: with a new password in the same modify, ppolicy trips over a replace by nothing.
        made.append(("delete", LOCK, ()))
    return made + _password(change, current.credential_ref)


def guarded_by_values(changed: Sequence[Modification], current: EntryObject) -> list[Modification]:
    """Make the server refuse all these modifications if what we read has changed.

    A replacement becomes a deletion of the values read and an addition of the new ones (16 or 20 when another
    writer was faster; RFC 4511, section 4.6). All touch the account version, so that two writers of the
    pipeline always exclude each other.
    """
    guarded: list[Modification] = []
    if not any(name == VERSION for _, name, _ in changed):
        same = (str(current.version),)
        guarded += [("delete", VERSION, same), ("add", VERSION, same)]
    for operation, name, values in changed:
        if operation != "replace" or name in _NOT_GUARDED:
            guarded.append((operation, name, values))
            continue
        there = current.of(name)
        gone, new = tuple(v for v in there if v not in values), tuple(v for v in values if v not in there)
        guarded += [("delete", name, gone)] if gone else []
        guarded += [("add", name, new)] if new else []
    return guarded


def shutting(current: EntryObject) -> list[Modification]:
    """The modifications that shut access and nothing else; empty if it is shut."""
    if current.locked and current.of("sesameMailEnabled") == ("FALSE",):
        return []
    missing = missing_classes(["sesameAccount"], current.of("objectClass"))
    made: list[Modification] = [("add", "objectClass", missing)] if missing else []
    return [*made, ("replace", LOCK, (LOCKED_FOR_GOOD,)), ("replace", "sesameMailEnabled", ("FALSE",))]


def _password(change: Change, shown_ref: str | None) -> list[Modification]:
    """The hash with its reference. Nothing if the entry has it, or the account is closed.

    A password written to a locked entry would unlock it (ppolicy takes it for an administrator's reset): it
    is written when access opens again.
    """
    ref = change.account.credential_ref
    if change.password is None or ref is None or ref == shown_ref or not change.account.access_open:
        return []
    return [("replace", "userPassword", (user_password(change.password),)), ("replace", CREDENTIAL, (ref,))]
