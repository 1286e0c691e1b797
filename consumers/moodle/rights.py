"""May an empty answer be believed?

`core_user_get_users_by_field` leaves out, without a word, every user whom the service user may not see.
Believing that would create everybody a second time. So before the first read is trusted, accounts that
certainly exist are looked up: the service user itself, and one that is *not* the service user, because
Moodle always shows a user to itself, whatever its rights.
"""

from __future__ import annotations

import threading
from typing import Final

from consumers.moodle.deadline import Deadline
from consumers.moodle.functions import NEEDED, MoodleFunctions
from pipeline.errors import Misconfigured

_ALWAYS_THERE: Final = (
    "guest",
    "admin",
)  # made by Moodle's installer; the guest can be neither renamed nor deleted
_ALWAYS_THERE_IDS: Final = ("1", "2")
_REMEDY: Final = (
    "give the service user's role, at system level, moodle/user:viewdetails, moodle/user:viewalldetails and "
    "moodle/site:viewuseridentity"
)


class Rights:
    """Remembers that the service user's rights were verified, until something casts doubt on it."""

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
        """The site refused the service user: verify again before the next read is believed."""
        self._verified = False

    def verify(self, deadline: Deadline) -> None:
        """Verify now.

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
