"""What to write: the difference between an entry as desired and as observed. Pure, without IO.

Also the one place that translates between LDAP's attributes and the port's words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from consumers.directory.entry import EVIDENCE, KEPT_UNDER, OWNED, is_renumbered, missing_classes
from consumers.directory.port import (
    ApplyResult,
    DesiredEntry,
    EntryRefused,
    EntryUnsettled,
    ObservedEntry,
    PasswordState,
)
from consumers.kit.ldap_answers import Modification, Raw

READ = (
    "uid",
    "objectClass",
    "supannEtuId",
    "sesameVersion",
    "sesameCredentialRef",
    "pwdAccountLockedTime",
    "pwdChangedTime",
    "pwdFailureTime",
    "pwdReset",
    "pwdPolicySubentry",
    "entryCSN",
    *OWNED,
)
"""The attributes that `observed` takes."""

DUMPED = (*READ, *EVIDENCE)
"""Those, and what tells whose an entry is."""

LOCKED_FOR_GOOD = "000001010000Z"
"""The value of pwdAccountLockedTime that only an administrator's act lifts (slapo-ppolicy(5))."""

UNIQUE = frozenset({"uid", "mail", "supannAutreMail", "supannEtuId", "eduPersonPrincipalName"})
"""Attributes under slapd's uniqueness (ops/ldap/slapd.conf). Its own search inherits the assertion of the
modify that triggered it, and fails (122 `unique_search failed`, slapd 2.5.13): such a modify must guard
itself by values instead."""


def forbidden(desired: DesiredEntry, current: ObservedEntry) -> ApplyResult | None:
    """Why this entry must not be changed, or None."""
    if desired.student_number not in current.student_numbers and not _adopts(desired, current):
        return EntryRefused(
            "identity_collision",
            "the login is held by an entry that does not carry this student number: if it is the same "
            "person, add supannEtuId to that entry, else give this student another login; then replay",
        )
    if desired.login.lower() not in (login.lower() for login in current.logins):
        return EntryRefused(
            "login_mismatch",
            "this student's entry has another login than the registry gave: rename one, then replay",
        )
    if current.version > desired.version:
        return EntryUnsettled("superseded", "the entry shows a newer version of the account")
    return None


def _adopts(desired: DesiredEntry, current: ObservedEntry) -> bool:
    """Whether this very entry was adopted for the student and carries no number yet."""
    return (
        desired.adopted is not None
        and desired.adopted.lower() == current.dn.lower()
        and not current.student_numbers
    )


def new_attributes(desired: DesiredEntry) -> dict[str, tuple[str, ...]]:
    """Everything but the object classes for an entry that does not exist yet."""
    attributes = {
        **desired.attributes,
        "uid": (desired.login,),
        "supannEtuId": desired.numbers,
        "sesameVersion": (str(desired.version),),
        "pwdAccountLockedTime": (LOCKED_FOR_GOOD,) if desired.locked else (),
    }
    return attributes | {name: values for _, name, values in _credential_changes(desired, None)}


def changes(desired: DesiredEntry, current: ObservedEntry) -> list[Modification]:
    """The modifications that make `current` as desired; empty when it is."""
    changes: list[Modification] = []
    missing = missing_classes(desired.classes, current.classes)
    if missing:
        changes.append(("add", "objectClass", missing))
    for name, values in desired.attributes.items():
        if set(values) != set(current.attributes.get(name, ())):
            changes.append(("replace", name, values))
    if is_renumbered(desired, current):
        if set(desired.numbers) != set(current.numbers):
            changes.append(("replace", "supannEtuId", desired.numbers))
    elif not current.student_numbers:  # it is adopted, else `forbidden` has refused
        changes.append(("add", "supannEtuId", (desired.student_number,)))
    if desired.version != current.version:
        changes.append(("replace", "sesameVersion", (str(desired.version),)))
    if desired.locked and not current.locked:
        changes.append(("replace", "pwdAccountLockedTime", (LOCKED_FOR_GOOD,)))
    if current.locked and not desired.locked:
        # A plain delete: with a new password in the same modify, ppolicy trips over a replace by nothing.
        changes.append(("delete", "pwdAccountLockedTime", ()))
    return changes + _credential_changes(desired, current.credential_ref)


