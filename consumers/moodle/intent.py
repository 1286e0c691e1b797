"""An account in Moodle's words, and a user of Moodle in the kit's; no IO.

A student is the user whose `idnumber` *is* the student number, exactly: the database compares without case
and trailing blanks, this code does not. A cohort is known by its idnumber. Cohorts whose idnumber the
settings' templates can produce are *managed*: no one else decides who is a member of them. No member is
removed from other cohorts.

What the pipeline owns of a user: username, auth, firstname, lastname, email, idnumber, suspended, and lang
when the settings name the site's language packs. Everything else (picture, city, preferences …) is the
student's.

A name above Moodle's 100 characters is shortened, at a word where possible, and ends with an ellipsis. It is
never cut silently: the outcome carries a note. It is not a dead letter, because a name is for display only:
identity rests on the student number, and a long name must keep no one out of their courses.

Moodle refuses a user without a first name or without a last one. A student with only one name gets it as the
last name, by which lists are sorted, and `MISSING_NAME` as the first name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from consumers.kit.connector import AdoptedRef, Change, Fields, Held, TargetObject
from consumers.moodle.causes import Fault, MoodleCause, fault
from consumers.moodle.functions import User
from consumers.moodle.settings import MoodleSettings
from pipeline.target import ADMINISTRATIVE_PENDING
from schemas.account import Account, Requirement

_COLUMN_CHARS_MAX: Final = 100  # mdl_user: username, firstname, lastname, email
_USERNAME: Final = re.compile(r"[a-z0-9._@-]+")
_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_NO_TAGS: Final = str.maketrans("<>", "\u2039\u203a")

NOTE_SHORTENED: Final = "name shortened to Moodle's 100 characters"


MISSING_NAME: Final = "."
"""First name of a person who has one name only: Moodle takes no blank one, and sorts by the last name."""

COHORTS: Final = "cohorts"
"""The idnumbers of the cohorts that a user belongs to: of the managed and the wanted ones."""


@dataclass(frozen=True)
class WantedUser:
    """The desired state of one student.

    Attributes:
        idnumber: the student number.
        fields: what the user's own fields must hold, by Moodle's names (`username`, `auth`, `firstname`,
            `lastname`, `email`, `lang` where it is owned). Fields that are not named are left alone.
        suspended: access is shut.
        cohorts: idnumber to name of the cohorts to belong to; out of every other managed one.
        create: create the user when absent. A student without access who is unknown to Moodle stays unknown.
        adopted: the user that was adopted for this student although it does not carry the number; with
            another idnumber than it had then, it belongs to another person. None: there is none.
        pseudonym: another idnumber of the user, which an erasure that was cut off has left; empty: none.
    """

    idnumber: str
    fields: Mapping[str, str]
    suspended: bool
    cohorts: Mapping[str, str]
    create: bool = True
    adopted: AdoptedRef | None = None
    pseudonym: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoodleUser(TargetObject):
    """A user as the kit compares it, and as Moodle shows it."""

    user: User


def owned_fields(settings: MoodleSettings) -> tuple[str, ...]:
    """The fields of a user that the pipeline writes, by Moodle's names.

    Without `idnumber` and `suspended`, which it also writes.
    """
    fields = ("username", "auth", "firstname", "lastname", "email")
    return (*fields, "lang") if settings.languages else fields


def wanted_of(account: Account, settings: MoodleSettings) -> WantedUser | Fault:
    """What Moodle should hold, or why it cannot."""
    cohorts = {membership.key: membership.name for membership in account.cohorts if membership.met}
    first, last = names_of(account)
    if not last:
        return fault(MoodleCause.NAME_MISSING)
    if not _USERNAME.fullmatch(account.login) or len(account.login) > _COLUMN_CHARS_MAX:
        return fault(MoodleCause.LOGIN_INVALID)
    if not _EMAIL.fullmatch(account.mail) or len(account.mail) > _COLUMN_CHARS_MAX:
        return fault(MoodleCause.EMAIL_INVALID)
    fields = {
        "username": account.login,
        "auth": settings.auth,
        "firstname": first,
        "lastname": last,
        "email": account.mail,
    }
    if pack := settings.languages.get(account.person.language):
        fields["lang"] = pack
    return WantedUser(
        idnumber=account.student_number,
        fields=fields,
        suspended=not account.access_open,
        cohorts=cohorts,
        create=account.access_open,
    )


def names_of(account: Account) -> tuple[str, str]:
    """First and last name as Moodle shows them; an empty last name: there is no name."""
    person = account.person
    given, family = shortened(person.shown_given_name), shortened(person.family_name)
    return (given, family) if given and family else (MISSING_NAME, family or given)


def shortened(name: str) -> str:
    """The name with single blanks, in at most 100 characters.

    Whole words where possible, then an ellipsis. Angle quotation marks replace what Moodle would take for a
    tag (PARAM_NOTAGS) and refuse the user for.
    """
    tidy = " ".join((name.translate(_NO_TAGS) if "<" in name else name).split())
    if len(tidy) <= _COLUMN_CHARS_MAX:
        return tidy
    room = tidy[: _COLUMN_CHARS_MAX - 1]
    words, _, _ = room.rpartition(" ")
    return (words if len(words) > _COLUMN_CHARS_MAX // 2 else room) + "…"


def is_shortened(account: Account) -> bool:
    """Whether Moodle gets a shorter name than the account has."""
    names = (account.person.shown_given_name, account.person.family_name)
    return any(len(" ".join(name.split())) > _COLUMN_CHARS_MAX for name in names)


def pending_of(account: Account) -> Held | None:
    """Hold the names of the cohorts awaited first; None: none, or access is shut."""
    awaited = account.awaited
    if not awaited or not account.access_open:
        return None
    if awaited[0].requires is Requirement.PEDAGOGICAL:
        reason = "pedagogical_enrolment_pending"
    else:
        reason = "other_enrolment_pending" if account.enrolled else ADMINISTRATIVE_PENDING
    return Held(reason, tuple(membership.name for membership in awaited))


def wanted_fields(wanted: WantedUser) -> Fields:
    """What Moodle should hold of a student, in the shape of `object_of`."""
    fields = {name: _values(value) for name, value in wanted.fields.items()}
    return {"idnumber": (wanted.idnumber,), **fields, COHORTS: tuple(sorted(wanted.cohorts))}


def object_of(user: User, owned: Sequence[str], cohorts: tuple[str, ...], note: str = "") -> MoodleUser:
    """A user as the kit compares it.

    Args:
        user: as Moodle shows it.
        owned: the fields that the settings make ours.
        cohorts: idnumbers of those that it belongs to, sorted.
        note: see `TargetObject`.
    """
    names = (("login", user.username), ("mail", user.email))
    fields = {name: _values(getattr(user, name)) for name in ("idnumber", *owned)} | {COHORTS: cohorts}
    return MoodleUser(
        user=user,
        ref=str(user.id),
        student_number=user.idnumber,
        fields=fields,
        open=not user.suspended,
        names=tuple(each for each in names if each[1]),
        evidence={"family": user.lastname, "given": user.firstname},
        note=note,
    )


def user_of(change: Change) -> User:
    """The user that is to be changed, as Moodle showed it."""
    assert isinstance(change.found, MoodleUser)  # noqa: S101  (for the type checker)
    return change.found.user


def _values(value: str) -> tuple[str, ...]:
    return (value,) if value else ()
