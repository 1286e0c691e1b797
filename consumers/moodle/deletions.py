"""Erase users: neutral values first, then the deletion, which keeps the row.

`core_user_delete_users` leaves first name and surname in the row, the mail address in the username, and
login, mail and number in an event of the site's log; `core_user_update_users` logs no values. So a user to be
deleted first gets the person's pseudonym for a name, a login, an address and an idnumber. Each step may be
cut off: under its pseudonym the user is found, and is the student's, until the deletion is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from consumers.kit.deadline import Deadline, OutOfTime
from consumers.moodle.bulk import carry
from consumers.moodle.causes import Fault, MoodleCause, fault
from consumers.moodle.errors import CallFailed, DeletionForbidden, MoodleRefused, WriteRefused
from consumers.moodle.functions import MoodleFunctions, User
from consumers.moodle.settings import MoodleSettings
from consumers.moodle.work import cause_of, cause_of_warning

_GIVEN_NAME: Final = "erased"


class Deletions:
    """Erases users for a batch. Errors for the site as a whole go through; others become faults."""

    def __init__(self, functions: MoodleFunctions, settings: MoodleSettings) -> None:
        self._functions = functions
        self._settings = settings

    def erase(
        self, users: Sequence[User], pseudonyms: Mapping[int, str], deadline: Deadline
    ) -> dict[int, Fault]:
        """Delete these users unless they belong to others now; obstacles by id.

        A user who is gone already counts as erased.

        Args:
            users: as they were seen.
            pseudonyms: the person's pseudonym, by id, written before; none: nothing is.
            deadline: of the batch.
        """
        there = self._there(users, deadline)
        ours, faults = list[User](), dict[int, Fault]()
        for user in users:
            now = there.get(user.id)
            if now is not None and now.idnumber not in (user.idnumber, pseudonyms.get(user.id)):
                faults[user.id] = fault(MoodleCause.NOT_APPLIED, "idnumber")
            elif now is not None:
                ours.append(now)
        faults |= self._neutralise(ours, pseudonyms, deadline)
        return faults | self._delete([user for user in ours if user.id not in faults], deadline)

    def _there(self, users: Sequence[User], deadline: Deadline) -> dict[int, User]:
        found = self._functions.users_by("id", [str(user.id) for user in users], deadline)
        return {user.id: user for user in found}

    def _neutralise(
        self, users: Sequence[User], pseudonyms: Mapping[int, str], deadline: Deadline
    ) -> dict[int, Fault]:
        """Write the neutral values, and read them back: PHP may die without a word."""
        changes = {user.id: _differing(user, pseudonyms.get(user.id, "")) for user in users}
        rows = [user for user in users if changes[user.id]]
        if not rows:
            return {}

        def call(some: Sequence[User]) -> list[str]:
            sent = [{"id": user.id, **changes[user.id]} for user in some]
            warned = self._functions.update_users(sent, deadline)
            return [warned.get(user.id, "") for user in some]

        size = self._functions.rows(1 + max(map(len, changes.values())), self._settings.batch_size)
        report = carry(rows, size, call)
        faults = {each.row.id: fault(_refused(each.error)) for each in report.failed}
        faults |= {user.id: fault(cause_of_warning(code)) for user, code in report.accepted if code}
        written = [user for user in rows if user.id not in faults]
        for user in self._there(written, deadline).values():
            if _differing(user, pseudonyms[user.id]):
                faults[user.id] = fault(MoodleCause.NOT_APPLIED, "neutral values")
        return faults

    def _delete(self, users: Sequence[User], deadline: Deadline) -> dict[int, Fault]:
        def call(some: Sequence[User]) -> list[None]:
            self._functions.delete_users([user.id for user in some], deadline)
            return [None] * len(some)

        try:
            report = carry(users, self._functions.rows(1, self._settings.batch_size), call)
        except DeletionForbidden:
            return {user.id: fault(MoodleCause.DELETION_FORBIDDEN) for user in users}
        return {each.row.id: fault(_refused(each.error)) for each in report.failed}


def _differing(user: User, pseudonym: str) -> dict[str, str]:
    """The neutral values to write before a deletion; none without a privacy key.

    The address keeps its domain: a site may take no other.
    """
    if not pseudonym:
        return {}
    neutral = {
        "username": pseudonym,
        "firstname": _GIVEN_NAME,
        "lastname": pseudonym,
        "email": f"{pseudonym}@{user.email.rpartition('@')[2] or 'invalid.invalid'}",
        "idnumber": pseudonym,
    }
    return {name: value for name, value in neutral.items() if getattr(user, name) != value}


def _refused(error: CallFailed | OutOfTime) -> MoodleCause:
    if isinstance(error, MoodleRefused) and not isinstance(error, WriteRefused):
        admin = error.errorcode == "useradminodelete"
        return MoodleCause.ADMIN_ACCOUNT if admin else MoodleCause.REFUSED_VALUES
    return cause_of(error)