def guarded_by_values(changed: list[Modification], current: ObservedEntry) -> list[Modification]:
    """Make the server refuse all these modifications if what we read has changed.

    Instead of a replacement: delete the values that were read, add the new ones (16 or 20 when another writer
    was faster; RFC 4511, section 4.6). The account version takes part in every one, so that two writers of
    the pipeline always exclude each other.
    """
    shown = {**current.attributes, "sesameVersion": (str(current.version),) if current.version else ()}
    shown["supannEtuId"] = current.numbers
    if current.credential_ref is not None:
        shown["sesameCredentialRef"] = (current.credential_ref,)
    guarded: list[Modification] = []
    if not any(name == "sesameVersion" for _, name, _ in changed):
        same = (str(current.version),)
        guarded += [("delete", "sesameVersion", same), ("add", "sesameVersion", same)]
    for operation, name, values in changed:
        if operation != "replace" or name in _NOT_GUARDED:
            guarded.append((operation, name, values))
            continue
        gone = tuple(v for v in shown.get(name, ()) if v not in values)
        new = tuple(v for v in values if v not in shown.get(name, ()))
        guarded += [("delete", name, gone)] if gone else []
        guarded += [("add", name, new)] if new else []
    return guarded


_NOT_GUARDED = frozenset({"userPassword", "pwdAccountLockedTime"})
"""A hash cannot be read; a lock may hold the server's own, temporary value."""


def _credential_changes(desired: DesiredEntry, shown_ref: str | None) -> list[Modification]:
    """The hash and its reference, always together; nothing if present or expired.

    Expired: the vault no longer has the hash.
    """
    credential = desired.credential
    if credential is None or credential.ref == shown_ref:
        return []
    value = credential.user_password()
    if value is None:
        return []
    return [("replace", "userPassword", (value,)), ("replace", "sesameCredentialRef", (credential.ref,))]


def shutting(observed: ObservedEntry) -> list[Modification]:
    """The modifications that shut access and leave the rest."""
    missing = missing_classes(["sesameAccount"], observed.classes)
    changes: list[Modification] = [("add", "objectClass", missing)] if missing else []
    return [
        *changes,
        ("replace", "pwdAccountLockedTime", (LOCKED_FOR_GOOD,)),
        ("replace", "sesameMailEnabled", ("FALSE",)),
    ]


def observed(dn: str, raw: Raw) -> ObservedEntry:
    """The port's view of an entry as the server sent it."""
    owned = {name: tuple(sorted(texts(raw, name))) for name in OWNED}
    version = texts(raw, "sesameVersion")
    reference = texts(raw, "sesameCredentialRef")
    numbers, kept_under = texts(raw, "supannEtuId"), _kept_under(raw)
    return ObservedEntry(
        dn=dn,
        logins=texts(raw, "uid"),
        student_numbers=kept_under or numbers,
        version=int(version[0]) if version else 0,
        revision="".join(texts(raw, "entryCSN")),
        classes=texts(raw, "objectClass"),
        attributes={name: values for name, values in owned.items() if values},
        locked=LOCKED_FOR_GOOD in texts(raw, "pwdAccountLockedTime"),
        credential_ref=reference[0] if reference else None,
        password=_password(raw),
        evidence={name: values for name in EVIDENCE if (values := texts(raw, name))},
        shown_numbers=numbers if kept_under else None,
    )


def _kept_under(raw: Raw) -> tuple[str, ...]:
    """The number that the pipeline keeps an entry under; see `entry.KEPT_UNDER`.

    Empty if the entry does not show one.
    """
    references = texts(raw, "supannRefId")
    return tuple(value.removeprefix(KEPT_UNDER) for value in references if value.startswith(KEPT_UNDER))


def _password(raw: Raw) -> PasswordState:
    """What ppolicy keeps. A lock for good is no lock by wrong passwords."""
    locked = [value for value in texts(raw, "pwdAccountLockedTime") if value != LOCKED_FOR_GOOD]
    policy = texts(raw, "pwdPolicySubentry")
    return PasswordState(
        changed_at=next(_moments(texts(raw, "pwdChangedTime")), None),
        locked_at=next(_moments(locked), None),
        failures=tuple(sorted(_moments(texts(raw, "pwdFailureTime")))),
        must_change=texts(raw, "pwdReset") == ("TRUE",),
        policy_dn=policy[0] if policy else None,
    )


def _moments(values: Sequence[str]) -> Iterator[datetime]:
    """Generalized times as the server writes them (RFC 4517, section 3.3.13): in UTC."""
    for value in values:
        with suppress(ValueError):
            yield datetime.strptime(value[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def texts(raw: Raw, name: str) -> tuple[str, ...]:
    """An attribute's values as text (RFC 4517: directory strings are UTF-8)."""
    return tuple(value.decode("utf-8", errors="replace") for value in raw.get(name, ()))
