"""Check that empty answers can be believed and that the service user may write.

`core_user_get_users_by_field` silently leaves out every user whom the service user may not see. Believing
that would create every user a second time. So before the first read is trusted, accounts that certainly exist
are looked up: the service user itself, and one that is *not* the service user, because Moodle always shows a
user to itself, whatever its rights.

A missing right to write shows only at the first write. So a probe attempts writes that Moodle cannot carry
out: a user whose username is taken and who has no password, an update of a user that does not exist, two
cohorts with one idnumber. Moodle looks at the right before it looks at these values (`user/externallib.php`,
`cohort/externallib.php`), so it refuses them as `nopermissions` or as `invalidparameter`. No existing object
is touched, and nothing is left behind: both creations are all or nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any, Final

from consumers.kit.deadline import Deadline
from consumers.moodle.functions import (
    CREATE_COHORTS,
    CREATE_USERS,
    DELETE_USERS,
    NEEDED,
    REMEDY_DELETE,
    UPDATE_USERS,
    MoodleFunctions,
    SiteInfo,
)
from pipeline.errors import Misconfigured

_ALWAYS_THERE: Final = (
    "guest",
    "admin",
)  # made by Moodle's installer; the guest can be neither renamed nor deleted
_ALWAYS_THERE_IDS: Final = ("1", "2")
_NOBODY: Final = 2**31 - 1  # an id that no site reaches
_NO_FORMAT: Final = 99  # Moodle looks at the format before the first row: no row is ever rolled back
_NEVER_MADE: Final = "sesame-rights-probe"
_REMEDY: Final = (
    "give the service user's role, at system level, moodle/user:viewdetails, moodle/user:viewalldetails and "
    "moodle/site:viewuseridentity"
)


class Rights:
    """Remembers that the service user's rights were verified, until a doubt arises."""

    def __init__(self, functions: MoodleFunctions) -> None:
        self._functions = functions
        self._lock = threading.Lock()
        self._verified = False

    def ensure(self, deadline: Deadline) -> None:
        """Verify once.

        Raises:
            Misconfigured: naming the functions or the capabilities that are missing.
        """
        if self._verified:
            return
        with self._lock:
            if not self._verified:
                self.verify(deadline)

    def forget(self) -> None:
        """Verify again before the next read is believed: the site refused the user."""
        self._verified = False

    def verify(self, deadline: Deadline) -> SiteInfo:
        """Verify now; the token's user and service.

        Raises:
            Misconfigured: as in `ensure`.
        """
        self._verified = False
        info = self._functions.site_info(deadline)
        missing = NEEDED - info.functions
        if missing:
            raise Misconfigured(
                f"the token's service lacks {', '.join(sorted(missing))}",
                remedy="add them to the service (Site administration > Server > External services)",
            )
        names = (info.username, *_ALWAYS_THERE)
        seen = self._functions.users_by("username", names, deadline)
        if not any(user.id == info.userid for user in seen):
            raise Misconfigured("the service user cannot read itself", remedy=_REMEDY)
        others = [user for user in seen if user.id != info.userid]
        others = others or self._functions.users_by("id", _ALWAYS_THERE_IDS, deadline)
        if not any(user.id != info.userid for user in others):
            raise Misconfigured("the service user sees no user but itself", remedy=_REMEDY)
        self._verified = True
        return info

    def verify_writing(self, deadline: Deadline) -> None:
        """Verify now, and the rights to write too, without writing anything.

        Raises:
            Misconfigured: as in `ensure`.
        """
        info = self.verify(deadline)
        missing = [
            right
            for right, function, impossible in _impossible(info)
            if not self._functions.permits(function, impossible, deadline)
        ]
        if missing:
            raise Misconfigured(
                f"the service user may not write: its role lacks {', '.join(missing)}",
                remedy=f"give the service user's role, at system level, {' and '.join(missing)}",
            )

    def lacking_packs(self, packs: Collection[str], deadline: Deadline) -> list[str]:
        """Which of these language packs the site lacks; it refuses whole users for one.

        An update of a missing user shows it: Moodle looks at the values before it looks for the user.
        """
        return [
            pack
            for pack in sorted(set(packs))
            if self._functions.refuses(UPDATE_USERS, {"users": [{"id": _NOBODY, "lang": pack}]}, deadline)
        ]

    def verify_erasing(self, deadline: Deadline) -> None:
        """Verify now that users may be deleted, without deleting any.

        Raises:
            Misconfigured: naming what is missing.
        """
        missing = DELETE_USERS
        if DELETE_USERS in self._functions.site_info(deadline).functions:
            if self._functions.permits(DELETE_USERS, {"userids": [_NOBODY]}, deadline):
                return
            missing = "moodle/user:delete"
        raise Misconfigured(f"nobody can be erased: {missing} is missing", remedy=REMEDY_DELETE)


def _impossible(info: SiteInfo) -> list[tuple[str, str, dict[str, Any]]]:
    """For each right to write: the right, a function, and impossible parameters."""
    user = {"username": info.username, "auth": "manual", "firstname": "Sésame", "lastname": "probe"}
    cohort = {
        "categorytype": {"type": "system", "value": ""},
        "name": _NEVER_MADE,
        "idnumber": _NEVER_MADE,
        "descriptionformat": _NO_FORMAT,
    }
    return [
        ("moodle/user:create", CREATE_USERS, {"users": [{**user, "email": "probe@sesame.invalid"}]}),
        ("moodle/user:update", UPDATE_USERS, {"users": [{"id": _NOBODY}]}),
        ("moodle/cohort:manage", CREATE_COHORTS, {"cohorts": [cohort, cohort]}),
    ]
