"""Convert between Moodle's users and the kit's object model; no IO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from consumers.kit.connector import Change, Fields, TargetObject
from consumers.moodle.port import Seen as SeenUser
from consumers.moodle.port import User, WantedUser

COHORTS: Final = "cohorts"
"""The idnumbers of the cohorts that a user belongs to: of the managed and the wanted ones."""


def wanted_fields(wanted: WantedUser) -> Fields:
    """What Moodle should hold of a student, in the shape of `object_of`."""
    fields = {name: _values(value) for name, value in wanted.fields.items()}
    return {"idnumber": (wanted.idnumber,), **fields, COHORTS: tuple(sorted(wanted.cohorts))}


def object_of(user: User, owned: Sequence[str], cohorts: tuple[str, ...], note: str = "") -> TargetObject:
    """A user as the kit compares it.

    Args:
        user: as Moodle shows it.
        owned: the fields that the settings make ours.
        cohorts: idnumbers of those that it belongs to, sorted.
        note: see `TargetObject`.
    """
    names = (("login", user.username), ("mail", user.email))
    fields = {name: _values(getattr(user, name)) for name in ("idnumber", *owned)} | {COHORTS: cohorts}
    return TargetObject(
        ref=str(user.id),
        student_number=user.idnumber,
        fields=fields,
        open=not user.suspended,
        names=tuple(each for each in names if each[1]),
        evidence={"family": user.lastname, "given": user.firstname},
        note=note,
    )


def user_of(found: TargetObject) -> User:
    """The same user; what is not ours of it is empty."""

    def value(name: str) -> str:
        return "".join(found.fields.get(name, ()))

    return User(
        id=int(found.ref),
        username=value("username"),
        auth=value("auth"),
        idnumber=value("idnumber"),
        firstname=value("firstname"),
        lastname=value("lastname"),
        email=value("email"),
        suspended=not found.open,
        lang=value("lang"),
    )


def seen_of(change: Change) -> SeenUser:
    """What was seen of a student before a change."""
    number, found = change.account.student_number, change.found
    return SeenUser(number) if found is None else SeenUser(number, (user_of(found),), found.fields[COHORTS])


def _values(value: str) -> tuple[str, ...]:
    return (value,) if value else ()
