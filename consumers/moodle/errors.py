"""How one call to Moodle may fail while the site works; and a missing right.

All but `RightMissing`, which stops the consumer, stay inside this room: `site.py` turns them into outcomes of
students. None carries Moodle's words, since its messages and its `debuginfo` quote names, addresses and SQL.
"""

from __future__ import annotations

from pipeline.errors import Misconfigured, SesameError


class CallFailed(SesameError):
    """One call to Moodle was not carried out as asked."""


class MoodleRefused(CallFailed):
    """Moodle refused the parameters of a call. One bad row refuses the whole call, and nothing says which."""

    def __init__(self, errorcode: str) -> None:
        super().__init__(f"Moodle refused the call: {errorcode}")
        self.errorcode = errorcode


class WriteRefused(MoodleRefused):
    """The database refused a write (`dmlwriteexception`): a deadlock, a lock time-out, a unique key that
    somebody else just took, or a value that is too long. Moodle does not say which."""


class Broken(CallFailed):
    """PHP died on the call, or answered something that is not its protocol: an empty body, an HTML page,
    a status of 500. Whatever it did, it is not doing it any more."""


class OutcomeUnknown(CallFailed):
    """The answer never came (a time-out, a hang-up, a gateway's 504). PHP carries on and commits, so the
    outcome has to be read back before anything is written again."""


class DeletionForbidden(CallFailed):
    """The service lacks the function that deletes users, or the service user the right: erasures wait."""


class RightMissing(Misconfigured):
    """The service user's role lacks a right that a function needs (`nopermissions`). `sesame doctor` says
    which."""
