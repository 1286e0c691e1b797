"""From an account to what Moodle should hold of it; no IO.

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
from typing import Final

from consumers.moodle.causes import MoodleCause, MoodleFault
from consumers.moodle.port import WantedUser
from consumers.moodle.settings import MoodleSettings
from schemas.account import Account, Requirement

_COLUMN_CHARS_MAX: Final = 100  # mdl_user: username, firstname, lastname, email
_USERNAME: Final = re.compile(r"[a-z0-9._@-]+")
_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_NO_TAGS: Final = str.maketrans("<>", "\u2039\u203a")

NOTE_SHORTENED: Final = "name shortened to Moodle's 100 characters"


def owned_fields(settings: MoodleSettings) -> tuple[str, ...]:
    """The fields of a user that the pipeline writes, by Moodle's names.

    Without `idnumber` and `suspended`, which it also writes.
    """
    fields = ("username", "auth", "firstname", "lastname", "email")
    return (*fields, "lang") if settings.languages else fields


MISSING_NAME: Final = "."
"""First name of somebody who has one name only: Moodle takes no blank one, and sorts by the last name."""


def wanted_of(account: Account, settings: MoodleSettings) -> WantedUser | MoodleFault:
    """What Moodle should hold, or why it cannot."""
    cohorts = {membership.key: membership.name for membership in account.cohorts if membership.met}
    first, last = names_of(account)
    if not last:
        return MoodleFault(MoodleCause.NAME_MISSING)
    if not _USERNAME.fullmatch(account.login) or len(account.login) > _COLUMN_CHARS_MAX:
        return MoodleFault(MoodleCause.LOGIN_INVALID)
    if not _EMAIL.fullmatch(account.mail) or len(account.mail) > _COLUMN_CHARS_MAX:
        return MoodleFault(MoodleCause.EMAIL_INVALID)
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


def pending_of(account: Account) -> tuple[str, tuple[str, ...]] | None:
    """Reason and names of the cohorts not given yet; None: none, or access is shut.

    The administrative enrolment comes first: without it the pedagogical one cannot be made.
    """
    unmet = [membership for membership in account.cohorts if not membership.met]
    if not unmet or not account.access_open:
        return None
    administrative = any(membership.requires is Requirement.ADMINISTRATIVE for membership in unmet)
    reason = "administrative_enrolment_pending" if administrative else "pedagogical_enrolment_pending"
    return reason, tuple(membership.name for membership in unmet)
